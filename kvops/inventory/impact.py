"""The effect of another policy on the keys of the inventory, counted before anybody decides on it.

Old and new families cut the names into ranges. Only ranges with another category or encryption are counted: one query
per namespace, which stops at a million keys, or sooner for a pattern that is only tried. The page of categories tries
a pattern before it exists, and says which family wins a name and why.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import Q, QuerySet, Sum
from django.db.models.functions import Coalesce
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from kvops.approvals.evidence import moment
from kvops.environments.toml import TomlTable
from kvops.inventory.families import Families, FamilyDefinition, families_in_force, read_families
from kvops.models import Category, Family, Key, Namespace, Scan

MOST = 1_000_000
"""Keys of a namespace that are counted before a decision."""
TRIED = 10_000
"""Keys of a namespace that are counted for a pattern that is only tried. Its registration counts to a million."""
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


def overlapped(families: Definitions, family: FamilyDefinition) -> list[FamilyDefinition]:
    """The families inside the pattern: they keep their keys, because the longer pattern wins."""
    if family.exact:
        return []
    inside = [one for one in families if one.binding == family.binding and one.pattern.startswith(family.pattern)]
    return [one for one in inside if one.key != family.key]


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


@dataclass(frozen=True)
class NameLookup:
    """The families that match a name, the winner first, and the reason why the first wins."""

    name: str
    matching: Sequence[Family]
    why: str | Promise

    @property
    def winner(self) -> Family | None:
        """The family that the name belongs to."""
        return self.matching[0] if self.matching else None


def look_up(binding: str, name: str) -> NameLookup:
    """The families of a binding that match the name. The longest pattern wins, and at equal length the exact one."""
    found = [family for family in Family.objects.filter(binding=binding) if family.matches(name)]
    ranked = sorted(found, key=lambda family: (len(family.pattern), family.exact), reverse=True)
    return NameLookup(name, ranked, _why(ranked))


def _why(ranked: Sequence[Family]) -> str | Promise:
    if not ranked:
        return _("No pattern matches, so the key is unclassified and treated as settings.")
    if len(ranked) == 1:
        return _("No other pattern matches.")
    if len(ranked[0].pattern) == len(ranked[1].pattern):
        return _("An exact name wins over a prefix of the same length.")
    return _("Its pattern is the longest that matches.")


@dataclass(frozen=True)
class PatternTrial:
    """A pattern that is tried: the family with the same pattern, the one it takes keys from, and those inside it."""

    same: FamilyDefinition | None
    parent: FamilyDefinition | None
    inside: Sequence[FamilyDefinition]
    rows: Sequence[dict[str, Any]]
    """Per namespace: the keys that would move, as in `impact`, and the keys of the parent `before` and `after`.

    After a count that stopped, `after` is None.
    """


def try_pattern(binding: str, pattern: str, category: str, *, exact: bool) -> PatternTrial:
    """The effect of the pattern on the policy in force. Nothing is changed."""
    before = families_in_force()
    [tried] = read_families(TomlTable({"family": [_table(binding, pattern, category, exact=exact)]}))
    same = next((one for one in before if one.key == tried.key), None)
    owner = None if same else parent(tried, before)
    rows = [] if same else taken(before, [*before, inheriting(tried, before)], TRIED)
    held = _held(binding, owner)
    for row in rows:
        total, keys = held.get(str(row["environment"])), row["keys"]
        row["before"], row["after"] = total, None
        if total is not None and isinstance(keys, int) and not row["at_least"]:
            row["after"] = max(total - keys, 0)
    return PatternTrial(same, owner, overlapped(before, tried), rows)


def _table(binding: str, pattern: str, category: str, *, exact: bool) -> dict[str, object]:
    expiry = "regenerate" if category == Category.CACHE else "none"
    table = {"binding": binding, "pattern": pattern, "category": category, "owner": "-", "expiry": expiry}
    return {**table, "exact": exact}


def _held(binding: str, parent: FamilyDefinition | None) -> dict[str, int]:
    """The keys of the family, or the unclassified ones, as the newest scan of each namespace counted them."""
    if parent is None:
        mine = Q(counts__category=Category.UNCLASSIFIED)
    else:
        mine = Q(counts__family__pattern=parent.pattern, counts__family__exact=parent.exact)
    scans = Scan.objects.newest_of_each().filter(namespace__binding=binding)
    held = scans.annotate(held=Coalesce(Sum("counts__keys", filter=mine), 0))
    return dict(held.values_list("namespace__environment__slug", "held"))
