"""The requests that a probe may send: at most 200, of which some are kept for cleaning, and none during a stop."""

from kvops import rollback
from kvops.cloudflare import RequestBudget
from kvops.models import EmergencyStop
from kvops.runs import emergency

MOST = 200
"""Requests of one probe, to the API and to R2 together."""
FOR_CLEANING = 40
"""Requests that only the removal of names and objects may use."""


class RequestsSpent(Exception):
    """The probe has sent all the requests that it may send, or an emergency stop or a rollback holds it back."""


def why_held() -> str:
    """One sentence if an emergency stop of any environment or a rollback is in force; empty otherwise."""
    stop = EmergencyStop.objects.in_force().select_related("environment").order_by("at").first()
    return emergency.why_stopped(stop.environment) if stop else rollback.why_read_only()


class Allowance:
    """The client's budget protocol: it counts this probe's requests before the shared budget grants them."""

    def __init__(self, budget: RequestBudget, most: int = MOST) -> None:
        self._budget = budget
        self._most = most
        self.sent = 0
        self.cleaning = False
        self.told: list[int | None] = []
        """The remaining requests that each answer of the API tells; None where an answer tells none."""

    def take(self, calls: int = 1) -> float:
        """Take requests to the API. Raises RequestsSpent."""
        self._insist(calls)
        wait = self._budget.take(calls)
        if not wait:
            self.sent += calls
        return wait

    def count(self) -> None:
        """Count one request to R2. Raises RequestsSpent."""
        self._insist(1)
        self.sent += 1

    def observed(self, *, wait: float, remaining: int | None) -> None:
        """Note an answer's headers."""
        self.told.append(remaining)
        self._budget.observed(wait=wait, remaining=remaining)

    def _insist(self, calls: int) -> None:
        if why := why_held():
            raise RequestsSpent(why)
        if self.sent + calls > self._most - (0 if self.cleaning else FOR_CLEANING):
            raise RequestsSpent(f"The probe may send {self._most} requests, and these are spent.")
