"""How the JSON in a key corresponds to rows of a D1 table. Pure: no Django, no network."""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Self

from backups.datasets.at_once import Layouts, NameAtOnce, RowReader, names_at_once
from backups.datasets.canonical import JSON, canonical_field, cell_json
from backups.datasets.definition_parts import BadDataset, pairs_of, rules_of, text_of, texts_of
from backups.datasets.fields import FieldReadings, Fields, Forms, field_readings, kept
from backups.datasets.names import BadTemplate, Template
from backups.datasets.newer import NewerBy
from backups.datasets.paths import BadPath, Path, Tree, beside, follow, parse, place, spelled, tree
from backups.datasets.shapes import ARRAY, OBJECT, ROW, Held, NoRows, Shape
from backups.datasets.sides import (
    DUPLICATE,
    MISSING_IN_D1,
    NO_ID,
    NO_ROWS,
    NOT_AN_OBJECT,
    UNKNOWN_FIELD,
    DatasetKey,
    DatasetRow,
    Finding,
    KeyRow,
)
from backups.datasets.statements import Table
from backups.datasets.type_rules import BadRules
from kvops.cloudflare import Cell
from kvops.refusals import Sentence as _

_IDENTIFIER = re.compile(r'[^"\x00-\x1f]{1,200}')


