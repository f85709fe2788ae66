"""Tables as files: CSV for spreadsheets, JSON lines for programs, streamed while they are read. Pure: no database."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from django.http import StreamingHttpResponse

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Characters at the start of a cell that make a spreadsheet read it as a formula."""

type Cell = str | int | None


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """CSV with a heading and a byte order mark. A text that would be read as a formula gets a quote in front."""
    yield "\ufeff" + _row(columns)
    for row in rows:
        yield _row([f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in row])


def json_rows(rows: Iterable[Mapping[str, object]]) -> Iterator[str]:
    """A line with one JSON object for each row."""
    for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"


def _row(cells: Sequence[Cell]) -> str:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow(cells)
    return line.getvalue()


def streamed(lines: Iterable[str], name: str, kind: str) -> StreamingHttpResponse:
    """Stream lines as a file with a name and a content type."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(lines, content_type=f"{kind}; charset=utf-8", headers=disposition)
