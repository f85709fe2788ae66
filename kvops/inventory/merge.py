"""From the stage of a scan to the inventory: COPY in, then one set-based difference. Unchanged rows stay untouched."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from django.db import connection
from django.db.backends.utils import CursorWrapper
from django.db.models.functions import Now

from audit import log
from kvops import timing
from kvops.cloudflare import ListedKey
from kvops.inventory import families as key_families
from kvops.models import Category, Namespace, Scan, StagedKey
from kvops.names import after_prefix, escaped
from kvops.operations import registry
from kvops.operations.parts import OwnChange
from kvops.prefixes import distinct
from kvops.refusals import Sentence as _

UNEXPECTED_SHOWN = 1_000
"""Keys. The most names of unexpected keys that one scan keeps; it counts all of them."""

_OF_SCAN = "namespace_id = %(namespace)s AND name >= %(low)s AND (%(high)s IS NULL OR name < %(high)s)"


# `explained` is only read for keys that a deletion names. A key's last listing may have been of a prefix. A key that
# KVOps wrote so late that the listing may lack it stays, and the next scan decides.
_GONE = """
WITH restored AS MATERIALIZED ({restored}
), gone AS (
  DELETE FROM kvops_key k WHERE {of_scan}
     AND NOT EXISTS (SELECT FROM kvops_stagedkey s WHERE s.scan_id = %(scan)s AND s.name = k.name)
     AND NOT EXISTS (SELECT FROM restored r WHERE r.name = k.name AND r.at >= %(shown)s)
  RETURNING k.name, k.expiration, k.category
), explained AS MATERIALIZED ({explained}
), unexplained AS (
  INSERT INTO kvops_unexplaineddeletion (scan_id, name, expiration, category)
  SELECT %(scan)s, k.name, k.expiration, k.category FROM gone k
   WHERE (k.expiration IS NULL OR k.expiration > extract(epoch FROM clock_timestamp()))
     AND NOT EXISTS (SELECT FROM explained d WHERE d.name = k.name AND (NOT %(narrower)s OR d.at >= (
       SELECT max(l.created_at) FROM kvops_scan l
        WHERE l.namespace_id = %(namespace)s AND l.completed_at IS NOT NULL AND l.id >= %(whole)s AND l.id < %(scan)s
          AND starts_with(k.name, l.prefix)) - make_interval(secs => %(lag)s)))
  RETURNING 1
)
SELECT (SELECT count(*) FROM gone), (SELECT count(*) FROM unexplained)
"""

# One pass over the stage finds both. New rows are inserted in the order of the listing, which is the order of the
# indexes. A new key is unexpected if its family is legacy, or if a clean-up emptied a prefix of it and no longer
# pattern of the policy allows it since. Its name must have been listed before. A key that KVOps deleted while the scan
# listed it is no new key, nor is one that KVOps restored and did not delete again.
_LISTED = f"""
WITH differing AS MATERIALIZED (
  SELECT k.id, s.name, s.expiration, s.metadata
    FROM kvops_stagedkey s LEFT JOIN kvops_key k ON k.namespace_id = %(namespace)s AND k.name = s.name
   WHERE s.scan_id = %(scan)s
     AND (k.id IS NULL OR (k.expiration, k.metadata) IS DISTINCT FROM (s.expiration, s.metadata))
), changed AS (
  UPDATE kvops_key k SET expiration = d.expiration, metadata = d.metadata FROM differing d WHERE k.id = d.id
  RETURNING 1
), added AS (
  INSERT INTO kvops_key (namespace_id, name, expiration, metadata, family_id, category, first_seen_id)
  SELECT %(namespace)s, name, expiration, metadata, {key_families.ASSIGNED}, %(scan)s FROM differing WHERE id IS NULL
  RETURNING 1
), emptied AS MATERIALIZED ({{emptied}}
), deleted AS MATERIALIZED ({{deleted}}
), restored AS MATERIALIZED ({{restored}}
), unexpected AS MATERIALIZED (
  SELECT d.name, d.expiration, a.category
    FROM differing d CROSS JOIN LATERAL (SELECT {key_families.ASSIGNED}) a (family_id, category)
   WHERE d.id IS NULL AND EXISTS (SELECT FROM unnest(%(listed)s::text[]) l (prefix) WHERE starts_with(d.name, l.prefix))
     AND (a.category = '{Category.LEGACY}' OR EXISTS (
       SELECT FROM emptied e LEFT JOIN kvops_family f ON f.id = a.family_id
        WHERE starts_with(d.name, e.prefix) AND coalesce(length(f.pattern), 0) < length(e.prefix)))
     AND NOT EXISTS (SELECT FROM deleted x WHERE x.name = d.name AND x.at >= %(shown)s)
     AND NOT EXISTS (SELECT FROM restored r WHERE r.name = d.name
                        AND NOT EXISTS (SELECT FROM deleted x WHERE x.name = d.name AND x.at > r.at))
), kept AS (
  INSERT INTO kvops_unexpectedkey (scan_id, name, expiration, category)
  SELECT %(scan)s, name, expiration, category FROM unexpected ORDER BY name LIMIT {UNEXPECTED_SHOWN}
)
SELECT (SELECT count(*) FROM changed), (SELECT count(*) FROM added), (SELECT count(*) FROM unexpected)
"""  # noqa: S608  (constants of this module)


type _Params = Mapping[str, int | float | str | list[str] | list[int | None] | None]


class ScanMismatch(Exception):
    """The stage does not hold the rows that the run counted, so it proves nothing."""


@dataclass(frozen=True)
class Merged:
    """The result of a merge: the number of listed keys, and the changes of the inventory."""

    keys: int
    added: int
    changed: int
    gone: int
    unexplained: int = 0
    unexpected: int = 0


def stage_keys(scan: Scan, keys: Sequence[ListedKey]) -> None:
    """Add listed keys to the stage, within the caller's transaction. Their names must be storable."""
    rows = [
        f"{scan.pk}\t{escaped(key.name)}\t{r'\N' if key.expiration is None else key.expiration}"
        f"\t{r'\N' if key.metadata is None else escaped(key.metadata)}\n"
        for key in keys
    ]
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY kvops_stagedkey (scan_id, name, expiration, metadata) FROM STDIN") as rows_in,
    ):
        rows_in.write("".join(rows))


