"""The five phases of a stage: each with its state, one line, and its steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext as _, pgettext

from backups.cleanup.proofs import LAST, Proof, names
from backups.models import Check, CleanupStage


@dataclass(frozen=True)
class Phase:
    """A phase: `state` is that of its steps, and `line` is its result or its present step.

    The title is the deed only when it is done. Until then it names the work.
    """

    title: str
    state: str
    line: str
    at: datetime | None
    steps: Sequence[Proof]


def phases_of(stage: CleanupStage, steps: Sequence[Proof]) -> list[Phase]:
    """The phases of the stage, from its steps."""
    found = []
    for number, titles in enumerate(_titles(stage)):
        mine = [step for step in steps if step.phase == number]
        if mine:
            found.append(_phase(stage, titles, mine))
    return found


def _titles(stage: CleanupStage) -> Sequence[tuple[str, str]]:
    """The title of each phase before its end, and after it."""
    proven = _("Proven gone") if stage.names or not stage.frozen_at else _("Proven that there are none")
    return (
        (_("Preparation"), _("Prepared")),
        (pgettext("phase", "Approval"), _("Approved")),
        (_("Deletion"), _("Deleted")),
        (_("Proof of absence"), proven),
        (_("Check of the application"), _("Application checked")),
    )


def _phase(stage: CleanupStage, titles: tuple[str, str], steps: Sequence[Proof]) -> Phase:
    main = steps[:1] if steps[0].phase == LAST else steps
    here = next((step for state in ("failed", "current") for step in steps if step.state == state), None)
    if all(step.state == "done" for step in main) and not (here and here.state == "failed"):
        return _finished(stage, titles[1], steps)
    title = titles[0]
    if here is None:
        return Phase(title, "todo", "", None, steps)
    return Phase(title, here.state, _named(here, steps), here.at, steps)


def _named(step: Proof, steps: Sequence[Proof]) -> str:
    """The present step in words; without its title if the phase has no other step."""
    parts = (step.title if len(steps) > 1 else "", step.note)
    return " · ".join(str(part) for part in parts if part)


def _finished(stage: CleanupStage, title: str, steps: Sequence[Proof]) -> Phase:
    first, last = steps[0], steps[0] if steps[0].phase == LAST else steps[-1]
    line = _preparation(stage) if first.phase == 0 else last.note
    return Phase(title, "done", line, last.at, steps)


def _preparation(stage: CleanupStage) -> str:
    """The preparation in one line; its steps have the details."""
    if not stage.names:
        return _("No such keys")
    parts = [names(stage).words]
    if stage.generation_id:
        parts.append(_("backup %(pk)s verified") % {"pk": stage.generation_id})
    if stage.check_passed_id:
        passed = stage.check_passed is None or stage.check_passed.outcome == Check.Outcome.PASSED
        parts.append(_("equals D1") if passed else _("rows newer in D1"))
    # A round of a scheduled clearing takes neither step: the answers for the code belong to its rule.
    asked = [] if stage.scheduled else [_("code searched"), _("shared")]
    return " · ".join([*parts, *asked])
