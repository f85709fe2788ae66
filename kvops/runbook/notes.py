"""People's notes on an entry: Markdown, only ever added."""

from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext_lazy as _
from markdown_it import MarkdownIt

from audit import log
from audit.actions import Action
from kvops.models import Person, RunbookNote
from kvops.runbook.entries import RunbookEntry
from kvops.runbook.secrets import RunbookRefused, insist_no_secret, insist_reader

LONGEST = 10_000
"""Characters. The longest note."""

_SAFE = ("https://", "http://", "mailto:", "/", "#")


def _may_link(url: str) -> bool:
    return url.lower().startswith(_SAFE) and not url.startswith("//")


def _renderer() -> MarkdownIt:
    """Markdown without raw HTML, headings and images: a note neither changes the page nor loads anything."""
    found = MarkdownIt("commonmark", {"html": False, "breaks": True})
    found.disable(["image", "heading", "lheading"])
    found.validateLink = _may_link  # type: ignore[method-assign]
    return found


_MARKDOWN = _renderer()


def rendered(text: str) -> SafeString:
    """A note as HTML. The renderer escapes everything that is not Markdown."""
    html: str = _MARKDOWN.render(text)
    return mark_safe(html)  # noqa: S308


def add(entry: RunbookEntry, *, text: str, by: Person) -> RunbookNote:
    """Add a note. Raises RunbookRefused."""
    text = text.strip()
    if not text:
        raise RunbookRefused(_("Write something."))
    insist_no_secret(text)
    with log.transaction():
        insist_reader(by)
        made = RunbookNote.objects.create(entry=entry.number, author=by, text=text)
        log.record(
            Action.RUNBOOK_NOTED,
            actor=by.actor,
            environment=entry.begun.environment,
            subject=entry.begun.subject,
            subject_label=entry.begun.subject_label,
            details={"entry": entry.number, "note": made.pk},
        )
    return made
