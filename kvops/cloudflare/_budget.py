"""Permission to call Cloudflare now: the seam to the request budget shared by all workers."""

from typing import Protocol


class RequestBudget(Protocol):
    """Counts requests; several threads may ask at once."""

    def take(self, calls: int = 1) -> float:
        """Take `calls` requests. Return 0.0 if granted, else the seconds until they could be granted (none taken)."""

    def observed(self, *, wait: float, remaining: int | None) -> None:
        """Note an answer's headers: seconds to wait before the next request, and the requests left to the user."""


class Unlimited:
    """A budget that grants everything, for a server of our own."""

    def take(self, calls: int = 1) -> float:
        """Grant the requests at once."""
        return 0.0

    def observed(self, *, wait: float, remaining: int | None) -> None:
        """Ignore the headers."""


class OperationMeter(Protocol):
    """Counts operations as Cloudflare does for its daily quota; several threads may count at once."""

    def count(self, operation: str, keys: int) -> None:
        """Count an operation on `keys` keys before it is sent. Raises DailyLimitReached if it may not be sent."""

    def keep(self) -> None:
        """Store the counts. No thread counts any more."""


class CallMeter(OperationMeter, Protocol):
    """Counts operations and hears each answer, in several threads at once."""

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Note the status of an answer and the time until it was read; status 0 if none came."""

    def refused(self, route: str, status: int) -> None:
        """Note that the token was refused: it is unknown (401), or lacks a permission (403)."""


class Unmetered:
    """A meter that counts nothing, for a server of our own."""

    def count(self, operation: str, keys: int) -> None:
        """Count nothing."""

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Note nothing."""

    def refused(self, route: str, status: int) -> None:
        """Note nothing."""

    def keep(self) -> None:
        """Store nothing."""
