"""Key families: the family and category of every key name, in Python and set-based in SQL.

The patterns of a binding cut the ordered names into ranges, each with one owner. So the family of a name is one
binary search, here and in Postgres (`width_bucket`), however many keys and families there are.
"""

import json
from bisect import bisect_right
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from django.db import connection
from django.db.models import Q
from django.utils.translation import gettext_lazy as _

from audit import log
from kvops import timing
from kvops.environments.definition import BINDING
from kvops.environments.effect import remove
from kvops.environments.toml import TomlTable, insist_unique
from kvops.inventory import expiry as key_expiry
from kvops.models import ApprovalRequest, Category, Family, Namespace, Person, Read, Scan, ScanCount
from kvops.models.categories import RETAIN_DAYS, notice_days
from kvops.names import after_name, after_prefix, storable

MAX_PATTERN_BYTES = 512
WEEK = 7 * 24
LONGEST_INTERVAL = 366 * 24
"""Hours. For families backed up less than once a year, `interval_hours = 0` says that no backup is expected."""
LONGEST_RETENTION_DAYS = 3650


@dataclass(frozen=True)
class FamilyDefinition:
    """One `[[family]]`; the fields are those of the model."""

    binding: str
    pattern: str
    exact: bool
    category: str
    owner: str
    expiry: str
    note: str
    read: str
    sample: bool
    retain_days: int
    notice_days: tuple[int, ...]
    interval_hours: int
    grace_hours: int
    encrypt: bool
    qa_may_take: bool

    @property
    def key(self) -> tuple[str, str, bool]:
        """The identity of the family."""
        return (self.binding, self.pattern, self.exact)

    def __str__(self) -> str:
        return f"{self.binding} {self.pattern}{'' if self.exact else '*'}"


def read_families(top: TomlTable) -> tuple[FamilyDefinition, ...]:
    """The `[[family]]` tables of a policy, sorted. Raises DefinitionRefused."""
    found = sorted((_family(table) for table in top.tables("family")), key=lambda d: d.key)
    insist_unique("The pattern", [str(d) for d in found])
    return tuple(found)


def _family(table: TomlTable) -> FamilyDefinition:
    table.taken_out("rotate_days", "remove the line, and keep the due dates of secrets in a calendar of your own.")
    category = table.choice("category", [Category.SETTINGS, Category.CACHE, Category.LEGACY])
    longest = timing.CACHE_RETENTION_DAYS if category == Category.CACHE else LONGEST_RETENTION_DAYS
    retain_days = table.number("retain_days", RETAIN_DAYS, lowest=timing.RETENTION_DAYS, highest=longest)
    # A cache needs no backup (policy 3.3). All other families expect one every week, unless they say otherwise.
    interval = table.number(
        "interval_hours", 0 if category == Category.CACHE else WEEK, lowest=0, highest=LONGEST_INTERVAL
    )
    definition = FamilyDefinition(
        binding=table.text("binding", pattern=BINDING, takes="takes the name of a binding"),
        pattern=table.text("pattern", pattern=r"(?s).+", takes="takes a prefix or, with exact = true, a name"),
        exact=table.flag("exact"),
        category=category,
        owner=table.text("owner", longest=100),
        expiry=table.text(
            "expiry",
            takes="takes none, ttl:<seconds> or regenerate, or regenerate:<member of the metadata>",
            pattern=key_expiry.DESIGN,
        ),
        note=table.text("note", "", pattern=r"(?s).+", takes="takes text", longest=1000),
        read=table.choice("read", list(Read), Read.BULK),
        sample=table.flag("sample"),
        retain_days=retain_days,
        notice_days=table.numbers("notice_days", notice_days(), lowest=1, highest=retain_days),
        interval_hours=interval,
        grace_hours=table.number("grace_hours", min(24, interval), lowest=0, highest=interval),
        encrypt=table.flag("encrypt"),
        qa_may_take=table.flag("qa_may_take"),
    )
    if not storable(definition.pattern) or len(definition.pattern.encode()) > MAX_PATTERN_BYTES:
        raise table.refuse("pattern", f"takes text without NUL of at most {MAX_PATTERN_BYTES} bytes.")
    if definition.pattern.endswith("*") and not definition.exact:
        raise table.refuse("pattern", "is a prefix already; leave out the * at its end.")
    if definition.category == Category.SETTINGS and definition.qa_may_take:
        raise table.refuse("qa_may_take", "is not for settings: production's secrets stay in production.")
    if definition.category == Category.CACHE and definition.expiry == "none" and not definition.note:
        raise table.refuse("note", "says why this cache neither has a ttl nor is regenerated.")
    return definition


