"""Requests paid before work begins, so that work never waits between a read and a delete.

Further reads, such as a page's leftovers or a lost answer, are paid at their worst: four requests a name. A bulk read
is halved until each name is asked for alone, and each is then read exactly.
"""

from kvops.cloudflare import BULK_GET_LIMIT, RateLimited
from kvops.connections.budget import Prepaid
from kvops.models import Read
from kvops.refusals import Sentence as _
from kvops.runs.lease import Lease

SPARE = 20
"""Requests reserved beyond the reads: the delete or the write, some single reads of binary values, retries.

Work waits until the request limit has room for the whole reservation, and an unused reservation is lost.
"""
SPARE_SINGLY = 200
"""Requests; the reservation beyond the reads for a run that meets more binary values than `SPARE` suffices for."""


def reserve(budget: Prepaid, calls: int) -> None:
    """Pay for this number of requests in advance. Raises RateLimited if the limit has no room for them now."""
    wait = budget.reserve(calls)
    if wait:
        raise RateLimited(_("The request budget is used up."), wait)


def calls_for(read: str, names: int) -> int:
    """The greatest number of requests for reading this number of names."""
    return 2 * names if read == Read.EXACT else -(-names // BULK_GET_LIMIT)


def most_calls_for(names: int) -> int:
    """The greatest number of requests for reading this number of names if their sizes are unknown.

    Halving the bulk read down to single names takes 2 n - 1 requests; reading each name exactly takes two more.
    """
    return 4 * names


def spare(lease: Lease) -> int:
    """Requests that a chunk of this run reserves beyond its reads."""
    return SPARE_SINGLY if _singly(lease) else SPARE


def reserve_more(lease: Lease) -> bool:
    """Reserve for more binary values from now on; False if the run does so already and only smaller chunks help."""
    if _singly(lease):
        return False
    with lease.checkpoint(cursor={**lease.run.cursor, "singly": True}):
        return True


def _singly(lease: Lease) -> bool:
    """Whether the run met more binary values than its first reservation suffices for."""
    return bool(lease.run.cursor.get("singly"))
