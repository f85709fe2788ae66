"""A run in words: its state, the time it took, and its last words: `{% load runs %}`."""

from datetime import datetime, timedelta

from django import template
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from kvops.models import Run
from kvops.operations import registry
from kvops.operations.parts import Question
from kvops.wording import labelled

register = template.Library()

FIGURES = 4
"""Figures of a result in the last words of a run."""
_LEFT_OUT = frozenset({"generation", "check", "search", "calls", "rows_read"})
"""Names of figures in a result that are numbers of pages, or costs."""
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


@register.filter
def due_at(run: Run) -> datetime | None:
    """The time of the next late check of an open run that only waits for it; None for any other run."""
    resting = run.kind == Run.Kind.LATE_CHECK and run.state == Run.State.RUNNING and not run.owner
    return run.wake_at if resting else None


@register.filter
def run_look(run: Run) -> str:
    """The state as a page names it. A run that waits for its late check is due; it does not run for a day."""
    return "run_due" if due_at(run) else run.state


@register.filter
def subject_in_words(subject: str) -> str:
    """A subject such as `stage:2` with its kind in words; one of another kind as it is stored."""
    kind, _colon, key = subject.partition(":")
    return f"{registry.SUBJECTS[kind].title} {key}" if kind in registry.SUBJECTS and key.isdigit() else subject


@register.filter
def held_up(run: Run | None) -> str:
    """The sentence on a run that goes on only when a worker does; empty while one goes on with it."""
    if run is None or not run.is_open or run.foreground or due_at(run):
        return ""
    return str(registry.ask(Question.RUN_HELD_UP, run))


@register.simple_tag
def all_held_up() -> str:
    """The sentence on all runs; empty while a worker executes tasks."""
    return str(registry.ask(Question.RUNS_HELD_UP))


@register.filter
def took(run: Run) -> str:
    """The time from the request to the end, in words. A late check has none: nearly all of it is waiting."""
    if run.finished_at is None or run.kind == Run.Kind.LATE_CHECK:
        return ""
    return lasted(run.finished_at - run.created_at)


@register.filter
def lasted(span: timedelta) -> str:
    """A span of time in its two largest units."""
    seconds = int(span.total_seconds())
    if seconds < 1:
        return _("under 1 s")
    if seconds < _MINUTE:
        return _("%(s)d s") % {"s": seconds}
    if seconds < _HOUR:
        return _("%(min)d min %(s)d s") % {"min": seconds // _MINUTE, "s": seconds % _MINUTE}
    if seconds < _DAY:
        return _("%(h)d h %(min)d min") % {"h": seconds // _HOUR, "min": seconds % _HOUR // _MINUTE}
    return _("%(d)d d %(h)d h") % {"d": seconds // _DAY, "h": seconds % _DAY // _HOUR}


@register.filter
def last_words(run: Run) -> str:
    """The work of an open run, or else how the run ended."""
    if run.is_open:
        return run.shown_note
    if run.error:
        return run.shown_error
    if run.state == Run.State.STOPPED:
        return _("It was stopped.")
    figures = " · ".join(labelled(name, number_format(value, force_grouping=True)) for name, value in _figures(run))
    return _("Finished. %(figures)s") % {"figures": figures} if figures else _("Finished.")


def _figures(run: Run) -> list[tuple[str, int]]:
    """The first figures of the result that count something; zeros only if nothing else is there."""
    counted = [
        (str(label), value)
        for name, label in registry.FIGURES.items()
        if name not in _LEFT_OUT and isinstance(value := run.result.get(name), int) and not isinstance(value, bool)
    ]
    return ([one for one in counted if one[1]] or counted)[:FIGURES]
