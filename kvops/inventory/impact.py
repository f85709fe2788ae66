"""The effect of another policy on the keys of the inventory, counted before anybody decides on it.

Old and new families cut the names into ranges. Only ranges with another category or encryption are counted: one query
per namespace, which stops at a million keys, or sooner for a pattern that is only tried.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

from django.db import connection
from django.db.models import QuerySet

from kvops.approvals.evidence import moment
from kvops.inventory.families import Families, FamilyDefinition
from kvops.models import Category, Family, Key, Namespace, Scan

MOST = 1_000_000
"""Keys of a namespace that are counted before a decision."""
_TOP = "\U0010ffff" * 130
"""A text above every key name, which has at most 512 bytes."""
_COUNT = """
SELECT place, count(*) FROM (
  SELECT r.place FROM unnest(%(starts)s::text[], %(ends)s::text[]) WITH ORDINALITY AS r (low, high, place),
    LATERAL (SELECT FROM kvops_key WHERE namespace_id = %(namespace)s
             AND name >= r.low COLLATE "C" AND name < r.high COLLATE "C" LIMIT %(most)s) AS k
  LIMIT %(most)s) AS found
GROUP BY place
"""

_NOT_LEGACY = [category for category in Category if category != Category.LEGACY]

type Definitions = Collection[FamilyDefinition]


class _Range(NamedTuple):
    """Names from `low` to below `high`, with the family they had and the one they get."""

    low: str
    high: str
    was: Family | None
    will: Family | None


def counted(before: Definitions, after: Definitions) -> list[dict[str, object]]:
    """For each namespace of a changed binding, the number of its keys that another rule would apply to."""
    scans = _scans()
    return [
        _row(namespace, _counts(namespace, ranges, MOST), scans.get(namespace.pk), MOST)
        for namespace in _namespaces()
        if (ranges := list(_ranges(namespace.binding, before, after)))
    ]


def taken(before: Definitions, after: Definitions, most: int) -> list[dict[str, object]]:
    """As `counted`, but for each key that gets another family, and with their number, `most` of each namespace."""
    found, scans = [], _scans()
    for namespace in _namespaces():
        if ranges := list(_ranges(namespace.binding, before, after, _named)):
            counts = _counts(namespace, ranges, most)
            row = _row(namespace, counts, scans.get(namespace.pk), most)
            found.append({**row, "keys": sum(count for _range, count in counts)})
    return found


def winner(binding: str, definitions: Definitions, name: str) -> FamilyDefinition | None:
    """The family of these that a key name belongs to."""
    family = _families(binding, definitions).family(name)
    found = (one for one in definitions if family and one.key == (binding, family.pattern, family.exact))
    return next(found, None)


def parent(family: FamilyDefinition, before: Definitions) -> FamilyDefinition | None:
    """The family of these that the names under the pattern belong to. A key named as a prefix is not its parent."""
    likewise = [one for one in before if family.exact or not one.exact]
    return winner(family.binding, likewise, family.pattern)


def inheriting(family: FamilyDefinition, before: Definitions) -> FamilyDefinition:
    """The family, read and encrypted as its parent."""
    found = parent(family, before)
    return replace(family, read=found.read, encrypt=found.encrypt) if found else family


def _namespaces() -> QuerySet[Namespace]:
    return Namespace.objects.select_related("environment").order_by("environment__order", "binding")


def _scans() -> dict[int, Scan]:
    """The newest scan of each namespace that listed all of its keys."""
    return {scan.namespace_id: scan for scan in Scan.objects.covering("").newest_of_each()}


def become_legacy(before: Definitions, after: Definitions) -> bool:
    """Whether any names that were no legacy master data would be."""
    bindings = {definition.binding for definition in after}
    return any(
        _category(one.will) == Category.LEGACY != _category(one.was)
        for binding in bindings
        for one in _ranges(binding, before, after)
    )


def new_uses(before: Definitions, after: Definitions) -> list[FamilyDefinition]:
    """The families that become legacy although no environment has a key for them: nobody can have moved it to D1."""
    found = []
    for definition in after:
        if definition.category != Category.LEGACY:
            continue
        # A legacy key whose name is the prefix does not make the keys under it legacy.
        likewise = [one for one in before if definition.exact or not one.exact]
        if _category(_families(definition.binding, likewise).family(definition.pattern)) == Category.LEGACY:
            continue
        keys = Key.objects.filter(namespace__binding=definition.binding, category__in=_NOT_LEGACY)
        keys = keys.filter(name=definition.pattern) if definition.exact else keys.under(definition.pattern)
        if not keys.exists():
            found.append(definition)
    return found


def _families(binding: str, definitions: Definitions) -> Families:
    return Families(Family(**asdict(one)) for one in definitions if one.binding == binding)


def _rule(family: Family | None) -> tuple[object, ...]:
    return _category(family), encrypted(family)


def _named(family: Family | None) -> tuple[object, ...]:
    return (family.pattern, family.exact) if family else ()


def _ranges(
    binding: str,
    before: Definitions,
    after: Definitions,
    compared: Callable[[Family | None], tuple[object, ...]] = _rule,
) -> Iterator[_Range]:
    """The ranges of names whose category or encryption changes, or of which `compared` finds a difference."""
    old, new = _families(binding, before), _families(binding, after)
    bounds = sorted({*old.starts, *new.starts})
    for low, high in zip(bounds, [*bounds[1:], _TOP], strict=True):
        was, will = old.family(low), new.family(low)
        if compared(was) != compared(will):
            yield _Range(low, high, was, will)


def _category(family: Family | FamilyDefinition | None) -> Category:
    return Category(family.category) if family else Category.UNCLASSIFIED


def encrypted(family: Family | FamilyDefinition | None) -> bool:
    """Whether backups hold the values of the family encrypted, because of its category or its own rule."""
    return _category(family).sensitive or bool(family and family.encrypt)


def _counts(namespace: Namespace, ranges: Sequence[_Range], most: int) -> list[tuple[_Range, int]]:
    with connection.cursor() as cursor:
        cursor.execute(
            _COUNT,
            {
                "starts": [one.low for one in ranges],
                "ends": [one.high for one in ranges],
                "namespace": namespace.pk,
                "most": most,
            },
        )
        return [(ranges[place - 1], count) for place, count in cursor.fetchall()]


def _row(namespace: Namespace, keys: Sequence[tuple[_Range, int]], scan: Scan | None, most: int) -> dict[str, object]:
    moves: Counter[tuple[str, str]] = Counter()
    for one, count in keys:
        if _category(one.was) != _category(one.will):
            moves[_category(one.was).value, _category(one.will).value] += count
    return {
        "environment": namespace.environment.slug,
        "environment_name": namespace.environment.name,
        "production": namespace.environment.production,
        "binding": namespace.binding,
        "scan": scan.pk if scan else None,
        "scanned": {"at": moment(scan.completed_at if scan else None)},
        "recategorised": sum(moves.values()),
        "moves": [[old, new, count] for (old, new), count in sorted(moves.items())],
        "unmasked": sum(
            count for one, count in keys if _category(one.was).sensitive and not _category(one.will).sensitive
        ),
        "unencrypted": sum(count for one, count in keys if encrypted(one.was) and not encrypted(one.will)),
        "at_least": sum(count for _range, count in keys) >= most,
    }
