"""Requests that are paid before work begins, so that it need not wait in the middle, between a read and a delete."""

from kvops.budget import Prepaid
from kvops.cloudflare import BULK_GET_LIMIT, RateLimited
from kvops.models import Read


def reserve(budget: Prepaid, calls: int) -> None:
    """Pay for so many requests beforehand. Raises RateLimited when they are not to be had now."""
    wait = budget.reserve(calls)
    if wait:
        raise RateLimited("The request budget is used up.", wait)


def calls_for(read: str, names: int) -> int:
    """The most requests that reading so many names costs."""
    return 2 * names if read == Read.EXACT else -(-names // BULK_GET_LIMIT)