@dataclass(frozen=True, slots=True)
class Correspondence:
    """A rule: the rows of a table are in keys named by the template `key`, one in each or many in one.

    `fields` maps the path of a JSON field to its column.
    """

    name: str
    prefix: str
    only_in_d1: str
    fields: Mapping[str, str]
    shape: Shape
    d1: Table
    key: Template
    row: Template
    tree: Tree = field(repr=False)
    beside: Tree = field(repr=False)
    paths: Mapping[str, Path] = field(repr=False)
    members: Mapping[str, str] = field(repr=False)
    readings: Mapping[str, FieldReadings] = field(repr=False)
    """By field, in the order of a packed row."""
    reader: RowReader = field(repr=False, compare=False)
    sources: Mapping[str, Path] = field(repr=False)
    """For each column of a name the member of a row; a column without a field has a member of its own name."""
    of_name: Collection[str] = field(repr=False)
    """Members of a row of a dataset file that may be there for its name only."""
    in_keys: Layouts = field(repr=False, compare=False)
    in_files: Layouts = field(repr=False, compare=False)
    names: Sequence[NameAtOnce] | None = field(repr=False, compare=False)
    """Of a row of a dataset file: its key, and its id in the key."""
    newer: NewerBy | None = None
    """The time stamp of a row in one environment, if the dataset has one and the rule is for that environment."""
    orphans: Sequence[str] = ()
    """Keys that need no row."""

    @classmethod
    def of(cls, definition: Mapping[str, object], environment: str = "") -> Self:
        """Parse a definition (see `datasets.registry.definition`); raises BadDataset.

        With the slug of an environment, its rows are read with their time stamp.
        """
        name, prefix, table, key, only = (
            text_of(definition, member) for member in ("name", "prefix", "table", "key", "only_in_d1")
        )
        holds, path, row = (str(definition.get(member, "")) for member in ("holds", "path", "row"))
        fields, ignore = pairs_of(name, definition), texts_of(name, definition, "ignore")
        try:
            names, ids = Template.of(key), Template.of(row)
            keys = list(dict.fromkeys([*names.columns, *ids.columns]))
            newer = NewerBy.of(definition, environment)
            stamp = [newer.column] if newer else []
            d1 = Table(table, keys, list(dict.fromkeys([*keys, *fields.values(), *stamp])))
            readings = field_readings(rules_of(definition, fields))
            members = {column: member for member, column in fields.items()}
            sources = {column: parse(members[column]) if column in members else (column,) for column in keys}
            of_name = [column for column in keys if column not in members]
            nodes = tree(fields, ignore)
            made = cls(
                name=name,
                prefix=prefix,
                only_in_d1=only,
                fields=fields,
                shape=Shape(holds or ROW, parse(path) if path else ()),
                d1=d1,
                key=names,
                row=ids,
                tree=nodes,
                beside=tree((), texts_of(name, definition, "beside")),
                paths={member: parse(member) for member in fields},
                members=members,
                sources=sources,
                readings=readings,
                reader=RowReader(d1, (names, ids), readings, fields),
                of_name=of_name,
                in_keys=Layouts(readings, nodes),
                in_files=Layouts(readings, nodes, of_name),
                names=names_at_once((names, ids), sources),
                newer=newer,
                orphans=texts_of(name, definition, "orphans"),
            )
        except (BadTemplate, BadPath, BadRules) as error:
            raise BadDataset(name, error) from error
        made._check()
        return made

    def _check(self) -> None:
        for identifier in (self.table, *self.d1.columns):
            if not _IDENTIFIER.fullmatch(identifier):
                problem = _("%(identifier)s is no name of a table or column", identifier=repr(identifier))
                raise BadDataset(self.name, problem)
        if self.shape.holds not in (ROW, ARRAY, OBJECT):
            problem = _("a key holds %(row)s, %(array)s or %(object)s", row=ROW, array=ARRAY, object=OBJECT)
            raise BadDataset(self.name, problem)
        if self.shape.holds == ROW and not self.key.columns:
            raise BadDataset(self.name, _("the key template names no column, such as {id}"))
        if (self.shape.holds == ROW) == bool(self.row.columns):
            raise BadDataset(self.name, _("row names the columns of a row's id if a key holds many rows"))
        if self.shape.holds == ARRAY and (missing := set(self.row.columns) - set(self.fields.values())):
            problem = _("no field is compared with %(column)s, which a row's id needs", column=min(missing))
            raise BadDataset(self.name, problem)
        if not (self.key.head.startswith(self.prefix) or self.prefix.startswith(self.key.head)):
            raise BadDataset(self.name, _("no key of the template can start with %(name)s", name=repr(self.prefix)))

    @property
    def table(self) -> str:
        """The name of the table."""
        return self.d1.name

    @property
    def many(self) -> bool:
        """Whether a key holds many rows."""
        return self.shape.holds != ROW

    @property
    def named_rules(self) -> list[str]:
        """The type rules of all fields, sorted."""
        return sorted({name for each in self.readings.values() for name in each.rules.names})

    def owns(self, name: str) -> bool:
        """Whether a key belongs to the dataset: it has the prefix, or the name if the template has no column."""
        return name.startswith(self.prefix) if self.key.columns else name == self.key.head

    # The backup

    def key_from_bytes(self, name: str, data: bytes) -> DatasetKey:
        """A key and its value, as bytes from KV or from a backup."""
        try:
            return self._key(name, self.shape.decode(data))
        except (ValueError, RecursionError):
            return DatasetKey(name, self._unreadable(), [Finding(name, NOT_AN_OBJECT)])

    def _unreadable(self) -> Sequence[KeyRow] | None:
        return None if self.many else [KeyRow("", None)]

    def _key(self, name: str, value: JSON) -> DatasetKey:
        findings = [Finding(name, UNKNOWN_FIELD, path) for path in beside(value, self.shape.path, self.beside)]
        rows = []
        try:
            for held in self.shape.rows(value):
                if (made := self._row(name, held, findings)) is not None:
                    rows.append(made)
        except NoRows:
            bare = not self.many and not self.shape.path
            findings.append(Finding(name, NOT_AN_OBJECT if bare else NO_ROWS))
            return DatasetKey(name, self._unreadable(), findings)
        return DatasetKey(name, rows, findings)

    def _row(self, name: str, held: Held, findings: list[Finding]) -> KeyRow | None:
        """A row, or None if it has no id; problems are added to the findings."""
        if held.repeated:
            findings.append(Finding(name, DUPLICATE, row=held.place))
        if not isinstance(held.value, dict):
            findings.append(Finding(name, NOT_AN_OBJECT, row=held.place))
            return KeyRow(held.id, None) if held.id is not None else None
        row = held.id
        if row is None:
            try:
                row = self.row.of_parts(self._parts(held.value))
            except KeyError as missing:
                findings.append(Finding(name, NO_ID, self._member(missing.args[0]), held.place))
                return None
        if take := self.in_keys[tuple(held.value)]:
            return KeyRow(row, self._at_once(take(held.value)))
        return KeyRow(row, self._fields(name, row, held.value, findings))

    def _at_once(self, contents: Sequence[JSON]) -> Forms | Fields:
        forms = [f"t{each}" if type(each) is str else canonical_field(each) for each in contents]
        return kept(self.readings, forms, column=False)

    def _fields(
        self, name: str, row: str, value: dict[str, JSON], findings: list[Finding], known: Collection[str] = ()
    ) -> Forms | Fields:
        """The fields of an object; top-level members in `known` are not compared. May raise RecursionError."""
        forms: list[str | None] = [None] * len(self.readings)
        for kind, path in self._add(forms, value, self.tree, (), known):
            findings.append(Finding(name, kind, spelled(path), row))
        return kept(self.readings, forms, column=False)

    def _add(
        self, forms: list[str | None], value: dict[str, JSON], node: Tree, above: Path, known: Collection[str] = ()
    ) -> Iterator[tuple[str, Path]]:
        """Add the forms of the fields below a node; each problem with its path."""
        for member, content in value.items():
            leaf = node.get(member, "")
            if isinstance(leaf, dict):
                if isinstance(content, dict):
                    yield from self._add(forms, content, leaf, (*above, member))
                elif content is not None:
                    yield NOT_AN_OBJECT, (*above, member)
            elif leaf:
                forms[self.readings[leaf].place] = canonical_field(content)
            elif leaf is not None and member not in known:
                yield UNKNOWN_FIELD, (*above, member)

    # A dataset file

    def key_from_row(self, at: str, value: JSON) -> DatasetKey:
        """A row of a dataset file; `at` is its position in the file, for a row without a name."""
        if not isinstance(value, dict):
            return DatasetKey(None, (), [Finding(at, NOT_AN_OBJECT)])
        try:
            name, row = self.row_name(value)
        except KeyError as missing:
            return DatasetKey(None, (), [Finding(at, MISSING_IN_D1, missing.args[0])])
        findings: list[Finding] = []
        try:
            if take := self.in_files[tuple(value)]:
                return DatasetKey(name, (KeyRow(row, self._at_once(take(value))),))
            return DatasetKey(name, [KeyRow(row, self._fields(name, row, value, findings, self.of_name))], findings)
        except RecursionError:
            return DatasetKey(name, [KeyRow(row, None)], [Finding(name, NOT_AN_OBJECT, row=row)])

    def row_name(self, value: dict[str, JSON]) -> tuple[str, str]:
        """The key of a row of a dataset file, and its id in the key; raises KeyError with the missing member."""
        try:
            if self.names is not None:
                name, row = self.names[0].of(value), self.names[1].of(value)
                if name is not None and row is not None:
                    return name, row
            part = self._parts(value)
            return self.key.of_parts(part), self.row.of_parts(part)
        except KeyError as missing:
            raise KeyError(self._member(missing.args[0])) from missing

    def row_value(self, value: Mapping[str, JSON]) -> dict[str, JSON]:
        """A row of a dataset file as its key holds it: without the parts of its name that are no field."""
        return {name: content for name, content in value.items() if name in self.tree or name not in self.of_name}

    def _parts(self, value: dict[str, JSON]) -> Callable[[str], JSON]:
        """The part of a name that a row has for a column."""
        return lambda column: follow(value, self.sources[column])

    def _member(self, column: str) -> str:
        return self.members.get(column, column)

    # One value

    def held(self, data: bytes) -> Iterator[Held]:
        """The rows in the value of a key, those of an array with their ids. Raises ValueError, RecursionError."""
        for held in self.shape.rows(self.shape.decode(data)):
            if held.id is None and isinstance(held.value, dict):
                try:
                    yield Held(held.place, self.row.of_parts(self._parts(held.value)), held.value)
                    continue
                except KeyError:
                    pass
            yield held

    def row_in(self, data: bytes, row: str) -> dict[str, JSON] | None:
        """The row with this id in the value of a key; None if there is none. Raises ValueError and RecursionError."""
        found = [held.value for held in self.held(data) if held.id == row]
        return next((value for value in found if isinstance(value, dict)), None)

    def in_key(self, rows: Sequence[tuple[str, JSON]]) -> JSON:
        """The value of a key that holds these rows, each with its id, in their order."""
        inner: JSON = dict(rows) if self.shape.holds == OBJECT else [row for _, row in rows]
        if not self.many:
            inner = rows[0][1]
        for member in reversed(self.shape.path):
            inner = {member: inner}
        return inner

    # D1

    def read_row(self, cells: Mapping[str, Cell]) -> DatasetRow:
        """A result row of the statements of `d1`."""
        return self.reader.read(cells)

    def newer_rows(self, rows: Iterable[Mapping[str, Cell]]) -> dict[tuple[str, str], datetime]:
        """By place: the time stamps of the result rows that were changed after the move to D1."""
        if self.newer is None:
            return {}
        found, (index, name) = {}, self.d1.cell(self.newer.column)
        for cells in rows:
            if (at := self.newer.newer(str(cells["kinds"])[index], cells[name])) is not None:
                row = self.reader.read(cells)
                found[row.name or "", row.row or ""] = at
        return found

    def value_of(self, cells: Mapping[str, tuple[str, Cell]]) -> dict[str, JSON]:
        """The row of D1 as JSON. Raises ValueError, without quoting a value, for a column that has no JSON form."""
        value: dict[str, JSON] = {}
        for member, column in self.fields.items():
            place(value, self.paths[member], cell_json(*cells[column]))
        return value
