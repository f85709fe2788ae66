"""How the JSON in a key corresponds to a row of a D1 table. Pure: no Django, no network."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from string import Formatter
from typing import Self

from backups.datasets.canonical import DECODER, JSON, ExactNumber, canonical_field, cell_digests, field_digest, number
from kvops.cloudflare import Cell

NOT_AN_OBJECT = "not_an_object"
UNKNOWN_FIELD = "unknown_field"
ONLY_IN_D1 = "only_in_d1"
MISSING_IN_D1 = "missing_in_d1"

_IDENTIFIER = re.compile(r'[^"\x00-\x1f]{1,200}')


class BadDataset(ValueError):
    """The definition of a dataset cannot be used; the message gives the correction."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of one key, found before the two sides are compared."""

    name: str
    kind: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class DatasetKey:
    """A key in the backup. `digests` is None if its value is no JSON object, `name` is None if no name can be made."""

    name: str | None
    digests: dict[str, str] | None
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class DatasetRow:
    """A row of D1, about `size` characters long.

    `name` is None if the value of the column `nameless` cannot be part of a name. `head` is then the beginning of the
    name.
    """

    key: list[tuple[str, Cell]]
    size: int
    name: str | None
    head: str
    nameless: str
    digests: dict[str, str]


@dataclass(frozen=True, slots=True)
class Correspondence:
    """A rule: each row of `table` is one key, named by the template `key` over its columns.

    `fields` maps a JSON field to its column.
    """

    name: str
    prefix: str
    table: str
    fields: Mapping[str, str]
    ignore: Collection[str]
    only_in_d1: str
    pieces: Sequence[tuple[str, str | None]] = field(repr=False)

    @classmethod
    def of(cls, definition: Mapping[str, object]) -> Self:
        """Parse a definition (see `datasets.registry.definition`); raises BadDataset."""
        name, prefix, table, key, only = (
            _text(definition, member) for member in ("name", "prefix", "table", "key", "only_in_d1")
        )
        fields, ignore = definition.get("fields"), definition.get("ignore")
        if not isinstance(fields, dict) or not all(isinstance(text, str) for pair in fields.items() for text in pair):
            raise BadDataset(f"Dataset {name}: fields must name a column for each JSON field.")
        if not isinstance(ignore, list) or not all(isinstance(text, str) for text in ignore):
            raise BadDataset(f"Dataset {name}: ignore must be a list of JSON fields.")
        if both := sorted(set(ignore) & fields.keys()):
            raise BadDataset(f"Dataset {name}: {both[0]!r} is both compared and ignored.")
        made = cls(name, prefix, table, fields, frozenset(ignore), only, _pieces(name, key))
        made._check()
        return made

    def _check(self) -> None:
        for identifier in (self.table, *self.columns):
            if not _IDENTIFIER.fullmatch(identifier):
                raise BadDataset(f"Dataset {self.name}: {identifier!r} is no name of a table or column.")
        if not self.key_columns:
            raise BadDataset(f"Dataset {self.name}: the key template names no column, such as {{id}}.")
        head = self.pieces[0][0]
        if not (head.startswith(self.prefix) or self.prefix.startswith(head)):
            raise BadDataset(f"Dataset {self.name}: no key of the template can start with {self.prefix!r}.")

    @property
    def key_columns(self) -> list[str]:
        """The columns of the name in their order, each once."""
        return list(dict.fromkeys(column for _, column in self.pieces if column is not None))

    @property
    def columns(self) -> list[str]:
        """All columns of the queries, those of the name first."""
        return list(dict.fromkeys([*self.key_columns, *self.fields.values()]))

    # The backup

    def key_from_bytes(self, name: str, data: bytes) -> DatasetKey:
        """A key and its value, as bytes from KV or from a backup."""
        try:
            return self.key_from_json(name, DECODER.decode(data.decode()))
        except (ValueError, RecursionError):
            return DatasetKey(name, None, (Finding(name, NOT_AN_OBJECT),))

    def key_from_json(self, name: str, value: JSON, *, known: Collection[str] = ()) -> DatasetKey:
        """A key and its parsed value; fields in `known` are not compared. May raise RecursionError."""
        if not isinstance(value, dict):
            return DatasetKey(name, None, (Finding(name, NOT_AN_OBJECT),))
        digests, findings = {}, []
        for member, content in value.items():
            if member in self.fields:
                form = canonical_field(content)
                if form is not None:
                    digests[member] = field_digest(form)
            elif member not in self.ignore and member not in known:
                findings.append(Finding(name, UNKNOWN_FIELD, member))
        return DatasetKey(name, digests, tuple(findings))

    def key_from_row(self, place: str, value: JSON) -> DatasetKey:
        """A row of a dataset file; `place` is its position in the file, for a row without a name."""
        if not isinstance(value, dict):
            return DatasetKey(None, None, (Finding(place, NOT_AN_OBJECT),))
        try:
            name = self.row_name(value)
        except KeyError as missing:
            return DatasetKey(None, None, (Finding(place, MISSING_IN_D1, missing.args[0]),))
        try:
            return self.key_from_json(name, value, known=self._members_of_key().values())
        except RecursionError:
            return DatasetKey(name, None, (Finding(name, NOT_AN_OBJECT),))

    def row_name(self, value: Mapping[str, JSON]) -> str:
        """The key name of a row of a dataset file; raises KeyError with the missing member."""
        parts = {}
        for column, member in self._members_of_key().items():
            content = value.get(member)
            if isinstance(content, ExactNumber):
                content = number(content)
            if not isinstance(content, str):
                raise KeyError(member)
            parts[column] = content
        return "".join(literal + (parts[column] if column else "") for literal, column in self.pieces)

    def row_value(self, value: Mapping[str, JSON]) -> dict[str, JSON]:
        """The value of the key that corresponds to a row: all members but the parts of the name that are no field."""
        only_in_name = set(self._members_of_key().values()) - self.fields.keys()
        return {member: content for member, content in value.items() if member not in only_in_name}

    def _members_of_key(self) -> dict[str, str]:
        """The columns of the name, each with its member in a row of a dataset file."""
        json_field = {column: member for member, column in self.fields.items()}
        return {column: json_field.get(column, column) for column in self.key_columns}

    # D1

    def count_sql(self) -> str:
        """The statement that counts the rows of the table as `n`."""
        return f'SELECT count(*) AS n FROM "{self.table}" AS t'  # noqa: S608  (the name was checked)

    def page_sql(self, after: Sequence[tuple[str, Cell]], limit: int) -> tuple[str, list[str]]:
        """The statement, with its parameters, for rows in the order of their key, beginning with the key `after`.

        Every integer is selected as text, because D1's JSON loses digits above 2^53. Names are qualified, because
        SQLite takes a bare "name" for a string if no such column exists.
        """
        keys = [_column(column) for column in self.key_columns]
        params: list[str] = []
        where = [f"{key} IS NOT NULL" for key in keys]
        if after:
            bounds = [_literal(kind, value, params) for kind, value in after]
            where.insert(0, f"({', '.join(keys)}) >= ({', '.join(bounds)})")
        order = ", ".join(keys)
        return f"{self._select()} WHERE {' AND '.join(where)} ORDER BY {order} LIMIT {limit:d}", params

    def keyless_sql(self, limit: int) -> str:
        """The statement for rows with a NULL in their key: paging by key cannot reach them."""
        where = " OR ".join(f"{_column(column)} IS NULL" for column in self.key_columns)
        return f"{self._select()} WHERE {where} LIMIT {limit:d}"

    def _select(self) -> str:
        columns = [_column(column) for column in self.columns]
        kinds = " || ".join(f"substr(typeof({column}), 1, 1)" for column in columns)
        cells = [
            f"CASE typeof({column}) WHEN 'integer' THEN CAST({column} AS TEXT) ELSE {column} END AS c{index}"
            for index, column in enumerate(columns)
        ]
        return f'SELECT {kinds} AS kinds, {", ".join(cells)} FROM "{self.table}" AS t'  # noqa: S608

    def read_row(self, cells: Mapping[str, Cell]) -> DatasetRow:
        """A result row of these statements as a DatasetRow."""
        found = self.read_cells(cells)
        head, nameless = "", ""
        for literal, column in self.pieces:
            head += literal
            part = _name_part(*found[column]) if column is not None else ""
            if part is None:
                nameless = column or ""
                break
            head += part
        digests = {}
        for member, column in self.fields.items():
            if mark := cell_digests(*found[column]):
                digests[member] = mark
        key = [found[column] for column in self.key_columns]
        size = sum(len(str(value)) for value in cells.values())
        return DatasetRow(key, size, None if nameless else head, head, nameless, digests)

    def read_cells(self, cells: Mapping[str, Cell]) -> dict[str, tuple[str, Cell]]:
        """The columns of a result row, each with the first letter of its type."""
        kinds = str(cells["kinds"])
        return {column: (kinds[index], cells[f"c{index}"]) for index, column in enumerate(self.columns)}


