"""A sample of the names of unclassified keys, in a few statements for all namespaces.

The work is bounded, however many keys there are. A walk reads the first names of each head (`session:`), the last ones
and some between, and then jumps beyond the head by the index. Names without a delimiter have their first character for
a head; heads with a delimiter are looked for between them.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Q, Sum
from django.db.models.functions import Coalesce

from kvops.models import Category, Namespace, Scan
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

_UNCLASSIFIED = f"FROM kvops_key WHERE category = '{Category.UNCLASSIFIED.value}' AND namespace_id"
_ABOVE = "repeat(chr(1114111), 128)"
"""After a head, a text above every name with the head: a name has at most 512 bytes, this character four."""
_BATCH = f"""
  SELECT array_agg(name ORDER BY name) AS names, array_agg(expiration ORDER BY name) AS expirations,
    coalesce(substring(max(name) from '^[^:/|]*[:/|]'), left(max(name), 1)) AS head
  FROM (SELECT name, expiration {_UNCLASSIFIED} = {{namespace}} AND name > {{low}} COLLATE "C"
        ORDER BY name LIMIT %(batch)s) AS first"""  # noqa: S608  (constants of this module)
_HEADS = "unnest(%(namespaces)s::bigint[], %(heads)s::text[]) WITH ORDINALITY AS h (namespace, head, place)"

_WALK = f"""
WITH RECURSIVE step AS (
  SELECT n.namespace, 1 AS number, b.* FROM unnest(%(namespaces)s::bigint[]) AS n (namespace),
    LATERAL ({_BATCH.format(namespace="n.namespace", low="''")}) AS b
  UNION ALL
  SELECT step.namespace, step.number + 1, b.* FROM step,
    LATERAL ({_BATCH.format(namespace="step.namespace", low=f"(step.head || {_ABOVE})")}) AS b
  WHERE cardinality(step.names) = %(batch)s AND step.number < %(most)s)
SELECT namespace, number, names, expirations FROM step WHERE names IS NOT NULL ORDER BY namespace, number
"""  # noqa: S608  (constants of this module)
"""Batch after batch of names, each from beyond the head of the last name before."""

_END = f"""
SELECT h.place, k.name, k.expiration FROM {_HEADS}, LATERAL (
  SELECT name, expiration {_UNCLASSIFIED} = h.namespace
     AND name >= h.head COLLATE "C" AND name <= (h.head || {_ABOVE}) COLLATE "C"
   ORDER BY name {{order}} LIMIT %(batch)s) AS k
"""  # noqa: S608  (constants of this module)
"""The first names of each head, or its last."""

_BETWEEN = f"""
WITH RECURSIVE step AS (
  SELECT h.place, h.namespace, h.head, k.name, k.expiration, 1 AS n FROM {_HEADS}, LATERAL (
    SELECT name, expiration {_UNCLASSIFIED} = h.namespace
       AND name >= h.head COLLATE "C" AND name <= (h.head || {_ABOVE}) COLLATE "C" ORDER BY name LIMIT 1) AS k
  UNION ALL
  SELECT step.place, step.namespace, step.head, k.name, k.expiration, step.n + 1 FROM step, LATERAL (
    SELECT name, expiration {_UNCLASSIFIED} = step.namespace AND name <= (step.head || {_ABOVE}) COLLATE "C"
       AND name >= (CASE WHEN length(step.name) < length(step.head) + 2 THEN step.name || chr(1)
                         ELSE left(step.name, length(step.head) + 2) || chr(1114111) END) COLLATE "C"
     ORDER BY name LIMIT 1) AS k
   WHERE step.n < %(most)s)
SELECT place, name, expiration FROM step
"""  # noqa: S608  (constants of this module)
"""The first name for each two characters that follow a head: one step of the index for each."""

type Names = dict[str, int | None]
"""The expiration of each key by its name."""


class _Head(NamedTuple):
    namespace: int
    head: str


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


type _Sampled = Mapping[int, SampledNamespace]


def sample(namespaces: Collection[Namespace]) -> list[SampledNamespace]:
    """Names of the unclassified keys of each namespace, within the bounds of this module."""
    totals = _totals(namespaces)
    found = {one.pk: SampledNamespace(one, totals.get(one.pk)) for one in namespaces}
    partial = _read_last(found, _walk(found))
    _read_last(found, _look_between(found, partial))
    return [*found.values()]


def _totals(namespaces: Collection[Namespace]) -> dict[int, int]:
    """The unclassified keys of each namespace, as its newest scan counted them."""
    scans = Scan.objects.newest_of_each().filter(namespace__in=namespaces)
    mine = Q(counts__category=Category.UNCLASSIFIED)
    return dict(scans.values_list("namespace", Coalesce(Sum("counts__keys", filter=mine), 0)))


def _walk(found: _Sampled) -> dict[_Head, Names]:
    """Read batch after batch of each scanned namespace. Return the heads in which a batch ended, with its names."""
    scanned = [pk for pk, one in found.items() if one.total is not None]
    params = {"namespaces": scanned, "batch": BATCH, "most": MOST_BATCHES}
    ended = {}
    for pk, number, names, expirations in _rows(_WALK, params) if scanned else ():
        batch = dict(zip(names, expirations, strict=True))
        found[pk].names |= batch
        if len(batch) == BATCH:
            head = head_of(names[-1])
            ended[_Head(pk, head)] = batch
            found[pk].complete = number < MOST_BATCHES or after_prefix(head) is None
    return ended


def _read_last(found: _Sampled, first: Mapping[_Head, Names]) -> list[_Head]:
    """Read the last names of heads whose first were read. Return those that may have names between."""
    partial = []
    for head, last in _of_each(_END.format(order="DESC"), [*first], batch=BATCH):
        found[head.namespace].names |= last
        if not last.keys() & first[head].keys():
            found[head.namespace].partial.add(head.head)
            partial.append(head)
    return partial


def _look_between(found: _Sampled, partial: Sequence[_Head]) -> dict[_Head, Names]:
    """Read names between the first and the last, and the first of the heads with a delimiter that show among them.

    Return such heads of which more names may follow, with those that were read.
    """
    inner: list[_Head] = []
    for head, between in _of_each(_BETWEEN, partial, most=BETWEEN):
        found[head.namespace].names |= between
        heads = {one for name in between if len(one := head_of(name)) > 1 and one != head.head}
        inner += [_Head(head.namespace, one) for one in sorted(heads)[:INNER]]
    more = {}
    for head, first in _of_each(_END.format(order="ASC"), inner, batch=BATCH):
        found[head.namespace].names |= first
        if len(first) == BATCH:
            more[head] = first
    return more


def _of_each(sql: str, heads: Sequence[_Head], **bounds: int) -> Iterator[tuple[_Head, Names]]:
    """The names that a statement finds for each of these heads."""
    found: dict[int, Names] = defaultdict(dict)
    params = {"namespaces": [one.namespace for one in heads], "heads": [one.head for one in heads], **bounds}
    for place, name, expiration in _rows(sql, params) if heads else ():
        found[place][name] = expiration
    return ((heads[place - 1], names) for place, names in found.items())


def _rows(sql: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, params)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def head_of(name: str) -> str:
    """The beginning up to the first delimiter, or the first character of a name without one."""
    cut = CUT.search(name)
    return name[: cut.end()] if cut else name[:1]
