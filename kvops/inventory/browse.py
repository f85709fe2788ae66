"""The queries of the key pages, answered from the inventory."""

import re
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import NamedTuple

from django.db import connection
from django.db.models import Count, Max, Model, Q, QuerySet, TextChoices
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from kvops import timing
from kvops.inventory import expiry as key_expiry, families as key_families
from kvops.inventory.selection import Selection
from kvops.models import Category, Family, Key, Namespace, Scan
from kvops.names import after_prefix, storable

# The query jumps from group to group by the index, so a group costs one step even with millions of keys. A key without
# a group costs one step too.
_GROUPS = """
WITH RECURSIVE step AS (
  (SELECT name, {group} AS found, 1 AS steps, ({group} IS NOT NULL)::int AS groups
     FROM kvops_key WHERE namespace_id = %(namespace)s AND name >= %(low)s AND {below}{kind} ORDER BY name LIMIT 1)
  UNION ALL
  SELECT k.name, k.found, step.steps + 1, step.groups + (k.found IS NOT NULL)::int
    FROM step, LATERAL (
      SELECT name, {group} AS found FROM kvops_key
       WHERE namespace_id = %(namespace)s AND {below}{kind}
         AND name >= coalesce(left(step.found, -1) || %(above)s, step.name || chr(1)) COLLATE "C"
       ORDER BY name LIMIT 1) k
   WHERE step.steps < %(max_steps)s AND step.groups < %(max_groups)s
),
found AS (SELECT found, least(%(counted)s / count(*) OVER (), %(most)s) AS cap FROM step WHERE found IS NOT NULL)
SELECT found, cap, (
  SELECT count(*) FROM (
    SELECT FROM kvops_key WHERE namespace_id = %(namespace)s AND name >= found
       AND name < (left(found, -1) || %(above)s) COLLATE "C"{kind} LIMIT cap + 1) capped)
  FROM found ORDER BY found
""".format(  # noqa: S608  (constants of this module)
    group="left(name, nullif(strpos(substr(name, length(%(low)s) + 1), %(delimiter)s), 0) + length(%(low)s))",
    below="(%(high)s IS NULL OR name < %(high)s)",
    kind="{kind}",
)
MAX_GROUPS = 200
GROUP_CAP, FEW_CAP = 1_000, 10_000
"""Keys. Each of many groups is counted up to the first number, each of few groups up to the second at most."""
_COUNTED = MAX_GROUPS * GROUP_CAP
"""Keys. The most that all counts of a page look at together."""
_MAX_STEPS = 2_000
QUICK, WINDOW = 2_000, 20_000
"""Names. The most that a page looks through before it asks the trigram index, and in all; also the most it sorts."""
_TRIGRAM = re.compile(r"[^\W_]{3}")
"""A part of a name that the trigram index can look up."""


def newest_scan(namespace: Namespace) -> Scan | None:
    """The newest complete scan; None before the first."""
    return Scan.objects.newest(namespace)


def covering_scan(namespace: Namespace, prefix: str) -> Scan | None:
    """The newest complete scan that listed all keys under the prefix."""
    scans = Scan.objects.complete().covering(prefix).filter(namespace=namespace)
    return scans.order_by("-completed_at", "-pk").first()


def is_fresh(scan: Scan) -> bool:
    """Whether the scan was completed within a day: older names are not deleted."""
    fresh = Now() - timedelta(seconds=timing.SCAN_FRESH)
    return Scan.objects.filter(pk=scan.pk, completed_at__gte=fresh).exists()


class Found(NamedTuple):
    """Keys in byte order, and the name after which the next page begins; None at the end."""

    keys: Sequence[Key]
    after: str | None


class Expiring(TextChoices):
    """Keys by their expiration."""

    NEVER = "none", _("never expires")
    ANY = "any", _("expires")
    SOON = "soon", _("expires within 7 days")
    LACKING = "lacking", _("lacks the expiry of its family")


def keys(
    namespace: Namespace,
    *,
    prefix: str = "",
    part: str = "",
    category: Category | None = None,
    family: Family | None = None,
    expiring: Expiring | None = None,
    now: float = 0.0,
    after: str = "",
    limit: int = 50,
) -> Found:
    """A page of keys after the name `after`; `now`, in seconds, is the base for a soon expiration.

    An index serves any one filter; for `part` see `page_of_names`. For the other filters a page looks through at most
    20,000 of the names found. It can therefore hold fewer keys than `limit`, or none, and still not be the last page.
    """
    kind = Q(category=category) if category else Q()
    kind &= Q(family=family) if family else Q()
    found = namespace.key_set.under(prefix).after(after).select_related("family", "first_seen").order_by("name")
    if expiring == Expiring.LACKING and (family is None or not family.is_to_expire):
        return Found([], None)  # each design needs its own test
    if expiring in {Expiring.ANY, Expiring.SOON}:
        found = found.expiring()
        rest = kind & Q(expiration__lt=int(now) + timing.EXPIRING_SOON) if expiring == Expiring.SOON else kind
    else:
        found = found.filter(kind)
        rest = Q(expiration__isnull=True) if expiring else Q()
        if family and expiring == Expiring.LACKING:
            rest &= key_expiry.unmarked(family)
    return Found(*page_of_names(found, rest, part=part, limit=limit))


