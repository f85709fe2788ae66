"""Tables as files: CSV for spreadsheets, JSON for programs, streamed while they are read. Pure: no database."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence

from django.http import HttpRequest, StreamingHttpResponse

from audit.files import Cell, csv_table, json_rows, streamed

__all__ = ["Cell", "as_file", "csv_table", "json_lines", "json_table", "names_file", "streamed", "table_file"]


def json_lines(names: Iterable[str]) -> Iterator[str]:
    """A line `{"name": …}` for each name, unchanged."""
    return json_rows({"name": name} for name in names)


def csv_lines(names: Iterable[str]) -> Iterator[str]:
    """Names as a table of one column."""
    return csv_table(["name"], ([name] for name in names))


def json_table(head: Mapping[str, object], columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[str]:
    """One JSON object: the fields of `head`, and under `rows` an object for each row, one a line."""
    yield json.dumps(head, ensure_ascii=False)[:-1] + (", " if head else "") + '"rows": ['
    before = "\n"
    for row in rows:
        yield before + json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False)
        before = ",\n"
    yield "\n]}\n"


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
