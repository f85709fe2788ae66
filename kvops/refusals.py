"""The base class of every refusal, so that a page handles one that its feature has just invented."""


class Refused(Exception):
    """A step was refused. The message is one sentence that says why; nothing was changed."""
