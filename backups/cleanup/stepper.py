"""The stepper of a stage: its finished steps, its present step, and its remaining steps."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import chain

from django.urls import reverse
from django.utils.translation import gettext as _, ngettext

from backups.cleanup import after_check
from backups.cleanup.pages.facts import StageFacts, StageShare
from backups.cleanup.references import BEFORE_SUBMIT
from backups.cleanup.stages import run_of
from backups.integrity.newer import rows as newer_rows
from backups.models import Check, CleanupStage, Generation
from kvops.models import Run
from kvops.wording import spelled

State = CleanupStage.State

_PHASES: dict[object, int] = {State.APPROVED: 1, State.DELETED: 2, State.CONFIRMED: 3, State.ACCEPTED: 4}
ORDER = (*CleanupStage.BEFORE_DELETION, State.DELETING, State.DELETED, State.CONFIRMED, State.ACCEPTED)


@dataclass(frozen=True)
class StageStep:
    """One step of a stepper: `state` is done, current, todo or failed; `link` is the text for `url`.

    `phase` counts the phases of a stage from 0 (`pages.phases`); steps beside the plan belong to the last one.
    """

    title: str
    state: str
    note: str = ""
    at: datetime | None = None
    url: str = ""
    link: str = ""
    phase: int = 4


@dataclass(frozen=True)
class _Done:
    """The text of a finished step."""

    note: str = ""
    at: datetime | None = None
    url: str = ""
    link: str = ""
    failed: bool = False


def reached(stage: CleanupStage) -> int:
    """The progress of the stage as an index in `ORDER`; for an ended stage, its progress at the end."""
    if stage.state != State.ENDED:
        return ORDER.index(State(stage.state))
    if stage.check_passed_id:
        return ORDER.index(State.CHECKED)
    status = stage.generation.status if stage.generation else ""
    ended = {Generation.Status.VERIFIED: State.VERIFIED, Generation.Status.COMPLETE: State.BACKED_UP}
    frozen = State.FROZEN if stage.frozen_at else State.WAITING
    return ORDER.index(ended.get(Generation.Status(status), frozen) if status else frozen)


def steps_of_stage(stage: CleanupStage, facts: StageFacts | None = None) -> list[StageStep]:
    """The steps of the stage in order, each done, current, still to do, or failed."""
    found: list[StageStep] = []
    facts, here, waits = facts or StageFacts(stage), reached(stage), stage.state == State.ENDED
    for title, reaches, describe in _plan(facts):
        done = reaches if isinstance(reaches, bool) else here >= ORDER.index(reaches)
        if done:
            text = describe(facts if describe is _references else stage)
            step = StageStep(title, "failed" if text.failed else "done", text.note, text.at, text.url, text.link)
        elif waits:
            step = StageStep(title, "todo")
        elif describe is _references:
            step = _unreferenced(facts, title)
        else:
            step = _current(facts, title, is_run=not isinstance(reaches, bool))
        waits = waits or not done
        found.append(replace(step, phase=_PHASES.get(reaches, 0)))
    return [*found, *_checked_again(stage), *_brought_back(stage)]


type _Planned = tuple[str, CleanupStage.State | bool, Callable[..., _Done]]


def _plan(facts: StageFacts) -> list[_Planned]:
    """The steps: the title, the state it reaches (or whether it is done, if no state says so), and its text."""
    stage = facts.stage
    share = facts.share if reached(stage) > ORDER.index(State.FROZEN) else None  # sent back: another backup comes
    asked: list[_Planned] = [
        (_("Answer the code references"), _referenced(facts), _references),
        (_("Share the backup with the team"), share is not None, lambda stage: _shared(share, stage.generation_id)),
    ]
    plan: list[_Planned] = [
        (_("Fix the list of keys"), State.FROZEN, _frozen),
        (_("Back up"), State.BACKED_UP, _backed_up),
        (_("Verify the backup"), State.VERIFIED, _read_back),
        (_("Check against D1"), State.CHECKED, _checked),
        *([] if stage.scheduled else asked),
        (_("Submit"), State.SUBMITTED, _submitted),
        (_("Approval by another person"), State.APPROVED, _approved),
        (_("Delete"), State.DELETED, _deleted),
        (_("Prove that the keys are gone"), State.CONFIRMED, _proven),
        (_("Test the application"), State.ACCEPTED, _accepted),
    ]
    if stage.frozen_at and stage.names == 0:
        return [plan[0], (_("Prove that there are no keys"), State.CONFIRMED, _proven), plan[-1]]
    return [step for step in plan if step[2] != _checked or stage.request.needs_check]


def _current(facts: StageFacts, title: str, *, is_run: bool) -> StageStep:
    """The current step: it waits for a person or a run, or failed with the run's sentence."""
    stage = facts.stage
    if stage.state == State.WAITING and facts.turn.missing:
        return StageStep(title, "todo")  # the button has the reason
    if stage.state == State.SUBMITTED and stage.approval:
        note = _("The time to decide ends")
        return StageStep(title, "current", note, stage.approval.decide_by, *_approval(stage))
    run = run_of(stage) if is_run else None
    return _at_work(facts, title, run) if run else StageStep(title, "current")


