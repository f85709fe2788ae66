"""Statements that read a table of D1. Pure: no Django, no network.

Every integer is selected as text, because D1's JSON loses digits above 2^53. Names are qualified, because SQLite takes
a bare "name" for a string if no such column exists.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from kvops.cloudflare import Cell


@dataclass(frozen=True, slots=True)
class Table:
    """A table with the columns that identify a row, and all columns that are read, the former first."""

    name: str
    key_columns: Sequence[str]
    columns: Sequence[str]

    def count_sql(self) -> str:
        """The statement that counts the rows as `n`."""
        return f'SELECT count(*) AS n FROM "{self.name}" AS t'  # noqa: S608  (the name was checked)

    def page_sql(self, after: Sequence[tuple[str, Cell]], limit: int) -> tuple[str, list[str]]:
        """The statement, with its parameters, for rows in the order of their key, beginning with the key `after`."""
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

    def where_sql(self, condition: str, limit: int, *, also: Sequence[str] = ()) -> str:
        """The statement for rows that meet a condition over `t`; the columns `also` come besides, as `x0` and so on."""
        return f"{self._select(also)} WHERE {condition} LIMIT {limit:d}"

    def _select(self, also: Sequence[str] = ()) -> str:
        columns = [_column(column) for column in self.columns]
        kinds = " || ".join(f"substr(typeof({column}), 1, 1)" for column in columns)
        cells = [
            f"CASE typeof({column}) WHEN 'integer' THEN CAST({column} AS TEXT) ELSE {column} END AS {name}"
            for name, column in zip(_cell_names(len(columns)), columns, strict=True)
        ]
        cells += [f"{_column(column)} AS x{index}" for index, column in enumerate(also)]
        return f'SELECT {kinds} AS kinds, {", ".join(cells)} FROM "{self.name}" AS t'  # noqa: S608

    def read_cells(self, cells: Mapping[str, Cell]) -> dict[str, tuple[str, Cell]]:
        """The columns of a result row, each with the first letter of its type."""
        names = _cell_names(len(self.columns))
        return {
            column: (kind, cells[name])
            for column, kind, name in zip(self.columns, str(cells["kinds"]), names, strict=True)
        }

    def cell(self, column: str) -> tuple[int, str]:
        """The place of a column in a result row, and its name there."""
        index = self.columns.index(column)
        return index, _cell_names(len(self.columns))[index]

    def key_of(self, cells: Mapping[str, Cell]) -> list[tuple[str, Cell]]:
        """The columns of the key of a result row, each with the first letter of its type."""
        names = _cell_names(len(self.key_columns))
        return [(kind, cells[name]) for kind, name in zip(str(cells["kinds"]), names, strict=False)]


@cache
def _cell_names(number: int) -> tuple[str, ...]:
    return tuple(f"c{index}" for index in range(number))


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
