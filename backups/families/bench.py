"""The test bench of the rules: which family wins a name and why, and the effect of a pattern before it exists."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import Q, Sum
from django.db.models.functions import Coalesce
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from backups.families.evidence import overlapped
from kvops.environments.toml import TomlTable
from kvops.inventory import families as key_families, impact
from kvops.inventory.families import FamilyDefinition, read_families
from kvops.models import Category, Family, Scan

TRIED = 10_000
"""Keys of a namespace that are counted for a pattern that is only tried. Its registration counts to a million."""


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
    before = key_families.families_in_force()
    [tried] = read_families(TomlTable({"family": [_table(binding, pattern, category, exact=exact)]}))
    same = next((one for one in before if one.key == tried.key), None)
    parent = None if same else impact.parent(tried, before)
    rows = [] if same else impact.taken(before, [*before, impact.inheriting(tried, before)], TRIED)
    held = _held(binding, parent)
    for row in rows:
        total, keys = held.get(str(row["environment"])), row["keys"]
        row["before"], row["after"] = total, None
        if total is not None and isinstance(keys, int) and not row["at_least"]:
            row["after"] = max(total - keys, 0)
    return PatternTrial(same, parent, overlapped(before, tried), rows)


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