def _at_work(facts: StageFacts, title: str, run: Run) -> StageStep:
    address, link = reverse("run", args=[run.pk]), run_name(run)
    if run.is_open:
        return StageStep(title, "current", run.shown_note, None, address, link)
    if run.state == Run.State.FAILED:
        return StageStep(title, "failed", run.shown_error, run.finished_at, address, link)
    if run.state == Run.State.STOPPED:
        waits = bool(run.cursor.get("waits"))
        return StageStep(title, "current" if waits else "failed", run.shown_note or _("Stopped."), None, address, link)
    return _differing(title, facts.differing) if facts.differing else StageStep(title, "current")


def _differing(title: str, check: Check) -> StageStep:
    note = ngettext("%(n)s difference with D1.", "%(n)s differences with D1.", check.differences)
    address, link = reverse("backups:check", args=[check.pk]), _("See each difference")
    return StageStep(title, "failed", note % {"n": spelled(check.differences)}, check.finished_at, address, link)


def run_name(run: Run) -> str:
    """The text of a link to a run."""
    return _("Run %(pk)s") % {"pk": run.pk}


def _names(n: int) -> str:
    return ngettext("%(n)s name", "%(n)s names", n) % {"n": spelled(n)}


def _frozen(stage: CleanupStage) -> _Done:
    address = reverse("run", args=[stage.scan.run_id]) if stage.scan else ""
    return _Done(_names(stage.names), stage.frozen_at, address, _("Scan") if stage.scan else "")


def _backed_up(stage: CleanupStage) -> _Done:
    generation = stage.generation
    if generation is None:
        return _Done()
    note = ngettext("%(n)s key", "%(n)s keys", generation.keys) % {"n": spelled(generation.keys)}
    address = reverse("backups:generation", args=[generation.pk])
    return _Done(note, generation.finished_at, address, _("Backup %(pk)s") % {"pk": generation.pk})


def _read_back(stage: CleanupStage) -> _Done:
    generation = stage.generation
    if generation is None:
        return _Done()
    run = generation.verify_run
    address, link = (reverse("run", args=[run.pk]), run_name(run)) if run else ("", "")
    if generation.status == Generation.Status.DAMAGED:
        note = _("The backup is damaged: %(problem)s") % {"problem": generation.shown_problem}
        return _Done(note, run.finished_at if run else None, address, link, failed=True)
    if run and run.state in Run.RESUMABLE:
        reason = run.shown_error or run.shown_note or _("Stopped.")
        note = _("Verified before. The newest verification did not finish: %(reason)s") % {"reason": reason}
        return _Done(note, generation.verified_at, address, link, failed=True)
    if run and run.is_open:
        return _Done(_("Verified before. It is being verified again"), generation.verified_at, address, link)
    return _Done(_("Every entry equals what KV returned"), generation.verified_at, address, link)


def _checked(stage: CleanupStage) -> _Done:
    return _equal(stage.check_passed) if stage.check_passed else _Done()


def _equal(check: Check) -> _Done:
    address, link = reverse("backups:check", args=[check.pk]), _("Check %(pk)s") % {"pk": check.pk}
    return _Done(newer_rows.in_words(check), check.finished_at, address, link)


def _referenced(facts: StageFacts) -> bool:
    if facts.stage.state in {*BEFORE_SUBMIT, State.ENDED}:
        return facts.references.done
    return facts.stage.search_id is not None


def _references(facts: StageFacts) -> _Done:
    found, address = facts.references, reverse("backups:stage_references", args=[facts.stage.pk])
    if found.search is None:
        return _Done()
    return _Done(found.in_words, found.search.searched_at, address, _("Code references"))


