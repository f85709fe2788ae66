"""The D1 import file of a check: SQL to run by hand, for the rows that D1 lacks and the fields that differ.

It takes the values of the check's backup, so it helps only where KV is right and D1 is wrong. A row of D1 that is newer
is left as it is by its time stamp now and, if the dataset says `newer_by`, also when the file runs. KVOps itself never
writes to D1. The file is streamed. If it cannot be written to its end, its last statement fails, so that D1 takes
nothing.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from shlex import quote as shell

from django.conf import settings
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _, gettext_lazy

from audit import log
from audit.actions import Action
from backups.archive import Damaged
from backups.bucket.store import StoreError
from backups.datasets import registry as dataset_registry, sql_text
from backups.datasets.canonical import JSON, ExactNumber, number
from backups.datasets.mapping import Correspondence
from backups.datasets.paths import follow
from backups.datasets.sql_text import NoSqlForm, Obstacle, sql_value
from backups.integrity import causes, kept_values
from backups.integrity.d1_rows import FoundRow, Place, Reading, object_at, reading_condition, readings, rows_of
from backups.models import Check, Difference, Generation
from kvops import clock
from kvops.cloudflare import CloudflareError
from kvops.connections import clients
from kvops.models import Database, Person, Role
from kvops.names import visible
from kvops.refusals import Refused
from kvops.wording import moment, say, spelled

Kind = Difference.Kind

OBSTACLES: Mapping[Obstacle, str | Promise] = {
    Obstacle.NOT_UTF8: gettext_lazy("it has characters without a UTF-8 form"),
    Obstacle.NUMBER: gettext_lazy("a number is too large"),
    Obstacle.LONG: gettext_lazy("its statement is longer than the 100,000 bytes that D1 takes"),
    Obstacle.NAME: gettext_lazy("its name does not tell the columns of its row"),
}

INCOMPLETE = "SELECT the_file_is_not_complete;"
"""A statement that fails. D1 then takes back the whole file."""


class ImportRefused(Refused):
    """There is no import file for the check; the message gives the reason."""


@dataclass
class _ImportPlan:
    """The rows to insert, the fields to set by row, and the numbers of rows that are not written.

    They are masked, or `newer` in D1.
    """

    inserts: set[Place] = field(default_factory=set)
    updates: dict[Place, set[str]] = field(default_factory=lambda: defaultdict(set))
    masked: int = 0
    newer: int = 0

    @property
    def places(self) -> set[Place]:
        """All rows with a statement."""
        return self.inserts | self.updates.keys()


def importable(check: Check) -> bool:
    """Whether the check has differences that an import would correct, in a backup that a page may read."""
    generation = check.generation
    if generation is None or generation.encrypted or generation.status in Generation.GOING:
        return False
    return check.found.filter(kind__in=[Kind.MISSING_IN_D1, Kind.FIELD]).exists()


def file_name(check: Check) -> str:
    """The name of the file."""
    return f"check-{check.pk}.import.sql"


def import_lines(check: Check, *, by: Person) -> Iterator[str]:
    """The lines of the file, recorded first. Raises ImportRefused, ValueHidden and NoDatabase before the first line."""
    if not by.holds(Role.OPERATOR):
        raise ImportRefused(gettext_lazy("Only an operator can do this."))
    if check.outcome != Check.Outcome.FAILED:
        raise ImportRefused(gettext_lazy("Only a check with differences has an import file."))
    if check.generation is None:
        raise ImportRefused(gettext_lazy("This check compared no backup. Take a new backup, and check that."))
    kept_values.insist_readable(check.generation)
    try:
        database = dataset_registry.environment_database(check.environment, check.dataset)
    except dataset_registry.NoDatabase as error:
        raise ImportRefused(*error.args) from error
    plan = _plan(check)
    if not plan.places:
        raise ImportRefused(_nothing(plan))
    there = _rows_to_update(check, database, plan) if plan.updates else {}
    with log.transaction():
        log.record(
            Action.IMPORT_MADE,
            actor=by.actor,
            **check.audited,
            details={
                "generation": check.generation_id,
                "inserts": len(plan.inserts),
                "updates": len(plan.updates),
                "masked": plan.masked,
                "newer": plan.newer,
            },
        )
    return _Writer(check, check.generation, database, plan, there).lines(by)


def _nothing(plan: _ImportPlan) -> str | Promise:
    if plan.masked:
        return gettext_lazy("All these keys are settings or unclassified: their values are never in a plain file.")
    if plan.newer:
        return gettext_lazy("All these rows are newer in D1: an import would set older values over them.")
    return gettext_lazy("No row is missing in D1, and no field differs: an import would change nothing.")


def _plan(check: Check) -> _ImportPlan:
    plan = _ImportPlan()
    found = check.found.filter(kind__in=[Kind.MISSING_IN_D1, Kind.FIELD])
    for name, row, kind, its_field in found.values_list("name", "row", "kind", "field"):
        if kind == Kind.MISSING_IN_D1:
            plan.inserts.add((name, row))
        else:
            plan.updates[name, row].add(its_field)
    namespace, names = causes.namespace_of(check), {name for name, _row in plan.places}
    hidden = kept_values.masked_among(namespace, names) if namespace else names
    masked = {place for place in plan.places if place[0] in hidden}
    plan.inserts -= masked
    plan.updates = {place: fields for place, fields in plan.updates.items() if place not in masked}
    plan.masked = len(masked)
    newer = plan.updates.keys() & set(check.found.exclude(newer_at=None).values_list("name", "row"))
    plan.updates = {place: fields for place, fields in plan.updates.items() if place not in newer}
    plan.newer = len(newer)
    return plan


def _rows_to_update(check: Check, database: Database, plan: _ImportPlan) -> Mapping[Place, Sequence[FoundRow]]:
    """The rows of D1 that differ, as they are now. Raises ImportRefused."""
    rule = Correspondence.of(check.definition)
    try:
        with clients.reader(check.environment) as client:
            return rows_of(rule, sorted(plan.updates), client, database, changed=causes.changed_column(check))
    except CloudflareError as error:
        raise ImportRefused(*error.args) from error


class _Writer:
    """Writes one file."""

    def __init__(
        self,
        check: Check,
        generation: Generation,
        database: Database,
        plan: _ImportPlan,
        there: Mapping[Place, Sequence[FoundRow]],
    ) -> None:
        """`there` has the rows of D1 that differ."""
        self.check, self.generation, self.database, self.plan, self.there = check, generation, database, plan, there
        self.changed = causes.changed_column(check)
        self.rule = Correspondence.of(check.definition, check.environment.slug)
        self.left_out = plan.masked + plan.newer
        self.inserted = self.updated = 0

    def lines(self, by: Person) -> Iterator[str]:
        """All lines, each with its end."""
        for text in [*self._head(by), ""]:
            yield _comment(text)
        left: dict[str, list[str]] = defaultdict(list)
        for name, row in sorted(self.plan.places):
            left[name].append(row)
        try:
            for name, data in kept_values.kept_values(self.generation, list(left)):
                for row in left.pop(name):
                    yield f"{self._statement((name, row), data)}\n"
        except (Damaged, StoreError) as problem:
            yield _comment(say(_("NOT COMPLETE: %(why)s"), why=problem))
            yield f"{INCOMPLETE}\n"
            return
        for name, rows in left.items():
            for row in rows:
                yield f"{self._without((name, row), _('the backup has no value of it'))}\n"
        for text in ("", *self._end()):
            yield _comment(text)

    def _statement(self, place: Place, data: bytes) -> str:
        try:
            value = object_at(self.rule, data, place[1])
            if value is None:
                return self._without(place, _("its value is not a JSON object"))
            if self._is_newer(place, value):
                return self._without(place, _("the row is newer in D1"))
            reading = self._reading(place, value)
            there = reading_condition(reading, sql_text.sql_text)
            if place in self.plan.inserts:
                written = self._insert(value, reading, there)
                self.inserted += 1
            else:
                not_newer = f" AND {self.rule.newer.not_newer_sql()}" if self.rule.newer else ""
                written = self._update(place, value, there + not_newer)
                self.updated += 1
        except NoSqlForm as problem:
            return self._without(place, OBSTACLES[problem.obstacle])
        except RecursionError:
            return self._without(place, _("its value is too deep"))
        return written

    def _insert(self, value: dict[str, JSON], reading: Reading, there: str) -> str:
        given = {column: self._field(value, name) for name, column in self.rule.fields.items()}
        for column, text in reading.items():
            if _spelled(given.get(column)) != text:
                given[column] = text
        columns = [column for column in self.rule.d1.columns if column in given]
        return sql_text.insert(self.rule.table, columns, [sql_value(given[column]) for column in columns], there)

    def _update(self, place: Place, value: dict[str, JSON], there: str) -> str:
        fields = sorted(self.plan.updates[place] & self.rule.fields.keys())
        columns = [self.rule.fields[one] for one in fields]
        values = [sql_value(self._field(value, one)) for one in fields]
        return sql_text.update(self.rule.table, columns, values, there)

    def _is_newer(self, place: Place, value: dict[str, JSON]) -> bool:
        """Whether a row to update was changed after its value in KV, by the time stamp that it has."""
        rows = self.there.get(place, ()) if place in self.plan.updates else ()
        return any(causes.newer_row(self.check, value, row, changed=self.changed) for row in rows)

    def _field(self, value: dict[str, JSON], name: str) -> JSON:
        """The value of a field; None if it is null or not there."""
        return follow(value, self.rule.paths[name])

    def _reading(self, place: Place, value: dict[str, JSON]) -> Reading:
        """The columns of key and row. If the templates fit in several ways, the fields of the value decide."""
        found = readings(self.rule, place)
        by_column = {column: _spelled(self._field(value, name)) for name, column in self.rule.fields.items()}
        agreeing = [one for one in found if all(by_column.get(column, text) == text for column, text in one.items())]
        if len(chosen := agreeing or found) == 1:
            return chosen[0]
        raise NoSqlForm(Obstacle.NAME)

    def _without(self, place: Place, why: str | Promise) -> str:
        self.left_out += 1
        name = visible(" ".join(place).strip())
        return _comment(say(_("Left out: %(name)s: %(why)s"), name=name, why=why)).rstrip("\n")

    def _head(self, by: Person) -> list[str]:
        check, database, table = self.check, self.database.binding, self.rule.table
        account, url = check.environment.account_id, settings.BASE_URL + reverse("backups:check", args=[check.pk])
        command = f"CLOUDFLARE_ACCOUNT_ID={shell(account)} npx wrangler d1"
        facts = {
            "database": database,
            "table": table,
            "id": self.database.database_id,
            "backup": self.generation.pk,
            "stem": self.generation.stem,
            "read": moment(self.generation.started_at),
            "inserts": spelled(len(self.plan.inserts)),
            "updates": spelled(len(self.plan.updates)),
        }
        return [
            say(_("D1 import for %(database)s.%(table)s, to be run by hand"), **facts),
            say(_("Written by KVOps on %(at)s for %(by)s"), at=moment(clock.now()), by=by),
            say(_("Check: %(check)s"), check=f"{check.pk} ({check.dataset.name}, {check.environment.name}) {url}"),
            say(_("Values: backup %(backup)s, %(stem)s, read on %(read)s"), **facts),
            say(_("Database: %(database)s, id %(id)s"), **facts),
            say(_("Rows: inserts up to %(inserts)s that D1 lacks, updates up to %(updates)s that differ"), **facts),
            *self._not_kept(),
            "",
            _("Before: KV must be right and D1 wrong. Rows that are newer in D1 by their time stamp are left out."),
            _("Look through the statements. Write down the bookmark that the first command shows:"),
            f"  {command} time-travel info {shell(database)}",
            f"  {command} execute {shell(database)} --remote --file {shell(file_name(check))}",
            _("Wrangler reads the name of the database from the D1 section of a wrangler.toml, or takes its own name."),
            "",
            _("Undo: Time Travel takes the whole database back to the bookmark, later changes of other tables too:"),
            f"  {command} time-travel restore {shell(database)} --bookmark BOOKMARK",
            "",
            _("It deletes no row, changes no column that the dataset does not name, and does not touch KV."),
            _("A row that is there by now is not inserted again. A field that KV does not have becomes NULL."),
            _("Afterwards: check again in KVOps, and write down in the runbook who ran this file."),
            _("The last line must say that the file is complete."),
        ]

    def _not_kept(self) -> list[str]:
        kept = self.check.found.count()
        if kept >= self.check.differences:
            return []
        sentence = _(
            "Only the first %(kept)s of %(all)s differences are kept by name: the others are not in this file."
        )
        return [say(sentence, kept=spelled(kept), all=spelled(self.check.differences))]

    def _end(self) -> list[str]:
        figures = {"inserts": self.inserted, "updates": self.updated, "left_out": self.left_out}
        masked = say(_("Keys left out, because they are settings or unclassified: %(n)s."), n=self.plan.masked)
        sentence = _("Complete. Inserts: %(inserts)s, updates: %(updates)s, left out: %(left_out)s.")
        newer = say(_("Rows left out, because they are newer in D1: %(n)s."), n=self.plan.newer)
        left_out = [*([masked] if self.plan.masked else []), *([newer] if self.plan.newer else [])]
        return [*left_out, say(sentence, **figures)]


def _comment(text: object) -> str:
    """One line of comment, whatever the text holds."""
    return f"-- {visible(str(text))}".rstrip() + "\n"


def _spelled(value: JSON) -> str | None:
    """The text of a field as a part of a name."""
    if isinstance(value, ExactNumber):
        return number(value)
    return value if isinstance(value, str) else None
