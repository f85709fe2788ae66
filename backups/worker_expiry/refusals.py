"""The refusal of a step of an expiry Worker."""

from kvops.refusals import Refused


class WorkerRefused(Refused):
    """The step is not possible now; the message is one sentence with the reason and the next step."""
