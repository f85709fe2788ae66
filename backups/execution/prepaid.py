"""Requests paid before work begins, so that work never waits between a read and a delete.

Further reads, such as a page's leftovers or a lost answer, are paid at their worst: four requests a name. A bulk read
is halved until each name is asked for alone, and each is then read exactly.
"""

from kvops.cloudflare import BULK_GET_LIMIT, RateLimited
from kvops.connections.budget import Prepaid
from kvops.models import Read
from kvops.runs.lease import Lease

SPARE = 20
"""Requests reserved beyond the reads: the delete or the write, a few single reads of binary values, repeats.

Work waits until the request limit has room for all of it, so what is reserved and not needed is never used.
"""
SPARE_SINGLY = 200
"""The same for work that meets more binary values than that."""


def reserve(budget: Prepaid, calls: int) -> None:
    """Pay for so many requests beforehand. Raises RateLimited when they are not to be had now."""
    wait = budget.reserve(calls)
    if wait:
        raise RateLimited("The request budget is used up.", wait)


def calls_for(read: str, names: int) -> int:
    """The most requests that reading so many names costs."""
    return 2 * names if read == Read.EXACT else -(-names // BULK_GET_LIMIT)


def most_calls_for(names: int) -> int:
    """The most that reading so many names can cost when nothing is known of their sizes.

    Halved until each is asked for alone, 2 n - 1 requests, and each exactly again, which takes two.
    """
    return 4 * names


def spare(lease: Lease) -> int:
    """Requests that a chunk of this run reserves beyond its reads."""
    return SPARE_SINGLY if _singly(lease) else SPARE


def reserve_more(lease: Lease) -> bool:
    """From now on reserve for more binary values; False when that is done already, so that only less work helps."""
    if _singly(lease):
        return False
    with lease.checkpoint(cursor={**lease.run.cursor, "singly": True}):
        return True


def _singly(lease: Lease) -> bool:
    """Whether the run met more values that must be read singly than what is reserved at first suffices for."""
    return bool(lease.run.cursor.get("singly"))