def page_of_names[Row: Model](
    found: QuerySet[Row], rest: Q, *, part: str = "", limit: int, costly: Q | None = None
) -> tuple[list[Row], str | None]:
    """The rows of a page, ordered by `name`, that pass `rest` and have the part in their name; and the next place.

    Parts that many names have are found within the next names, others by the trigram index. If neither finds enough
    within 20,000 names, the page ends early, and the next page continues there. `costly` is a further condition; of the
    rows that the trigram index finds it is asked in the order of names until the page is full.
    """
    if part:
        found = found if storable(part) else found.none()
        rest &= Q(name__contains=part)
    each = rest & (costly or Q())
    if not rest:
        return _cut(list(found.filter(each)[: limit + 1]), limit)
    shown, end = [], ""
    for size in (QUICK, WINDOW) if _TRIGRAM.search(part) else (WINDOW,):
        seen = found.values("name")[:size].aggregate(end=Max("name"), number=Count("name"))
        end = seen["end"] or ""
        shown = list(found.filter(each, name__lte=end)[: limit + 1])
        if len(shown) > limit or seen["number"] < size:
            return _cut(shown, limit)
        further = _by_trigram(found.filter(name__gt=end), rest, each, limit + 1 - len(shown)) if size == QUICK else None
        if further is not None:
            return _cut([*shown, *further], limit)
    return shown, end if found.filter(name__gt=end).exists() else None


def _cut[Row: Model](shown: list[Row], limit: int) -> tuple[list[Row], str | None]:
    """The rows of a page, and the name of the last of them if more follow."""
    return (shown[:limit], shown[limit - 1].name) if len(shown) > limit else (shown, None)  # type: ignore[attr-defined]


def _by_trigram[Row: Model](found: QuerySet[Row], rest: Q, each: Q, limit: int) -> list[Row] | None:
    """The first rows that the trigram index finds; None if it finds too many to sort."""
    matching = found.filter(rest).order_by().values_list("pk", "name")[: WINDOW + 1]
    rows, params = matching.query.sql_with_params()
    passing, more_params = found.filter(each).order_by().values_list("pk").query.sql_with_params()
    with connection.cursor() as cursor:
        # Planned without the order and the limit, for which Postgres would read name after name. The number comes also
        # without any row that passes: the rows beyond the window were not looked at.
        cursor.execute(
            f"WITH matching (pk, name) AS MATERIALIZED ({rows}), number AS (SELECT count(*) FROM matching)"  # noqa: S608  (our queries)
            " SELECT CASE WHEN number.count <= %s THEN ARRAY("
            "SELECT pk FROM (SELECT pk, name FROM matching ORDER BY name) AS sorted,"
            f" LATERAL (SELECT FROM ({passing}) AS passing (key) WHERE key = pk LIMIT 1) AS one"
            " ORDER BY name LIMIT %s) END FROM number",
            [*params, WINDOW, *more_params, limit],
        )
        [first] = cursor.fetchone() or [None]
    return None if first is None else list(found.filter(pk__in=first))


def chosen(
    namespace: Namespace,
    family: Family,
    prefix: str,
    only: Selection,
    now: float,
    *,
    after: str = "",
    most: int | None = None,
) -> Iterator[tuple[str, int | None]]:
    """The names of the family's keys under a prefix that a selection takes, in byte order, with their expirations.

    Memory does not grow with the family. `most`: look at this many keys that may be taken, so that a page ends in time.
    """
    found = namespace.key_set.under(prefix).after(after).filter(family=family).order_by("name")
    if only.without_expiration:
        found = found.filter(expiration__isnull=True)
    if only.member:
        found = found.filter(metadata__isnull=False)
    rows = found.values_list("name", "expiration", "metadata")[:most]
    for name, expiration, metadata in rows.iterator(WINDOW):
        if only.takes(expiration, metadata, now):
            yield name, expiration


def by_category(namespace: Namespace) -> dict[str, int]:
    """Keys per category as of the newest scan, with every category."""
    totals = dict.fromkeys(Category.values, 0)
    for row in key_families.keys_by_family(namespace):
        totals[row.category] += row.keys
    return totals


class Group(NamedTuple):
    """Keys with the same next level after a prefix, up to the delimiter. If `more`, there are more than `keys`."""

    prefix: str
    keys: int
    more: bool


def groups(
    namespace: Namespace,
    prefix: str = "",
    *,
    category: Category | None = None,
    family: Family | None = None,
    delimiter: str = ":",
) -> Sequence[Group]:
    """The next level of the names under a prefix, at most 200 groups; `delimiter` is one character.

    With a category or a family, only of its keys.
    """
    if prefix and not storable(prefix):
        return []
    params: dict[str, int | str | None] = {
        "namespace": namespace.pk,
        "low": prefix,
        "high": after_prefix(prefix) if prefix else None,
        "delimiter": delimiter,
        "above": after_prefix(delimiter),
        "max_steps": _MAX_STEPS,
        "max_groups": MAX_GROUPS,
        "counted": _COUNTED,
        "most": FEW_CAP,
    }
    kind = ""
    if category:
        params["category"], kind = category, " AND category = %(category)s"
    if family:
        params["family"], kind = family.pk, f"{kind} AND family_id = %(family)s"
    with connection.cursor() as cursor:
        cursor.execute(_GROUPS.replace("{kind}", kind), params)
        rows = cursor.fetchall()
    return [Group(found, min(keys, cap), keys > cap) for found, cap, keys in rows]
