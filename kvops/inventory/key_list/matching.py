"""The number of keys that match the filters, and the tree of them: exact up to 10,000, bounded beyond.

Where an index answers all filters, it counts. A part of a name is looked up in the trigram index. Any other condition
is tried on at most 20,000 names, so that a page costs the same in a namespace of ten million keys.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter

from django.db import connection
from django.db.models import Count, Max, Min

from kvops.inventory import browse
from kvops.inventory.browse import Group
from kvops.inventory.key_list.query import KeyQuery
from kvops.models.inventory import KeyQuerySet

CAP = browse.FEW_CAP
"""Keys. Matches are counted up to this number, as the groups of the tree are."""
LOOKED = 20_000
"""Names. The most that a count looks through for conditions without an index."""

type Place = tuple[int | None, str]
"""Expiration and name of a key: its places in the orders of the list."""

_PLACE = ("expiration", "name")


@dataclass(frozen=True)
class Matches:
    """The keys that match. If `more`, there are more than `keys`; `places` is None if they were not read.

    `looked` is false if the count ended before all names were looked through.
    """

    keys: int
    more: bool
    looked: bool = True
    places: Sequence[Place] | None = None

    @property
    def is_exact(self) -> bool:
        """Whether `keys` is the exact number."""
        return not self.more


def count(query: KeyQuery, *, places: bool = False) -> Matches:
    """The matches of the filters. With `places`, also the place of each of the first 10,000, in the order of names."""
    if query.impossible:
        return Matches(0, more=False, places=[])
    if query.is_of_names and not places:
        keys = query.by_name()[: CAP + 1].count()
        return Matches(min(keys, CAP), more=keys > CAP)
    found, looked = query.matching(), True
    if query.is_of_names:
        read = list(found.order_by("name").values_list(*_PLACE)[: CAP + 1])
    else:
        if not query.is_looked_up:
            found, looked = _within(query, found)
        read = _planned_whole(found)
    shown = sorted(read[:CAP], key=itemgetter(1))
    full = len(read) > CAP
    return Matches(len(shown), more=full or not looked, looked=looked or full, places=shown)


def _within(query: KeyQuery, found: KeyQuerySet) -> tuple[KeyQuerySet, bool]:
    """The matches among the first names of the range, and whether these are all names.

    With both ends of the names Postgres estimates few of them, and reads an index instead of the table.
    """
    names = query.by_name().order_by("name")
    ends = names.values("name")[: LOOKED + 1].aggregate(first=Min("name"), last=Max("name"), number=Count("name"))
    if ends["last"] is None:
        return found, True
    if ends["number"] <= LOOKED:
        return found.filter(name__range=(ends["first"], ends["last"])), True
    return found.filter(name__gte=ends["first"], name__lt=ends["last"]), False


def _planned_whole(found: KeyQuerySet) -> list[Place]:
    """The places of at most one key more than the cap.

    Postgres plans the matches without the limit. With it, it would read the table from the start and hope for early
    matches, instead of using the trigram index.
    """
    sql, params = found.order_by().values_list(*_PLACE).query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH matching AS MATERIALIZED ({sql}) SELECT * FROM matching LIMIT {CAP + 1}",  # noqa: S608  (our query)
            params,
        )
        rows: list[Place] = cursor.fetchall()
        return rows


def tree(query: KeyQuery, matches: Matches, *, delimiter: str = ":") -> Sequence[Group]:
    """The next level of the names that match. It is of the first matches if they were not all counted."""
    if matches.places is None or (query.is_of_names and matches.more):
        return browse.groups(
            query.namespace, query.prefix, category=query.category, family=query.family, delimiter=delimiter
        )
    start = len(query.prefix)
    ends = ((name, name.find(delimiter, start)) for _expiration, name in matches.places)
    heads = Counter(name[: end + 1] for name, end in ends if end >= 0)
    return [Group(head, heads[head], matches.more) for head in sorted(heads)[: browse.MAX_GROUPS]]
