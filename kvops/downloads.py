"""Lists of names as files: one JSON object a line, or CSV for spreadsheets. Pure: no database."""

import csv
import io
import json
from collections.abc import Iterable, Iterator

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""What makes a spreadsheet take a cell for a formula."""


def json_lines(names: Iterable[str]) -> Iterator[str]:
    """A line `{"name": …}` for each name, exactly as it is."""
    for name in names:
        yield json.dumps({"name": name}, ensure_ascii=False) + "\n"


def csv_lines(names: Iterable[str]) -> Iterator[str]:
    """CSV with a heading and a byte order mark; a name that would be taken for a formula gets a quote in front."""
    yield "\ufeff" + _row("name")
    for name in names:
        yield _row(f"'{name}" if name.startswith(_FORMULA) else name)


def _row(cell: str) -> str:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow([cell])
    return line.getvalue()
