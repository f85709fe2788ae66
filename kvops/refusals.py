"""The base class of every refusal.

A view shows the sentence of a refusal and records it, without importing the feature that raised it.
"""


class Refused(Exception):
    """A step was refused and nothing was changed. The message is one sentence with the reason."""
