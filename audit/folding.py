"""Rows of a list folded into lines: rows that belong together share the line of the first of them. Pure."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass


@dataclass
class FoldedLine[Row]:
    """One line of a list, with one row or the rows that share it."""

    rows: list[Row]

    @property
    def first(self) -> Row:
        """The row that has the line, or the first that shares it."""
        return self.rows[0]

    @property
    def more(self) -> int:
        """The number of rows folded under the first."""
        return len(self.rows) - 1


def folded[Row](
    rows: Iterable[Row], size: int, together: Callable[[Row], Hashable | None]
) -> tuple[list[FoldedLine[Row]], Row | None, bool]:
    """At most `size` lines, the last row that is in them, and whether rows are left.

    Rows for which `together` answers the same share a line; a row for which it answers None has its own. Each row is
    in the lines once and none before the last is left out, so the next page begins after the last row.
    """
    lines: list[FoldedLine[Row]] = []
    shared: dict[Hashable, FoldedLine[Row]] = {}
    last: Row | None = None
    for row in rows:
        key = together(row)
        line = shared.get(key) if key is not None else None
        if line is None:
            if len(lines) == size:
                return lines, last, True
            line = FoldedLine([])
            lines.append(line)
            if key is not None:
                shared[key] = line
        line.rows.append(row)
        last = row
    return lines, last, False
