"""Rows that are laid out as most are, read at once; any other row is read member by member. Pure: no Django."""

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import itemgetter

from backups.datasets.canonical import JSON, canonical_cell
from backups.datasets.fields import FieldReadings, kept
from backups.datasets.names import Template
from backups.datasets.paths import Path, Tree
from backups.datasets.sides import DatasetRow
from backups.datasets.statements import Table
from kvops.cloudflare import Cell

MOST_LAYOUTS = 256
"""Layouts of a dataset that are remembered."""


def values_at[T](names: Sequence[str]) -> Callable[[Mapping[str, T]], tuple[T, ...]]:
    """A function that takes these members of a row; it raises KeyError if one is absent."""
    match names:
        case []:
            return lambda _row: ()
        case [name]:
            return lambda row: (row[name],)
        case _:
            return itemgetter(*names)


class Layouts(dict[tuple[str, ...], Callable[[Mapping[str, JSON]], tuple[JSON, ...]] | None]):
    """By the members of an object: the function that takes all fields, in the order of a packed row.

    None if a field is absent or lies deeper, or if a member is neither compared, ignored nor `known`.
    """

    def __init__(self, fields: Collection[str], tree: Tree, known: Collection[str] = ()) -> None:
        super().__init__()
        compared = {leaf: member for member, leaf in tree.items() if isinstance(leaf, str)}
        self._needed = [compared[field] for field in fields if field in compared]
        self._allowed = {*self._needed, *(member for member, leaf in tree.items() if leaf is None), *known}
        self._deep = len(self._needed) < len(fields)

    def __missing__(self, members: tuple[str, ...]) -> Callable[[Mapping[str, JSON]], tuple[JSON, ...]] | None:
        """Look at members that are not remembered."""
        as_expected = not self._deep and set(self._needed) <= set(members) <= self._allowed
        found = values_at(self._needed) if as_expected else None
        if len(self) < MOST_LAYOUTS:
            self[members] = found
        return found


class NameAtOnce:
    """A template over members of a row that are nearly always texts."""

    def __init__(self, template: Template, members: Mapping[str, str]) -> None:
        """`members` has the member of each column."""
        columns = [column for _literal, column in template.pieces if column is not None]
        self._format = "".join(
            text.replace("%", "%%") + ("" if column is None else "%s") for text, column in template.pieces
        )
        self._take = values_at([members[column] for column in columns])
        self._texts = {str} if columns else set()

    def of(self, row: Mapping[str, object]) -> str | None:
        """The name; None unless all its parts are there and are texts."""
        try:
            parts = self._take(row)
        except KeyError:
            return None
        return self._format % parts if set(map(type, parts)) == self._texts else None


def names_at_once(templates: Sequence[Template], sources: Mapping[str, Path]) -> Sequence[NameAtOnce] | None:
    """The names of a row of a dataset file; None if a part of one lies deeper than the members of the row."""
    if any(len(path) > 1 for path in sources.values()):
        return None
    return [NameAtOnce(template, {column: path[0] for column, path in sources.items()}) for template in templates]


class RowReader:
    """Reads the result rows of the statements of a table."""

    def __init__(
        self,
        table: Table,
        templates: tuple[Template, Template],
        readings: Mapping[str, FieldReadings],
        fields: Mapping[str, str],
    ) -> None:
        """`templates` are those of the key and of a row in it, and `fields` has the column of each field."""
        self._key, self._row = templates
        self._places = {column: table.cell(column) for template in templates for column in template.columns}
        cells = [table.cell(fields[field]) for field in readings]
        self._readings = readings
        self._indices = [index for index, _name in cells]
        self._take = values_at([name for _index, name in cells])
        names = {column: name for column, (_index, name) in self._places.items()}
        self._names = [NameAtOnce(template, names) for template in templates]
        self._kinds: dict[str, tuple[str, bool]] = {}

    def read(self, cells: Mapping[str, Cell]) -> DatasetRow:
        """A result row."""
        kinds = str(cells["kinds"])
        of_fields, named = self._kinds.get(kinds) or self._look_at(kinds)
        forms = [
            f"t{value}" if kind == "t" and type(value) is str else canonical_cell(kind, value)
            for kind, value in zip(of_fields, self._take(cells), strict=True)
        ]
        fields = kept(self._readings, forms, column=True)
        if named:
            name, row = self._names[0].of(cells), self._names[1].of(cells)
            if name is not None and row is not None:
                return DatasetRow(name, name, row, "", fields)
        head, nameless = self._key.of_cells(cells, self._places)
        row, without = self._row.of_cells(cells, self._places)
        return DatasetRow(None if nameless else head, head, None if without else row, nameless or without, fields)

    def _look_at(self, kinds: str) -> tuple[str, bool]:
        """The kinds of the fields, and whether each part of a name is a text or a whole number."""
        found = (
            "".join([kinds[index] for index in self._indices]),
            all(kinds[index] in "it" for index, _name in self._places.values()),
        )
        if len(self._kinds) < MOST_LAYOUTS:
            self._kinds[kinds] = found
        return found
