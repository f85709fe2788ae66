"""The refusal of a step of a scheduled clearing."""

from kvops.refusals import Refused


class ClearingRefused(Refused):
    """The step is not possible now; the message is one sentence with the reason and the next step."""