def families_in_force() -> tuple[FamilyDefinition, ...]:
    """The families in force, sorted."""
    return stored_families(Family.objects.values(*FamilyDefinition.__dataclass_fields__))


def stored_families(rows: Iterable[Mapping[str, Any]]) -> tuple[FamilyDefinition, ...]:
    """The families of these rows, sorted."""
    found = (FamilyDefinition(**{**row, "notice_days": tuple(row["notice_days"])}) for row in rows)
    return tuple(sorted(found, key=lambda d: d.key))


class Families:
    """The families of one binding as ranges over all names."""

    def __init__(self, families: Iterable[Family]) -> None:
        # The longest match wins; an exact pattern wins over a prefix of equal length.
        ranked = sorted(families, key=lambda family: (len(family.pattern), family.exact), reverse=True)
        bounds = {""}
        for family in ranked:
            end = after_name(family.pattern) if family.exact else after_prefix(family.pattern)
            bounds |= {family.pattern} if end is None else {family.pattern, end}
        self.starts: list[str] = []
        self.owners: list[Family | None] = []
        for bound in sorted(bounds):
            owner = next((family for family in ranked if family.matches(bound)), None)
            if not self.owners or owner is not self.owners[-1]:
                self.starts.append(bound)
                self.owners.append(owner)

    @classmethod
    def of(cls, binding: str) -> "Families":
        """The families in force."""
        return cls(Family.objects.filter(binding=binding))

    def family(self, name: str) -> Family | None:
        """The family of a name; None if it is unclassified."""
        return self.owners[bisect_right(self.starts, name) - 1]

    def params(self) -> dict[str, list[str] | list[int | None]]:
        """The ranges as parameters of `ASSIGNED`."""
        return {
            "starts": self.starts,
            "families": [owner.pk if owner else None for owner in self.owners],
            "categories": [owner.category if owner else Category.UNCLASSIFIED.value for owner in self.owners],
        }


_RANGE = 'width_bucket(name COLLATE "C", %(starts)s::text[] COLLATE "C")'
ASSIGNED = f"(%(families)s::bigint[])[{_RANGE}], (%(categories)s::text[])[{_RANGE}]"
"""SQL: family id and category of the column `name`."""


def family_of(binding: str, name: str) -> Family | None:
    """The family of one name; None if it is unclassified. For many names use `Families.of(binding)`."""
    return Families.of(binding).family(name)


def replace(wanted: Collection[FamilyDefinition]) -> None:
    """Replace the families and assign every key of the inventory again, within the caller's transaction.

    Raises StillInUse.
    """
    log.insist()
    # A merge of a scan holds the same lock, so no key is assigned by families that are no longer in force.
    namespaces = list(Namespace.objects.select_for_update(no_key=True).order_by("pk"))
    kept = [_save(definition) for definition in wanted]
    for namespace in namespaces:
        _assign(namespace, Families(family for family in kept if family.binding == namespace.binding))
    for family in Family.objects.exclude(pk__in=[family.pk for family in kept]):
        sentence = _("%(binding)s %(family)s has clean-up requests and cannot be left out.")
        remove(family, sentence, binding=family.binding, family=family)
    for namespace in namespaces:
        newest = Scan.objects.newest(namespace)
        if newest is not None:
            count_keys(newest)


def _save(definition: FamilyDefinition) -> Family:
    values = asdict(definition)
    binding, pattern, exact = (values.pop(name) for name in ("binding", "pattern", "exact"))
    family, _ = Family.objects.update_or_create(binding=binding, pattern=pattern, exact=exact, defaults=values)
    return family


def _assign(namespace: Namespace, families: Families) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"UPDATE kvops_key SET (family_id, category) = ROW({ASSIGNED})"  # noqa: S608  (constants of this module)
            f" WHERE namespace_id = %(namespace)s AND (family_id, category) IS DISTINCT FROM ({ASSIGNED})",
            {"namespace": namespace.pk, **families.params()},
        )


