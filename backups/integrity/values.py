"""Both values of a difference as they are now, field by field, for a person who asks. The request is recorded first.

Values are in the answer and nowhere else. The keys of settings and unclassified families stay masked, so neither KV
nor D1 is read for them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from backups.archive import Damaged
from backups.bucket.store import StoreError
from backups.datasets import registry as dataset_registry
from backups.datasets.canonical import JSON, encode
from backups.datasets.mapping import Correspondence
from backups.datasets.paths import follow, parse
from backups.generations import start as generation_start
from backups.generations.values import ENCRYPTED, ValueHidden
from backups.integrity import causes, d1_rows
from backups.integrity.causes import LikelyCause
from backups.integrity.d1_rows import FoundRow, Place, object_at, rows_of
from backups.integrity.kept_values import insist_readable, kept_values, masked_among
from backups.models import Check, Difference, Generation
from kvops.cloudflare import Cell, Cloudflare, CloudflareError
from kvops.connections import clients
from kvops.inventory import value as key_value
from kvops.models import Namespace, Person
from kvops.wording import reason_of, say

SHOWN = 2_000
"""Characters of one field that are shown."""

Kind = Difference.Kind

MASKED = _("Masked: the key is a setting or unclassified.")


@dataclass(frozen=True)
class Shown:
    """One field on one side; `text` is None if the side does not have it."""

    text: str | None
    cut: bool = False


@dataclass(frozen=True)
class ReadSide:
    """One side of a difference: its title, the fields it has, or the reason why it has none."""

    title: str | Promise
    there: bool = False
    problem: str | Promise = ""
    fields: Mapping[str, Shown] = field(default_factory=dict)
    data: bytes | None = None


@dataclass(frozen=True)
class FieldLine:
    """One field on all sides, and whether it differs now."""

    name: str
    column: str
    cells: Sequence[Shown]
    differs: bool


@dataclass(frozen=True)
class BothValues:
    """A difference with the values of its sides. If `hidden`, nothing was read.

    `differs` is None if it cannot be told whether the two still differ.
    """

    difference: Difference
    hidden: str | Promise = ""
    sides: Sequence[ReadSide] = ()
    lines: Sequence[FieldLine] = ()
    differs: bool | None = None
    likely: LikelyCause = causes.UNKNOWN
    rows: int = 0


def view_values(difference: Difference, *, by: Person) -> BothValues:
    """The values in the backup, in KV and in D1 as they are now. Masked ones are not read. Raises ValueHidden."""
    check = difference.check_run
    namespace = causes.namespace_of(check)
    _record(difference, namespace, by)
    if namespace is None or key_value.category_of(namespace, difference.name).sensitive:
        return BothValues(difference, hidden=MASKED, likely=_cause_by_name(difference))
    try:
        return SideReading(difference, namespace).values()
    except CloudflareError as problem:  # no token to ask with
        raise ValueHidden(*problem.args) from problem


def likely_causes(check: Check, differences: Sequence[Difference]) -> dict[int, LikelyCause]:
    """The likely causes of some differences by primary key; those of fields from the backup and D1 as it is now.

    Memory is bounded by one value and the rows. Raises ValueHidden.
    """
    found = causes.by_name(check, differences)
    fields = [one for one in differences if one.kind == Kind.FIELD]
    namespace = causes.namespace_of(check)
    if not fields or namespace is None or check.generation is None:
        return found
    insist_readable(check.generation)
    masked = masked_among(namespace, {one.name for one in fields})
    fields = [one for one in fields if one.name not in masked]
    rule, changed = Correspondence.of(check.definition), causes.changed_column(check)
    try:
        database = dataset_registry.environment_database(check.environment, check.dataset)
        with clients.reader(check.environment) as client:
            places = sorted({(one.name, one.row) for one in fields})
            rows = rows_of(rule, places, client, database, changed=changed)
        for name, data in kept_values(check.generation, {place[0] for place in rows}):
            for one in fields:
                there = rows.get((one.name, one.row)) if one.name == name else None
                value = object_at(rule, data, one.row) if there else None
                if there and value is not None:
                    found[one.pk] = causes.of_field(check, rule, one.field, value, there[0], changed=changed)
    except (Damaged, StoreError, CloudflareError, dataset_registry.NoDatabase) as problem:
        raise ValueHidden(*problem.args) from problem
    return found


def _record(difference: Difference, namespace: Namespace | None, by: Person) -> None:
    check = difference.check_run
    with log.transaction():
        log.record(
            Action.VALUE_VIEWED,
            actor=by.actor,
            **check.audited,
            details={
                "namespace": str(namespace or ""),
                "key": difference.name,
                "against": f"{check.definition['database']}.{check.definition['table']}",
            },
        )


def _cause_by_name(difference: Difference) -> LikelyCause:
    return causes.by_name(difference.check_run, [difference]).get(difference.pk, causes.UNKNOWN)


class SideReading:
    """One difference, read on all sides."""

    def __init__(self, difference: Difference, namespace: Namespace) -> None:
        self.difference, self.namespace = difference, namespace
        self.check = difference.check_run
        self.rule = Correspondence.of(self.check.definition)
        self.place: Place = (difference.name, difference.row)
        self.changed = causes.changed_column(self.check)
        self.found: list[FoundRow] = []
        keys = [column for column in self.rule.d1.key_columns if column not in self.rule.members]
        self.fields: dict[str, str] = {**{column: column for column in keys}, **self.rule.fields}
        if difference.kind == Kind.UNKNOWN_FIELD:
            self.fields[difference.field] = ""

    def values(self) -> BothValues:
        """Read the sides and compare them."""
        kept, live, d1 = self.sides()
        ours = live or kept or d1
        differing = self.differing(ours, d1)
        sides = [side for side in (kept, live, d1) if side is not None]
        return BothValues(
            self.difference,
            sides=sides,
            lines=self.lines(sides, differing),
            differs=self._still(ours, d1, differing),
            likely=self._likely(ours, kept),
            rows=len(self.found),
        )

    def sides(self) -> tuple[ReadSide | None, ReadSide | None, ReadSide]:
        """The value in the backup, the value in KV and the row of D1, as far as the check is of them."""
        kept = self._kept()
        with clients.reader(self.check.environment) as client:
            live = self._live(client) if self.check.is_of_kv else None
            return kept, live, self._d1(client)

    def lines(self, sides: Sequence[ReadSide], differing: set[str] | None) -> list[FieldLine]:
        """The fields in order, each on all sides."""
        return [
            FieldLine(
                name,
                column,
                [side.fields.get(name, Shown(None)) for side in sides],
                differs=differing is not None and name in differing,
            )
            for name, column in self.fields.items()
        ]

    # The sides

    def _kept(self) -> ReadSide | None:
        """The value that the check compared; None if it read KV itself."""
        generation = self.check.generation
        if generation is None:
            sentence = _("Its values were never here: open the file where the command ran.")
            return None if self.check.is_of_kv else ReadSide(_("File"), problem=sentence)
        title = say(_("Backup %(pk)s"), pk=generation.pk)
        if generation.encrypted:
            return ReadSide(title, problem=ENCRYPTED)
        if generation.status in Generation.GOING:
            return ReadSide(title, problem=_("The backup was deleted."))
        try:
            entry = generation_start.read_entry(generation, self.difference.name)
        except (Damaged, StoreError) as problem:
            return ReadSide(title, problem=reason_of(problem))
        return self._side(title, entry.data if entry else None)

    def _live(self, client: Cloudflare) -> ReadSide:
        title = _("KV now")
        try:
            entry = client.exact_get(self.namespace.namespace_id, self.difference.name)
        except CloudflareError as problem:
            return ReadSide(title, problem=reason_of(problem))
        return self._side(title, entry.data if entry else None)

    def _side(self, title: str | Promise, data: bytes | None) -> ReadSide:
        if data is None:
            return ReadSide(title)
        value = object_at(self.rule, data, self.difference.row)
        if value is None:
            nothing = self.rule.many and bool(self.difference.row)
            problem = _("The key holds no such row.") if nothing else _("The value is not a JSON object.")
            return ReadSide(title, there=not nothing, problem=problem, data=data)
        shown = {name: _shown(encode(found)) for name in self.fields for found in _at(value, name)}
        return ReadSide(title, there=True, fields=shown, data=data)

    def _d1(self, client: Cloudflare) -> ReadSide:
        title = _("D1 now")
        try:
            database = dataset_registry.environment_database(self.check.environment, self.check.dataset)
            found = rows_of(self.rule, [self.place], client, database, changed=self.changed)
        except (CloudflareError, dataset_registry.NoDatabase) as problem:
            return ReadSide(title, problem=reason_of(problem))
        self.found = found.get(self.place, [])
        if not self.found:
            return ReadSide(title)
        cells = self.found[0].cells
        shown = {name: _shown(_cell_text(*cells[column])) for name, column in self.fields.items() if column in cells}
        return ReadSide(title, there=True, fields=shown)

    # What they tell

    def differing(self, ours: ReadSide, d1: ReadSide) -> set[str] | None:
        """The fields that differ now; None if the two cannot be compared by field."""
        if ours.data is None or not self.found or d1.problem:
            return None
        return d1_rows.differing_fields(self.rule, self.place, ours.data, self.found[0])

    def _still(self, ours: ReadSide, d1: ReadSide, differing: set[str] | None) -> bool | None:
        if d1.problem or (ours.problem and ours.data is None):
            return None
        unreadable = ours.data is not None and object_at(self.rule, ours.data, self.difference.row) is None
        still: dict[str, bool] = {
            Kind.MISSING_IN_D1: ours.there and not d1.there,
            Kind.ONLY_IN_D1: d1.there and not ours.there,
            Kind.UNKNOWN_FIELD: self.difference.field in ours.fields,
            Kind.NOT_AN_OBJECT: unreadable,
        }
        if self.difference.kind in {Kind.DUPLICATE, Kind.NO_ROWS, Kind.NO_ID}:
            return True if len(self.found) > 1 else None
        by_field = ours.there != d1.there if differing is None else self.difference.field in differing
        return still.get(self.difference.kind, by_field)

    def _likely(self, ours: ReadSide, kept: ReadSide | None) -> LikelyCause:
        if self.difference.kind != Kind.FIELD:
            return _cause_by_name(self.difference)
        data = (kept.data if kept else None) or ours.data
        value = object_at(self.rule, data, self.difference.row) if data else None
        if value is None or not self.found:
            return causes.UNKNOWN
        field_name, row = self.difference.field, self.found[0]
        return causes.of_field(self.check, self.rule, field_name, value, row, changed=self.changed)


def _at(value: dict[str, JSON], path: str) -> Iterator[JSON]:
    """The value at a path, if it is there; null is there."""
    *above, last = parse(path)
    inner = follow(value, tuple(above)) if above else value
    if isinstance(inner, dict) and last in inner:
        yield inner[last]


def _shown(text: str) -> Shown:
    return Shown(text[:SHOWN], cut=len(text) > SHOWN)


def _cell_text(kind: str, value: Cell) -> str:
    """A column as it is spelled in JSON, so that a number and a text of digits differ."""
    match kind, value:
        case "n", _:
            return "NULL"
        case "t", str():
            return json.dumps(value, ensure_ascii=False)
        case "b", list():
            return f"BLOB ({len(value):,} B)"
        case _:
            return str(value)
