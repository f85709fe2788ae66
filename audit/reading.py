"""Pages and files of entries: a page reads a bounded part of the log, a file reads all of it in parts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from django.db.models import Subquery

from audit.actions import Action
from audit.chain import JSON
from audit.files import Cell
from audit.folding import FoldedLine, folded
from audit.forms import FilterForm
from audit.models import Entry, Head

READ = 300
"""Entries. A page reads at most so many, however many of them share a line."""
WINDOW = 30_000
"""Entries. A search that looks into every entry looks into so many for one page."""
CHUNK = 1_000
COLUMNS = (
    *("number", "time", "action", "actor", "environment", "subject", "subject_label", "digest", "details"),
    *("previous_hash", "hash"),
)


@dataclass(frozen=True)
class EntryPage:
    """One page of the log, newest first.

    `after` is where the next page goes on. `searched` are the first and last entry looked into, if not all were.
    """

    lines: list[FoldedLine[Entry]]
    after: int | None
    searched: tuple[int, int] | None = None

    @property
    def entries(self) -> list[Entry]:
        """Every entry of the page."""
        return [entry for line in self.lines for entry in line.rows]


def page(form: FilterForm, *, before: int | None, size: int) -> EntryPage:
    """The newest entries that match the filters and come before this number."""
    found = form.entries()
    searched = None
    if form.reads_everything:
        top = min(before or _beyond(), _beyond())
        searched = (max(top - WINDOW, 1), top - 1)
        found = found.filter(seq__gte=searched[0], seq__lt=top)
    elif before is not None:
        found = found.older_than(before)
    rows = list(found[: READ if form.folds else size + 1])
    lines, last, left = folded(rows, size, _of_a_run if form.folds else lambda _entry: None)
    if last is not None and (left or len(rows) == READ):
        return EntryPage(lines, last.seq, searched)
    return EntryPage(lines, searched[0] if searched and searched[0] > 1 else None, searched)


def rows(form: FilterForm) -> Iterator[Entry]:
    """Every entry that matches the filters, newest first, read in parts."""
    found = form.entries()
    if form.reads_everything:
        for top in range(_beyond(), 1, -WINDOW):
            yield from found.filter(seq__gte=max(top - WINDOW, 1), seq__lt=top)
        return
    before = _beyond()
    while part := list(found.older_than(before)[:CHUNK]):
        yield from part
        before = part[-1].seq


def fields(entry: Entry) -> dict[str, JSON]:
    """An entry by the names of `COLUMNS`."""
    values: list[JSON] = [
        *(entry.seq, entry.at.isoformat(), entry.action, entry.actor, entry.environment),
        *(entry.subject, entry.subject_label, entry.digest, entry.details),
        *(bytes(entry.prev_hash).hex(), bytes(entry.row_hash).hex()),
    ]
    return dict(zip(COLUMNS, values, strict=True))


def cells(entry: Entry) -> list[Cell]:
    """An entry in the order of `COLUMNS`; its details as a text of JSON."""
    return [
        value if isinstance(value, str | int) else json.dumps(value, ensure_ascii=False)
        for value in fields(entry).values()
    ]


def last_verification() -> Entry | None:
    """The entry of the last verification without a problem; `newest` is the number of the last entry of the log."""
    found = Entry.objects.filter(action=Action.AUDIT_VERIFIED).newest_first()
    return found.annotate(newest=Subquery(Head.objects.values("seq")[:1])).first()


def _beyond() -> int:
    """The number after the newest entry."""
    return (Head.objects.values_list("seq", flat=True).first() or 0) + 1


def _of_a_run(entry: Entry) -> str | None:
    """The run of an entry about a run. An entry to look at first keeps its own line."""
    return entry.subject if entry.subject.startswith("run:") and not entry.alarming else None
