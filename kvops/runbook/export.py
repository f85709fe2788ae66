"""Entries of the runbook as Markdown, line by line. Texts of people and of key names are escaped."""

import re
from collections.abc import Iterable, Iterator

from django.conf import settings
from django.utils.translation import gettext as _

from audit.models import Entry
from kvops.names import visible
from kvops.runbook.entries import RunbookEntry
from kvops.subjects import tree as subject_tree
from kvops.wording import actor, moment

MOST = 500
"""Entries. A list as Markdown has at most this many."""

type Lines = Iterator[str]

_MARKS = re.compile(r"([\\`*_{}\[\]<>#|!~&]|^[-+=]|:(?=//)|(?<=www)\.)")
_NUMBER = re.compile(r"^(\d+)([.)])")
_BOXES = {"done": "x"}


def escaped(text: str) -> str:
    """One line of text that Markdown shows as it is."""
    return _NUMBER.sub(r"\1\\\2", _MARKS.sub(r"\\\1", visible(text)))


def of_entry(entry: RunbookEntry) -> Lines:
    """One entry with its facts, steps, timeline, notes and to-dos."""
    yield from _head(entry, "#")
    found, more = entry.timeline()
    steps = entry.steps()
    if entry.procedure and steps:
        yield f"\n## {escaped(str(entry.procedure.title))} ({_('version')} {entry.procedure.version})\n\n"
        for step in steps:
            done = f" — {moment(step.at)}" if step.at else ""
            yield f"- [{_BOXES.get(step.state, ' ')}] **{escaped(str(step.title))}**: {escaped(step.note)}{done}\n"
    yield f"\n## {_('Timeline')}\n\n"
    if more:
        yield f"{_('Older entries are in the audit log.')}\n\n"
    titles = subject_tree.titles(one.subject for one in found)
    yield from (_line(one, titles.get(one.subject, one.subject_label)) for one in found)
    if notes := list(entry.notes()):
        yield f"\n## {_('Notes')}\n"
        for note in notes:
            yield f"\n{moment(note.at)}, {escaped(str(note.author))}:\n\n"
            yield from (f"> {escaped(line.expandtabs().strip())}\n" for line in note.text.splitlines())
    if todos := list(entry.todos()):
        yield f"\n## {_('To-dos')}\n\n"
        for todo in todos:
            done = f", {_('done')} {moment(todo.done_at)} {escaped(str(todo.done_by))}" if todo.done_at else ""
            box = "x" if todo.done_at else " "
            yield f"- [{box}] {escaped(todo.text)} — {escaped(str(todo.owner))}, {_('due')} {todo.due}{done}\n"


def of_list(found: Iterable[RunbookEntry]) -> Lines:
    """The facts of each entry, under one heading."""
    yield f"# {_('Runbook')}\n"
    for number, entry in enumerate(found):
        if number == MOST:
            yield f"\n{_('The list was cut here. Choose narrower filters for the rest.')}\n"
            return
        yield "\n"
        yield from _head(entry, "##")


def _head(entry: RunbookEntry, level: str) -> Lines:
    yield f"{level} {escaped(entry.title)}: {escaped(entry.about)}\n\n"
    facts = [
        (_("Entry"), f"{settings.BASE_URL}{entry.url}"),
        (_("Kind"), str(entry.kind.label)),
        (_("Time"), moment(entry.stated.done_at if entry.stated else entry.begun.at)),
        (_("Person"), escaped(entry.by)),
        (_("Environment"), escaped(str(entry.environment or ""))),
    ]
    if entry.stated:
        facts += [
            (_("Stated by"), escaped(str(entry.stated.stated_by))),
            (_("Keys"), ", ".join(_code(name) for name in entry.stated.names)),
            (_("Reason"), escaped(entry.stated.reason)),
        ]
    if entry.command:
        facts.append((_("Command"), _code(entry.command)))
    yield from (f"- {title}: {text}\n" for title, text in facts if text)


def _line(entry: Entry, title: str) -> str:
    where = f" ({entry.environment})" if entry.environment else ""
    place = f" → {escaped(str(found))}" if (found := place_of(entry)) else ""
    about = escaped(title or entry.subject)
    return (
        f"- {moment(entry.at)} **{escaped(entry.title)}** {about}{where}{place} — {escaped(str(actor(entry.actor)))}\n"
    )


def place_of(entry: Entry) -> str:
    """Where something was stored or shared, as the audit log has it; empty if the entry is not about that."""
    details = entry.details
    if entry.action in {"generation.completed", "generation.partial"}:
        return entry.subject_label
    vault = f"1Password {details['vault']} / {details.get('title', '')}" if details.get("vault") else ""
    return str(details.get("place") or details.get("kept_at") or vault)


def _code(text: str) -> str:
    """Code that no backtick in it can end."""
    text = visible(text)
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"
