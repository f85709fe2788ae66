"""Templates of names over columns, such as `master:{type}:{id}`. Pure: no Django, no network."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from string import Formatter
from typing import Self

from backups.datasets.canonical import JSON, ExactNumber, number
from kvops.cloudflare import Cell
from kvops.refusals import Sentence as _


class BadTemplate(ValueError):
    """A template that cannot be read; the message says why."""


@dataclass(frozen=True, slots=True)
class Template:
    """Text with columns in braces."""

    pieces: Sequence[tuple[str, str | None]]
    columns: Sequence[str]
    """The columns in their order, each once."""

    @classmethod
    def of(cls, text: str) -> Self:
        """The template as literals, each followed by a column or None. Raises BadTemplate."""
        try:
            parsed = list(Formatter().parse(text))
        except ValueError as error:
            raise BadTemplate(
                _("the template %(text)s is not well-formed: %(error)s", text=repr(text), error=error)
            ) from error
        if any(column == "" or spec or conversion for _, column, spec, conversion in parsed):
            raise BadTemplate(_("the template %(text)s may hold text and {column} only", text=repr(text)))
        pieces = [(literal, column) for literal, column, _, _ in parsed]
        return cls(pieces, list(dict.fromkeys(column for _, column in pieces if column is not None)))

    @property
    def head(self) -> str:
        """The text before the first column."""
        return self.pieces[0][0] if self.pieces else ""

    def of_cells(self, cells: Mapping[str, Cell], places: Mapping[str, tuple[int, str]]) -> tuple[str, str]:
        """The name of a result row of D1, and an empty text; `places` are as of `Table.cell`.

        If a column's value cannot be part of a name: the beginning of the name, and that column.
        """
        kinds = str(cells["kinds"])
        made = ""
        for literal, column in self.pieces:
            made += literal
            if column is not None:
                index, name = places[column]
                part = _of_cell(kinds[index], cells[name])
                if part is None:
                    return made, column
                made += part
        return made, ""

    def of_parts(self, part: Callable[[str], JSON]) -> str:
        """The name of the parts of columns; raises KeyError with the first column without text or number."""
        made = ""
        for literal, column in self.pieces:
            made += literal
            if column is not None:
                made += _of_json(column, part(column))
        return made


def _of_cell(kind: str, value: Cell) -> str | None:
    if kind in "it" and isinstance(value, str):
        return value
    return number(repr(float(value))) if kind == "r" and isinstance(value, int | float) else None


def _of_json(column: str, value: JSON) -> str:
    if isinstance(value, ExactNumber):
        return number(value)
    if not isinstance(value, str):
        raise KeyError(column)
    return value
