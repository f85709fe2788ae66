"""Permission to call Cloudflare now: the seam to the request budget shared by all workers."""

from typing import Protocol


class RequestBudget(Protocol):
    """Counts requests; several threads may ask at once."""

    def take(self, calls: int = 1) -> float:
        """Take `calls` requests: 0.0 if granted, else the seconds until they could be (none taken)."""

    def observed(self, *, remaining: int | None, reset: float | None, retry_after: float | None) -> None:
        """Learn what an answer's headers said: requests left, seconds to the reset, seconds to wait."""


class Unlimited:
    """A budget that grants everything, for a server of our own."""

    def take(self, calls: int = 1) -> float:
        """Grant at once."""
        return 0.0

    def observed(self, *, remaining: int | None, reset: float | None, retry_after: float | None) -> None:
        """Learn nothing."""


class CallMeter(Protocol):
    """Counts what Cloudflare counts for its daily quota; several threads may count at once."""

    def count(self, operation: str, keys: int) -> None:
        """A read, write, delete or list of so many keys is about to be sent. Raises DailyLimitReached: not now."""

    def keep(self) -> None:
        """Keep what was counted: no thread counts any more."""


class Unmetered:
    """A meter that counts nothing, for a server of our own."""

    def count(self, operation: str, keys: int) -> None:
        """Let it pass."""

    def keep(self) -> None:
        """Keep nothing."""