def _unreferenced(facts: StageFacts, title: str) -> StageStep:
    """The step of the code references while it waits for a search or for answers."""
    if facts.stage.state == State.WAITING and facts.turn.missing:
        return StageStep(title, "todo")
    address = reverse("backups:stage_references", args=[facts.stage.pk])
    return StageStep(title, "current", facts.references.wanting, None, address, _("Code references"))


def _shared(share: StageShare | None, generation: int | None) -> _Done:
    if share is None:
        return _Done()
    if share.by is not None:
        return _Done(f"{share.by}: {share.place}", share.at)
    address = f"{reverse('notifications')}?subject=generation:{generation}"
    return _Done(_("The Slack channel took the message"), share.at, address, _("Message"))


def _submitted(stage: CleanupStage) -> _Done:
    approval = stage.approval
    return _Done(approval.requester.name, approval.created_at, *_approval(stage)) if approval else _Done()


def _approval(stage: CleanupStage) -> tuple[str, str]:
    return reverse("approval", args=[stage.approval_id]), _("Approval %(pk)s") % {"pk": stage.approval_id}


def _approved(stage: CleanupStage) -> _Done:
    approval = stage.approval
    if approval is None or approval.approver is None:
        return _Done()
    return _Done(approval.approver.name, approval.decided_at, *_approval(stage))


def _deleted(stage: CleanupStage) -> _Done:
    run = stage.run
    if run is None:
        return _Done()
    note = _("%(deleted)s deleted, %(skipped)s left out") % {
        "deleted": spelled(stage.deleted),
        "skipped": spelled(stage.skipped),
    }
    return _Done(note, run.finished_at, reverse("run", args=[run.pk]), run_name(run))


def _proven(stage: CleanupStage) -> _Done:
    run = stage.confirm_run
    address, link = (reverse("run", args=[run.pk]), run_name(run)) if run else ("", "")
    return _Done(" · ".join(_proof(stage)), stage.second_listing_at, address, link)


def _proof(stage: CleanupStage) -> list[str]:
    """The sentences about the proof: its names, and the keys that are left under the prefix."""
    figures = {"deleted": spelled(stage.deleted), "names": spelled(stage.names)}
    if not stage.names or stage.deleted == stage.names:
        found = [_("Listed twice without them")]
    elif stage.deleted:
        found = [_("Deleted: %(deleted)s of %(names)s, and gone from two listings") % figures]
    else:
        found = [_("Deleted: %(deleted)s of %(names)s, so nothing is proven gone") % figures]
    if stage.others:
        other = ngettext(
            "%(n)s key that is not of this clean-up is left under the prefix",
            "%(n)s keys that are not of this clean-up are left under the prefix",
            stage.others,
        )
        found.append(other % {"n": spelled(stage.others)})
    return found


def _accepted(stage: CleanupStage) -> _Done:
    name = stage.accepted_by.name if stage.accepted_by else ""
    address = f"{reverse('audit:entries')}?subject=stage:{stage.pk}&tree=on"
    return _Done(f"{name}: {stage.accepted_note}", stage.accepted_at, address, _("Audit log"))


def _checked_again(stage: CleanupStage) -> list[StageStep]:
    """The comparisons with D1 after the deletion. They run by themselves, beside the test of the application."""
    return [_compared_again(found) for found in after_check.results(stage)]


def _compared_again(found: after_check.AfterCheck) -> StageStep:
    check, title = found.check, str(found.title)
    if check is None:
        return StageStep(title, "failed" if found.refused else "todo", found.missing)
    if found.differs:
        return _differing(title, check)
    if found.unfinished:
        run = check.run
        state = "current" if run.is_open else "failed"
        note = run.shown_note if run.is_open else run.shown_error or run.shown_note
        return StageStep(title, state, note, None, reverse("run", args=[run.pk]), run_name(run))
    text = _equal(check)
    return StageStep(title, "done", text.note, text.at, text.url, text.link)


def _brought_back(stage: CleanupStage) -> list[StageStep]:
    """The undo of the deletion, and other restores of its keys, each as a step of its own."""
    found = []
    for restore in chain(*stage.written_back):
        title = _("Undo of the deletion") if restore.is_undo else _("Restore of deleted keys")
        address, link = reverse("backups:restore", args=[restore.pk]), _("Restore %(pk)s") % {"pk": restore.pk}
        if restore.state == restore.State.DONE:
            note = _("%(written)s restored, %(left)s not")
            note %= {"written": spelled(restore.written), "left": spelled(restore.left)}
            found.append(StageStep(title, "done", note, restore.finished_at, address, link))
        else:
            found.append(StageStep(title, "current", _("The keys are being written back"), None, address, link))
    return found
