"""Tables as files: CSV for spreadsheets, JSON for programs, streamed while they are read. Pure: no database."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from django.http import HttpRequest, StreamingHttpResponse

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Characters at the start of a cell that make a spreadsheet read it as a formula."""

type Cell = str | int | None


def json_lines(names: Iterable[str]) -> Iterator[str]:
    """A line `{"name": …}` for each name, unchanged."""
    for name in names:
        yield json.dumps({"name": name}, ensure_ascii=False) + "\n"


def csv_lines(names: Iterable[str]) -> Iterator[str]:
    """Names as a table of one column."""
    return csv_table(["name"], ([name] for name in names))


def csv_table(columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """CSV with a heading and a byte order mark. A text that would be read as a formula gets a quote in front."""
    yield "\ufeff" + _row(columns)
    for row in rows:
        yield _row([f"'{cell}" if isinstance(cell, str) and cell.startswith(_FORMULA) else cell for cell in row])


def json_table(head: Mapping[str, object], columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """One JSON object: the fields of `head`, and under `rows` an object for each row, one a line."""
    yield json.dumps(head, ensure_ascii=False)[:-1] + (", " if head else "") + '"rows": ['
    before = "\n"
    for row in rows:
        yield before + json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False)
        before = ",\n"
    yield "\n]}\n"


def _row(cells: Sequence[Cell]) -> str:
    line = io.StringIO()
    csv.writer(line, quoting=csv.QUOTE_ALL).writerow(cells)
    return line.getvalue()


def as_file(
    request: HttpRequest, name: str, head: Mapping[str, object], columns: Sequence[str], rows: Iterable[Sequence[Cell]]
) -> StreamingHttpResponse:
    """Stream a table as a file: CSV, or JSON if the address asks for it."""
    return table_file(request.GET.get("format", ""), name, head, columns, rows)


def table_file(
    kind: str, name: str, head: Mapping[str, object], columns: Sequence[str], rows: Iterable[Sequence[Cell]]
) -> StreamingHttpResponse:
    """Stream a table as a file. JSON begins with the head; CSV has no room for it."""
    if kind == "json":
        return streamed(json_table(head, columns, rows), f"{name}.json", "application/json")
    return streamed(csv_table(columns, rows), f"{name}.csv", "text/csv")


def names_file(request: HttpRequest, name: str, names: Iterable[str]) -> StreamingHttpResponse:
    """Stream names as a file: a line of JSON each, or CSV if the address asks for it."""
    if request.GET.get("format") == "csv":
        return streamed(csv_lines(names), f"{name}.csv", "text/csv")
    return streamed(json_lines(names), f"{name}.jsonl", "application/jsonl")


def streamed(lines: Iterable[str], name: str, kind: str) -> StreamingHttpResponse:
    """Stream lines as a file with a name and a content type."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingHttpResponse(lines, content_type=f"{kind}; charset=utf-8", headers=disposition)
