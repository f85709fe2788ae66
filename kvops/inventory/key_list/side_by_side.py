"""Two namespaces of one binding side by side, by name: only here, only there, in both, and differing.

Both sides are read by the index of names and merged. A page looks through at most 20,000 names of each side, and the
counts through as many, so both cost the same with millions of keys. Values are not compared: the inventory has none. A
key differs by its expiration or by its metadata. The metadata of settings and unclassified keys is not compared.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from django.db import connection
from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from kvops.inventory.browse import QUICK, WINDOW
from kvops.inventory.key_list.matching import CAP
from kvops.models import Category, Namespace
from kvops.names import after_prefix, storable


class PairKind(TextChoices):
    """Where a key is, and whether its two sides differ."""

    HERE = "here", _("Only here")
    THERE = "there", _("Only there")
    BOTH = "both", _("In both")
    DIFFERING = "differing", _("Differing")


class PairRow(NamedTuple):
    """A key with both of its sides; an expiration is None if the key never expires or is not there."""

    name: str
    here: bool
    there: bool
    category: str
    here_expiration: int | None
    there_expiration: int | None
    expiration_differs: bool
    metadata_differs: bool

    @property
    def apart(self) -> int:
        """Seconds between the two expirations; 0 if a side has none."""
        here, there = self.here_expiration, self.there_expiration
        return 0 if here is None or there is None else abs(here - there)


class PairCount(NamedTuple):
    """Keys in one place. If `more`, there may be more: the names were not all looked through."""

    kind: PairKind
    keys: int
    more: bool


@dataclass(frozen=True)
class PairPage:
    """A page of pairs, and the name after which the next begins; None at the end."""

    rows: Sequence[PairRow]
    after: str | None


_SIDE = """(
  SELECT name, expiration, metadata, category FROM kvops_key
   WHERE namespace_id = %({side})s AND name > %(after)s AND name >= %(low)s
     AND (%(high)s::text IS NULL OR name < %(high)s)
   ORDER BY name LIMIT %(most)s)"""
_PAIRS = f"""
WITH here AS MATERIALIZED {_SIDE.format(side="here")}, there AS MATERIALIZED {_SIDE.format(side="there")},
seen AS (
  SELECT least((SELECT max(name) FROM here HAVING count(*) = %(most)s),
               (SELECT max(name) FROM there HAVING count(*) = %(most)s)) AS until
),
pairs AS (
  SELECT coalesce(here.name, there.name) AS name, here.name IS NOT NULL AS is_here, there.name IS NOT NULL AS is_there,
         coalesce(here.category, there.category) AS category, here.expiration AS here_at, there.expiration AS there_at,
         here.name IS NOT NULL AND there.name IS NOT NULL
           AND here.expiration IS DISTINCT FROM there.expiration AS expiration_differs,
         here.name IS NOT NULL AND there.name IS NOT NULL
           AND NOT here.category = ANY(%(masked)s) AND NOT there.category = ANY(%(masked)s)
           AND here.metadata IS DISTINCT FROM there.metadata AS metadata_differs
    FROM here FULL JOIN there ON here.name = there.name
   WHERE coalesce(here.name, there.name) <= (SELECT until FROM seen) OR (SELECT until FROM seen) IS NULL
)
"""  # noqa: S608  (constants of this module)
_KINDS = {
    PairKind.HERE: "is_here AND NOT is_there",
    PairKind.THERE: "is_there AND NOT is_here",
    PairKind.BOTH: "is_here AND is_there",
    PairKind.DIFFERING: "expiration_differs OR metadata_differs",
}


def counts(here: Namespace, there: Namespace, prefix: str = "") -> list[PairCount]:
    """The number of keys of each kind under a prefix: exact to 10,000, of the first 20,000 names of each side."""
    if prefix and not storable(prefix):
        return [PairCount(kind, 0, more=False) for kind in PairKind]
    columns = ", ".join(f"count(*) FILTER (WHERE {_KINDS[kind]})" for kind in PairKind)
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_PAIRS} SELECT (SELECT until FROM seen), {columns} FROM pairs",  # noqa: S608  (constants)
            _params(here, there, prefix, "", WINDOW),
        )
        until, *found = cursor.fetchone()
    return [
        PairCount(kind, min(keys, CAP), more=keys > CAP or until is not None)
        for kind, keys in zip(PairKind, found, strict=True)
    ]


def pairs(
    here: Namespace, there: Namespace, *, prefix: str = "", kind: PairKind | None = None, after: str = "", limit: int
) -> PairPage:
    """A page of the keys of either side in the order of their names; with a kind, of these only."""
    if any(text and not storable(text) for text in (prefix, after)):
        return PairPage([], None)
    for most in QUICK, WINDOW:
        rows, until = _looked_through(_params(here, there, prefix, after, most), kind, limit + 1)
        if len(rows) > limit:
            return PairPage(rows[:limit], rows[limit - 1].name)
        if until is None:
            break
    return PairPage(rows, until)


def _looked_through(
    params: dict[str, int | str | list[str] | None], kind: PairKind | None, limit: int
) -> tuple[list[PairRow], str | None]:
    """The first rows among the names that are looked through, and the last of these names; None at the end."""
    shown = f"WHERE {_KINDS[kind]}" if kind else ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"{_PAIRS} SELECT (SELECT until FROM seen), pairs.* FROM (SELECT) one"  # noqa: S608  (constants)
            f" LEFT JOIN (SELECT * FROM pairs {shown} ORDER BY name LIMIT %(rows)s) pairs ON true ORDER BY name",
            {**params, "rows": limit},
        )
        found = cursor.fetchall()
    return [PairRow(*row[1:]) for row in found if row[1] is not None], found[0][0]


def _params(
    here: Namespace, there: Namespace, prefix: str, after: str, most: int
) -> dict[str, int | str | list[str] | None]:
    return {
        "here": here.pk,
        "there": there.pk,
        "low": prefix,
        "high": after_prefix(prefix) if prefix else None,
        "after": after,
        "most": most,
        "masked": [category.value for category in Category if category.sensitive],
    }


def others(namespace: Namespace) -> list[Namespace]:
    """The namespaces of the same binding in the other environments, in the order of clean-up."""
    return [one for one in of_binding(namespace.binding) if one != namespace]


def of_binding(binding: str) -> list[Namespace]:
    """The namespaces of a binding in all environments, in the order of clean-up."""
    found = Namespace.objects.filter(binding=binding) if storable(binding) else Namespace.objects.none()
    return list(found.select_related("environment").order_by("environment__order"))