def count_keys(scan: Scan) -> None:
    """Count the keys of the scan's namespace per category and family, within the caller's transaction."""
    ScanCount.objects.filter(scan=scan).delete()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO kvops_scancount"  # noqa: S608  (a constant of the neighbour)
            " (scan_id, category, family_id, pattern, keys, without_expiration, lacking)"
            " SELECT %(scan)s, k.category, k.family_id,"
            " coalesce(f.pattern || CASE WHEN f.exact THEN '' ELSE '*' END, ''), k.keys, k.forever,"
            " CASE WHEN f.expiry LIKE 'ttl:%%' OR f.expiry LIKE 'regenerate%%' THEN k.forever - k.marked ELSE 0 END"
            " FROM (SELECT category, family_id, count(*) AS keys,"
            f" count(*) FILTER (WHERE expiration IS NULL) AS forever, {key_expiry.MARKED} AS marked"
            " FROM kvops_key WHERE namespace_id = %(namespace)s GROUP BY category, family_id) k"
            " LEFT JOIN kvops_family f ON f.id = k.family_id",
            {"scan": scan.pk, "namespace": scan.namespace_id, **key_expiry.marks(scan.namespace.binding)},
        )


def keys_by_family(namespace: Namespace) -> Sequence[ScanCount]:
    """Keys per category and family as of the newest scan, in the order of their patterns; empty without a scan."""
    newest = Scan.objects.complete().filter(namespace=namespace).order_by("-completed_at", "-pk").values("pk")[:1]
    return list(ScanCount.objects.filter(scan=newest).select_related("scan", "family").order_by("category", "pattern"))


def newest_counts(namespace: Namespace) -> tuple[Scan | None, Sequence[ScanCount]]:
    """The newest scan with its counts, as in `keys_by_family`; in one query if the scan found a key."""
    counts = keys_by_family(namespace)
    return (counts[0].scan if counts else Scan.objects.newest(namespace)), counts


@dataclass(frozen=True)
class Holding:
    """The number of keys that a namespace's newest scan counted for a family; None before the first scan."""

    namespace: Namespace
    keys: int | None


@dataclass(frozen=True)
class FamilyRow:
    """A family, or None for the unclassified keys of a binding, with its keys in each environment."""

    binding: str
    family: Family | None
    holdings: Sequence[Holding]


def in_environments() -> Sequence[FamilyRow]:
    """Every family with its keys per environment; a binding ends with the row of its unclassified keys."""
    namespaces = list(Namespace.objects.select_related("environment").order_by("environment__order"))
    newest = {scan.namespace_id: scan for scan in Scan.objects.newest_of_each()}
    found = ScanCount.objects.filter(scan__in=[scan.pk for scan in newest.values()])
    keys = {(row.scan_id, row.family_id): row.keys for row in found}
    families: dict[str, list[Family | None]] = {namespace.binding: [] for namespace in namespaces}
    for family in Family.objects.select_related("registration").order_by("binding", "pattern"):
        families.setdefault(family.binding, []).append(family)
    return [
        FamilyRow(
            binding,
            family,
            [
                Holding(namespace, keys.get((scan.pk, family.pk if family else None), 0) if scan else None)
                for namespace in namespaces
                if namespace.binding == binding
                for scan in [newest.get(namespace.pk)]
            ],
        )
        for binding in sorted(families)
        for family in [*families[binding], None]
    ]


def owners(families: Iterable[Family]) -> list[Person]:
    """The persons that the families name as their owners, by address or name."""
    named = Q()
    for family in families:
        named |= Q(email__iexact=family.owner) | Q(name__iexact=family.owner)
    return list(Person.objects.filter(named)) if named else []


def without_owner(families: Iterable[Family]) -> list[Family]:
    """Families whose owner is not a known person: notices about them go to operators and reviewers only."""
    known = {name.casefold() for person in Person.objects.values_list("email", "name") for name in person}
    return [family for family in families if family.owner.casefold() not in known]


def owners_of_names(binding: str, names: Iterable[str]) -> list[Person]:
    """The owners of the families that these key names belong to."""
    of = Families.of(binding)
    found = {family.pk: family for name in names if (family := of.family(name))}
    return owners(found.values())


def owners_asked_about(request: ApprovalRequest) -> list[Person]:
    """The owners of the family whose keys a request asks to delete or change. A prefix may hold families of its own."""
    asked = json.loads(request.evidence)
    if "binding" not in asked:  # evidence of another version
        return []
    binding, prefix = asked["binding"], asked["prefix"]
    found = {family.pk: family for family in Family.objects.filter(binding=binding, pattern__startswith=prefix)}
    if asked.get("exact"):
        found = {}
    if family := family_of(binding, prefix):
        found[family.pk] = family
    return owners(found.values())