def clear_keys(scan: Scan) -> None:
    """Empty the stage of this scan."""
    StagedKey.objects.filter(scan=scan).delete()


def analyze() -> None:
    """Update the planner's statistics of the stage. Call it before the merge, because it locks out other merges."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT kvops_analyze_stage()")


def merge(scan: Scan, *, staged: int, ordered: bool, unstorable: int, calls: int) -> Merged:
    """Make the inventory equal to the stage, within the caller's transaction, and complete the scan.

    The stage must hold `staged` rows. If the listing was not `ordered`, a name may be listed twice, and the last row
    counts. Raises ScanMismatch.
    """
    log.insist()
    # A new policy holds the same lock while it assigns keys to families.
    namespace = Namespace.objects.select_for_update(no_key=True).get(pk=scan.namespace_id)
    params: _Params = {
        "scan": scan.pk,
        "namespace": namespace.pk,
        "low": scan.prefix,
        "high": after_prefix(scan.prefix) if scan.prefix else None,
        **key_families.Families.of(namespace.binding).params(),
        **_since_the_last_listing(scan),
    }
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '64MB'")  # the joins hold a million names in memory
        cursor.execute("SELECT count(*) FROM kvops_stagedkey WHERE scan_id = %(scan)s", params)
        found = int(cursor.fetchone()[0])
        if found != staged:
            raise ScanMismatch(
                _("Keys listed: %(staged)s, on the stage: %(found)s.", staged=f"{staged:,}", found=f"{found:,}")
            )
        keys = staged if ordered else staged - _drop_repeated(cursor, params)
        gone, unexplained = _delete_gone(cursor, params)
        changed, added, unexpected = _update_and_insert(cursor, params)
    merged = Merged(keys, added=added, changed=changed, gone=gone, unexplained=unexplained, unexpected=unexpected)
    Scan.objects.filter(pk=scan.pk).update(
        completed_at=Now(),
        keys=merged.keys,
        added=merged.added,
        changed=merged.changed,
        gone=merged.gone,
        unexplained=merged.unexplained,
        unexpected=merged.unexpected,
        unstorable=unstorable,
        calls=calls,
    )
    key_families.count_keys(scan)
    # Also delete the rows that earlier failed scans of the namespace left.
    StagedKey.objects.filter(scan__in=Scan.objects.filter(namespace=namespace)).delete()
    return merged


def _drop_repeated(cursor: CursorWrapper, params: _Params) -> int:
    cursor.execute(
        "DELETE FROM kvops_stagedkey s USING kvops_stagedkey later WHERE s.scan_id = %(scan)s"
        " AND later.scan_id = %(scan)s AND later.name = s.name AND later.id > s.id",
        params,
    )
    return int(cursor.rowcount)


def _since_the_last_listing(scan: Scan) -> _Params:
    """The listings of the scan's names before it, and the moments from which KVOps' own changes may explain it."""
    earlier = Scan.objects.complete().filter(namespace=scan.namespace_id, pk__lt=scan.pk)
    whole = earlier.covering(scan.prefix).order_by("-pk").first()
    lag = timedelta(seconds=timing.LIST_LAG)
    return {
        "listed": distinct(set(earlier.values_list("prefix", flat=True))),
        "whole": whole.pk if whole else 0,
        "narrower": earlier.filter(pk__gt=whole.pk if whole else 0).exists(),
        "since": str(whole.created_at - lag) if whole else "-infinity",
        "shown": str(scan.created_at - lag),
        "lag": timing.LIST_LAG,
    }


def _delete_gone(cursor: CursorWrapper, params: _Params) -> tuple[int, int]:
    """The number of gone keys, and of those neither expired nor explained. The merge stores the unexplained ones."""
    own = {
        "explained": _own(OwnChange.DELETED, OwnChange.REPORTED),
        "restored": _own(OwnChange.WRITTEN),
    }
    cursor.execute(_GONE.format(of_scan=_OF_SCAN, **own), params)
    gone, unexplained = cursor.fetchone()
    return int(gone), int(unexplained)


def _update_and_insert(cursor: CursorWrapper, params: _Params) -> tuple[int, int, int]:
    """The numbers of changed, new and unexpected keys. The merge stores the first names of the unexpected ones."""
    own = {
        "deleted": _own(OwnChange.DELETED),
        "restored": _own(OwnChange.WRITTEN),
        "emptied": _own(OwnChange.EMPTIED),
    }
    cursor.execute(_LISTED.format(**own), params)
    changed, added, unexpected = cursor.fetchone()
    return int(changed), int(added), int(unexpected)


def _own(*changes: OwnChange) -> str:
    return " UNION ALL ".join(function() for change in changes for function in registry.OWN_CHANGES[change])