def _name_part(kind: str, value: Cell) -> str | None:
    match kind, value:
        case "i" | "t", str():
            return value
        case "r", int() | float():
            return number(repr(float(value)))
        case _:
            return None


def _literal(kind: str, value: Cell, params: list[str]) -> str:
    """The cell as SQL of its own type.

    A parameter would be text, and in an untyped column text sorts above every number.
    """
    match kind, value:
        case "i", str():
            return str(int(value))
        case "r", int() | float():
            return repr(float(value))
        case "b", list():
            return f"X'{bytes(value).hex()}'"
        case "t", str():
            params.append(value)
            return "?"
        case _:
            raise TypeError(f"{kind} {type(value).__name__}")


def _column(name: str) -> str:
    return f't."{name}"'


def _text(definition: Mapping[str, object], member: str) -> str:
    value = definition.get(member)
    if not isinstance(value, str) or not value:
        raise BadDataset(f"Dataset {definition.get('name')}: {member} is missing.")
    return value


def _pieces(name: str, template: str) -> list[tuple[str, str | None]]:
    """The template as literals, each followed by a column or None."""
    try:
        parsed = list(Formatter().parse(template))
    except ValueError as error:
        raise BadDataset(f"Dataset {name}: the key template {template!r} is not well-formed: {error}.") from error
    if any(column == "" or spec or conversion for _, column, spec, conversion in parsed):
        raise BadDataset(f"Dataset {name}: the key template {template!r} may hold text and {{column}} only.")
    return [(literal, column) for literal, column, _, _ in parsed]
