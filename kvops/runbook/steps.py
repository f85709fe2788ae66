"""The steps of a procedure, ticked by the entries of the audit log about an operation."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.functional import Promise
from django.utils.translation import gettext as _

from audit.actions import Action
from audit.models import Entry, EntryQuerySet
from kvops.models import Environment
from kvops.operations.parts import Procedure, ProcedureStep
from kvops.wording import actor


@dataclass(frozen=True)
class TickedStep:
    """A step with its state for the stepper, and the entry that ticked it."""

    title: str | Promise
    text: str | Promise
    state: str
    entry: Entry | None
    optional: bool

    @property
    def note(self) -> str:
        """The step in one sentence, and the person who did it."""
        name = actor(self.entry.actor) if self.entry else _("not always needed") if self.optional else ""
        return f"{self.text} · {name}" if name else str(self.text)

    @property
    def at(self) -> datetime | None:
        """The time when it was done."""
        return self.entry.at if self.entry else None

    @property
    def url(self) -> str:
        """The entry of the audit log."""
        return self.entry.get_absolute_url() if self.entry else ""

    @property
    def link(self) -> str:
        """The words of the link to it."""
        return _("Audit log")


def ticked(procedure: Procedure, entries: EntryQuerySet) -> list[TickedStep]:
    """The steps of the procedure by these entries; the first that is needed and not done is the current one."""
    production = set(Environment.objects.filter(production=True).values_list("slug", flat=True))
    known = [(entry, entry.environment in production) for entry in sorted(entries, key=lambda entry: entry.seq)]
    found = [(step, _tick(step, known)) for step in procedure.steps]
    needed = next((step for step, entry in found if entry is None and not step.optional), None)
    return [
        TickedStep(step.title, step.text, _state(step, entry, needed), entry, step.optional) for step, entry in found
    ]


def actions(procedure: Procedure) -> set[Action]:
    """Every action that the steps ask for."""
    return {action for step in procedure.steps for action in (*step.ticks, *step.voided, *step.after)}


def _state(step: ProcedureStep, entry: Entry | None, needed: ProcedureStep | None) -> str:
    if entry is not None:
        return "done"
    return "current" if step is needed else "todo"


def _tick(step: ProcedureStep, entries: Sequence[tuple[Entry, bool]]) -> Entry | None:
    """The newest entry that ticks the step; each comes with whether it is about production."""
    here = [entry for entry, production in entries if step.production in (None, production)]
    voided = max((entry.seq for entry in here if entry.action in step.voided), default=0)
    after = [entry.seq for entry in here if entry.action in step.after]
    if step.after and not after:
        return None
    since = max([voided, *after])
    return next((entry for entry in reversed(here) if entry.action in step.ticks and entry.seq > since), None)
