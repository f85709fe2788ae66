"""Cloudflare's prices for Workers KV, and the free plan's quota of a day. Pure.

Source: developers.cloudflare.com/kv/platform/pricing and /kv/platform/limits (updated 21 April 2026, read in November
2026). Calls through the REST API are billed like those of Workers. Whether a bulk call counts once or once a key is
not documented, so each key is counted: the dearer reading. The monthly allowance is not subtracted, because Workers
use it up as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass

OPERATIONS = ("read", "write", "delete", "list")

FREE_A_DAY: Mapping[str, int] = {"read": 100_000, "write": 1_000, "delete": 1_000, "list": 1_000}
"""Operations a day for an account on the free plan, from 00:00 UTC. Cloudflare refuses calls beyond them."""

CENTS_A_MILLION: Mapping[str, int] = {"read": 50, "write": 500, "delete": 500, "list": 500}
"""US cents for a million operations beyond those that the paid plan includes."""


@dataclass(frozen=True)
class Cost:
    """The cost of work: operations as Cloudflare counts them, requests, and seconds at the request budget."""

    operations: Mapping[str, int]
    requests: int
    seconds: int

    @property
    def millicents(self) -> int:
        """Thousandths of a US cent, rounded up, as if the plan included no operations."""
        return -(-sum(CENTS_A_MILLION[name] * count for name, count in self.operations.items()) // 1_000)

    @property
    def free_days(self) -> int:
        """UTC days that the free plan needs for the work."""
        return max(1, *(-(-count // FREE_A_DAY[name]) for name, count in self.operations.items()))


def seconds_for(requests: int, *, calls: int, window: float) -> int:
    """Seconds that the requests take at a budget of `calls` in `window` seconds, if no other work uses it."""
    return round(requests * window / calls)
