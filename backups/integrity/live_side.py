"""The side of KV in a check of KV as it is now: a bounded read, paid from the request budget before it begins."""

from collections.abc import Generator, Sequence
from itertools import batched

from django.utils.translation import gettext_noop

from backups.datasets.mapping import Correspondence
from backups.datasets.sides import NOT_AN_OBJECT, DatasetKey, Finding
from backups.execution.prepaid import SPARE, reserve
from kvops.cloudflare import BULK_GET_LIMIT, Cloudflare, RateLimited
from kvops.connections import clients
from kvops.connections.budget import Prepaid, SharedBudget
from kvops.models import Namespace
from kvops.names import workable
from kvops.runs.outcomes import RunError

MOST = 1_000
"""Keys of a live check."""
LISTINGS = 3
"""Pages of the listing at most; KV may put fewer than a thousand names on a page."""
_TOO_MANY = gettext_noop("There are more than 1,000 keys. Make a backup, and check the backup.")
_TOO_LARGE = gettext_noop(
    "The values need more requests than a live check may send. Make a backup, and check the backup."
)


def read_now(namespace: Namespace, rule: Correspondence) -> Generator[tuple[int, Sequence[DatasetKey]]]:
    """The keys in batches, each with the calls made for it. Raises RunError, RateLimited and CloudflareError."""
    budget = Prepaid(SharedBudget.of(namespace.environment))
    try:
        reserve(budget, LISTINGS + MOST // BULK_GET_LIMIT + SPARE)
        with clients.reader(namespace.environment, budget) as client:
            try:
                yield from _read(client, namespace.namespace_id, rule)
            except RateLimited as limited:
                if budget.exhausted:
                    raise RunError("too_large", _TOO_LARGE) from limited
                raise
    finally:
        budget.settle()


def _read(client: Cloudflare, namespace_id: str, rule: Correspondence) -> Generator[tuple[int, Sequence[DatasetKey]]]:
    names = _names(client, namespace_id, rule)
    sent = 0
    for batch in batched([name for name in names if workable(name)], BULK_GET_LIMIT):
        found = client.bulk_get(namespace_id, batch)
        keys = [rule.key_from_bytes(name, entry.data) for name, entry in found.items() if entry is not None]
        yield client.calls - sent, keys
        sent = client.calls
    if odd := [name for name in names if not workable(name)]:
        yield 0, [DatasetKey(name, None, [Finding(name, NOT_AN_OBJECT)]) for name in odd]


def _names(client: Cloudflare, namespace_id: str, rule: Correspondence) -> list[str]:
    if not rule.key.columns:
        return [rule.key.head]
    names: list[str] = []
    cursor = None
    for _page in range(LISTINGS):
        page = client.list_keys(namespace_id, prefix=rule.prefix, cursor=cursor)
        names += [key.name for key in page.keys]
        cursor = page.cursor
        if cursor is None and len(names) <= MOST:
            return names
    raise RunError("too_many", _TOO_MANY)
