"""Changes that KVOps made and proved itself: they reach the inventory at once, not with the next scan.

Each function runs within the caller's transaction and takes the lock of the namespace, as the merge of a scan does.
"""

from collections.abc import Iterable, Sequence

from django.db import connection

from audit import log
from kvops.cloudflare import ListedKey
from kvops.inventory import families as key_families
from kvops.models import Key, Namespace, Scan, StagedKey

_PUT_BACK = f"""
INSERT INTO kvops_key (namespace_id, name, expiration, metadata, family_id, category, first_seen_id)
SELECT %(namespace)s, name, expiration, metadata, {key_families.ASSIGNED}, %(scan)s
  FROM unnest(%(names)s::text[], %(expirations)s::bigint[], %(metadata)s::text[]) AS f(name, expiration, metadata)
ON CONFLICT (namespace_id, name) DO UPDATE SET expiration = EXCLUDED.expiration, metadata = EXCLUDED.metadata
"""  # noqa: S608  (constants of other modules)


def remove(namespace: Namespace, names: Iterable[object]) -> None:
    """Remove names that a proof of absence covers; a query of one column keeps them in the database.

    A scan that listed one of them before starts its listing over, because its stage lacks rows.
    """
    mine = _locked(namespace)
    StagedKey.objects.filter(scan__in=Scan.objects.filter(namespace=mine), name__in=names).delete()
    Key.objects.filter(namespace=mine, name__in=names).delete()
    recount(mine)


def put_back(namespace: Namespace, keys: Sequence[ListedKey]) -> None:
    """Add keys that were read after they were written. The caller counts at the end (`recount`)."""
    mine = _locked(namespace)
    scan = Scan.objects.newest(mine)
    if scan is None or not keys:
        return  # without a scan there is no inventory
    with connection.cursor() as cursor:
        cursor.execute(
            _PUT_BACK,
            {
                "namespace": mine.pk,
                "scan": scan.pk,
                "names": [key.name for key in keys],
                "expirations": [key.expiration for key in keys],
                "metadata": [key.metadata for key in keys],
                **key_families.Families.of(mine.binding).params(),
            },
        )


def recount(namespace: Namespace) -> None:
    """Count the keys of the namespace again: the pages show the counts of its newest scan."""
    newest = Scan.objects.newest(namespace)
    if newest is not None:
        key_families.count_keys(newest)


def _locked(namespace: Namespace) -> Namespace:
    log.insist()
    return Namespace.objects.select_for_update(no_key=True).get(pk=namespace.pk)
