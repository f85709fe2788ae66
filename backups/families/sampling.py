"""A sample of the names of unclassified keys.

The work is bounded, however many keys there are. A walk reads the first names of each head (`session:`), the last ones
and some between, and then jumps beyond the head by the index. Names without a delimiter have their first character for
a head; heads with a delimiter are looked for between them.
"""

import re
from dataclasses import dataclass, field

from django.db import connection
from django.db.models import QuerySet

from kvops.inventory import browse
from kvops.models import Category, Key, Namespace
from kvops.models.inventory import KeyQuerySet
from kvops.names import after_prefix

BATCH = 200
"""Names that are read at a time: the first of a head, and its last."""
BETWEEN = 1_000
"""Names between the first and the last of a head, one for each two characters that follow the head."""
INNER = 20
"""Heads with a delimiter that are looked for among the names of a head without one."""
MOST_BATCHES = 100
"""Heads for each namespace that are not read wholly. The rest is not reached."""

CUT = re.compile(r"([:/|])")
"""The delimiters of a name."""

_BETWEEN = """
WITH RECURSIVE step AS (
  (SELECT name, expiration, 1 AS n FROM kvops_key WHERE {among} AND name >= %(head)s ORDER BY name LIMIT 1)
  UNION ALL
  SELECT k.name, k.expiration, step.n + 1 FROM step, LATERAL (
    SELECT name, expiration FROM kvops_key
     WHERE {among} AND name >= (CASE WHEN length(step.name) < %(depth)s THEN step.name || chr(1)
                                     ELSE left(step.name, %(depth)s) || %(above)s END) COLLATE "C"
     ORDER BY name LIMIT 1) k
   WHERE step.n < %(most)s)
SELECT name, expiration FROM step
""".format(  # noqa: S608  (constants of this module)
    among=f"namespace_id = %(namespace)s AND category = '{Category.UNCLASSIFIED.value}'"
    " AND (%(high)s::text IS NULL OR name < %(high)s)"
)
"""The first name for each two characters that follow a head: one step of the index for each."""

type Names = dict[str, int | None]
"""The expiration of each key by its name."""


@dataclass
class SampledNamespace:
    """The names read of one namespace, and the number of its unclassified keys as of the newest scan."""

    namespace: Namespace
    total: int | None = None
    names: Names = field(default_factory=dict)
    partial: set[str] = field(default_factory=set)
    """Heads of which not every name was read."""
    complete: bool = True
    """Whether the walk came to the end of the names."""


def sample(namespace: Namespace) -> SampledNamespace:
    """Names of the unclassified keys of a namespace, within the bounds of this module."""
    found = SampledNamespace(namespace)
    if browse.newest_scan(namespace) is None:
        return found
    found.total = browse.by_category(namespace)[Category.UNCLASSIFIED.value]
    keys = namespace.key_set.filter(category=Category.UNCLASSIFIED)
    low = ""
    for _batch in range(MOST_BATCHES):
        rows = _read(keys.filter(name__gte=low).order_by("name"))
        found.names |= rows
        if len(rows) < BATCH:
            return found
        head = head_of(max(rows))
        beyond = after_prefix(head)
        under = keys.filter(name__gte=head) if beyond is None else keys.filter(name__gte=head, name__lt=beyond)
        if _ends_too(found, under, rows):
            found.partial.add(head)
            _look_between(found, keys, head, beyond)
        if beyond is None:
            return found
        low = beyond
    found.complete = False
    return found


def _read(keys: QuerySet[Key]) -> Names:
    return dict(keys.values_list("name", "expiration")[:BATCH])


def _ends_too(found: SampledNamespace, under: QuerySet[Key], first: Names) -> bool:
    """Read the last names of a head. Return whether names between the first and the last may be left."""
    last = _read(under.order_by("-name"))
    found.names |= last
    return not last.keys() & first.keys()


def _look_between(found: SampledNamespace, keys: KeyQuerySet, head: str, beyond: str | None) -> None:
    """Read names between the first and the last, and the heads with a delimiter that show among them."""
    between = _between(found.namespace, head, beyond)
    found.names |= between
    inner = {one for name in between if len(one := head_of(name)) > 1 and one != head}
    for one in sorted(inner)[:INNER]:
        first = _read(keys.under(one).order_by("name"))
        found.names |= first
        if len(first) == BATCH and _ends_too(found, keys.under(one), first):
            found.partial.add(one)


def _between(namespace: Namespace, head: str, beyond: str | None) -> Names:
    with connection.cursor() as cursor:
        cursor.execute(
            _BETWEEN,
            {
                "namespace": namespace.pk,
                "head": head,
                "high": beyond,
                "depth": len(head) + 2,
                "above": "\U0010ffff",
                "most": BETWEEN,
            },
        )
        return dict(cursor.fetchall())


def head_of(name: str) -> str:
    """The beginning up to the first delimiter, or the first character of a name without one."""
    cut = CUT.search(name)
    return name[: cut.end()] if cut else name[:1]
