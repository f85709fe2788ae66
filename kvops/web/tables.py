"""Tables that can be read on a phone: each cell carries the heading of its column."""

import re

from django.utils.html import strip_tags
from django.utils.safestring import SafeString, mark_safe

_HEADING = re.compile(r"<th\b([^>]*)>(.*?)</th>", re.DOTALL)
_ROW_OR_CELL = re.compile(r"<(tr|td|th)\b([^>]*)>")
_NOTHING = re.compile(r"(<td\b[^>]*)>(?=\s*(?:(?:<span[^>]*>)?–(?:</span>)?\s*)?</td>)")
_SPAN = re.compile(r'\bcolspan="(\d+)"')


def labelled(table: str) -> SafeString:
    """The rows of a table with `data-label` in each cell, taken from the headings of the table.

    The first cell is the title of its row on a phone, so it has no label.
    A heading that is hidden from the eye gives no label either: its cells hold buttons, which name themselves.
    A cell with nothing or a mere dash is marked, because a phone has no room for it.
    """
    head, end, rows = table.partition("</thead>")
    rows = _NOTHING.sub(r"\1 data-none>", rows)
    labels = [_label(attributes, heading) for attributes, heading in _HEADING.findall(head)]
    column = 0

    def marked(found: re.Match[str]) -> str:
        nonlocal column
        tag, attributes = found.groups()
        if tag == "tr":
            column = 0
            return found[0]
        label = labels[column] if 0 < column < len(labels) else ""
        span = _SPAN.search(attributes)
        column += int(span[1]) if span else 1
        return f'<{tag}{attributes} data-label="{label}">' if label and not span else found[0]

    return mark_safe(head + end + _ROW_OR_CELL.sub(marked, rows))  # noqa: S308 (the template escaped it)


def _label(attributes: str, heading: str) -> str:
    if "visually-hidden" in attributes + heading:
        return ""
    return " ".join(strip_tags(heading).split()).replace('"', "&quot;")
