"""The end of a clean-up: leftovers and other keys explained, a stage accepted, a request ended."""

from collections.abc import Iterable

from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from backups.cleanup import after_check, qa
from backups.cleanup.stages import STAGES, CleanupRefused, insist_operator, locked, move
from backups.models import CleanupEntry, CleanupException, CleanupRequest, CleanupStage
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Person
from kvops.wording import insist_explained

State = CleanupStage.State
PLANNED = gettext_noop("They belong to a new clean-up.")
"""The explanation of other keys that are all on the list of another open clean-up."""


def explain_leftovers(stage: CleanupStage, *, note: str, by: Person) -> None:
    """Record a person's explanation of the names that were not deleted."""
    with log.transaction():
        insist_operator(by)
        insist_explained(note, CleanupRefused, _("Describe why these keys are left, and the next step."))
        by_hand = CleanupStage.objects.filter(pk=stage.pk, scheduled=False)
        changed = by_hand.filter(state__in=[State.DELETED, State.CONFIRMED]).update(leftovers_note=note.strip())
        if changed != 1:
            raise CleanupRefused(_("Leftovers are explained after the deletion and before the stage is accepted."))
        STAGES.record(Action.LEFTOVERS_EXPLAINED, stage, actor=by.actor, details={"note": note[:1000]})


def explain_others(stage: CleanupStage, *, note: str, by: Person) -> None:
    """Record a person's explanation of all keys under the prefix that are not of the clean-up."""
    with log.transaction():
        insist_operator(by)
        insist_explained(note, CleanupRefused, _("Describe why the other keys are there."))
        found = CleanupStage.objects.filter(pk=stage.pk, scheduled=False, state=State.CONFIRMED, others__gt=0)
        if found.update(others_note=note.strip(), others_by=by, others_at=Now()) != 1:
            raise CleanupRefused(_("Other keys are explained after the proof and before the stage is accepted."))
        STAGES.record(
            Action.OTHERS_EXPLAINED, stage, actor=by.actor, details={"keys": stage.others, "note": note[:1000]}
        )


def accept_stage(stage: CleanupStage, *, note: str, by: Person) -> None:
    """Confirmed -> accepted, with the person's test of the application. The last stage completes the request."""
    with log.transaction():
        insist_operator(by)
        insist_explained(note, CleanupRefused, _("Describe your test of the application and its result."))
        mine = locked(stage)
        if leftovers(mine).exists() and not mine.leftovers_note:
            raise CleanupRefused(_("Explain the leftovers first."))
        if unexplained_others(mine):
            raise CleanupRefused(_("Explain the other keys under the prefix first."))
        if run := after_check.open_run(mine):
            raise CleanupRefused(after_check.wait_for(run))
        if mine.state == State.CONFIRMED and (why := qa.proves_nothing(mine)):
            raise CleanupRefused(why)
        planned = {"others_note": PLANNED, "others_by": by, "others_at": Now()}
        move(
            mine,
            [State.CONFIRMED],
            State.ACCEPTED,
            Action.STAGE_ACCEPTED,
            actor=by.actor,
            digest=mine.scope_digest,
            values={
                "accepted_note": note.strip(),
                "accepted_by": by,
                "accepted_at": Now(),
                "empty_reason": note.strip() if mine.names == 0 else "",
                "scope_digest": mine.scope_digest or qa.scope_digest(mine),
                **(planned if mine.others and not mine.others_note else {}),
            },
            details={"note": note[:1000], "differences_after": after_check.differences(mine)},
        )
        if not mine.request.stages.exclude(state__in=[State.ACCEPTED, State.ENDED]).exists():
            CleanupRequest.objects.filter(pk=mine.request_id).update(completed_at=Now())


def end(cleanup: CleanupRequest, *, reason: str, by: Person) -> None:
    """End the request before a deletion began, or after one that proves nothing. Raises CleanupRefused.

    A pending approval request is withdrawn.
    """
    insist_operator(by)
    insist_explained(reason, CleanupRefused, _("Say why the clean-up ends."))
    if cleanup.clearing_id is not None:
        raise CleanupRefused(_("A round of a scheduled clearing ends with its rule. Look at the page of the rule."))
    _insist_not_begun(cleanup.stages.all())
    for approval in ApprovalRequest.objects.filter(
        cleanupstage__request=cleanup, state__in=[ApprovalRequest.State.PENDING, ApprovalRequest.State.APPROVED]
    ):
        approval_gate.withdraw(approval, by=by, reason=reason)
    with log.transaction():
        stages = CleanupStage.objects.select_for_update().filter(request=cleanup)
        _insist_not_begun(stages)
        if any(stage.state in {State.SUBMITTED, State.APPROVED} for stage in stages):
            raise CleanupRefused(_("A stage was submitted just now. Load the page again."))
        stages.filter(state__in=CleanupStage.BEFORE_DELETION).update(state=State.ENDED)
        ended = CleanupRequest.objects.filter(pk=cleanup.pk, ended_at=None, completed_at=None)
        if ended.update(ended_at=Now(), ended_by=str(by)) != 1:
            raise CleanupRefused(_("The clean-up is already over."))
        log.record(
            Action.CLEANUP_ENDED,
            actor=by.actor,
            subject=f"cleanup:{cleanup.pk}",
            subject_label=str(cleanup),
            details={"reason": reason[:500]},
        )


def _insist_not_begun(stages: Iterable[CleanupStage]) -> None:
    if begun(stages):
        raise CleanupRefused(_("The deletion has started, so the stage can only go forward."))


def begun(stages: Iterable[CleanupStage]) -> bool:
    """Whether a stage can only go forward: its deletion began. A proven one that proves nothing ends the clean-up."""
    return any(
        stage.state in {State.DELETING, State.DELETED}
        or (stage.state == State.CONFIRMED and not qa.proves_nothing(stage))
        for stage in stages
    )


def leftovers(stage: CleanupStage) -> QuerySet[CleanupException]:
    """The exceptions that a person must explain."""
    return stage.exceptions.filter(outcome__in=CleanupException.LEFTOVERS)


def unexplained_others(stage: CleanupStage) -> int:
    """The number of other keys under the prefix that nobody explained and that no other open clean-up will delete."""
    if stage.others_note or not stage.others:
        return 0
    of_another = CleanupEntry.objects.exclude(stage=stage).filter(
        name=OuterRef("name"),
        stage__namespace=stage.namespace_id,
        stage__state__in=[*CleanupStage.BEFORE_DELETION, State.DELETING],
        stage__request__ended_at=None,
        stage__request__completed_at=None,
    )
    return stage.others - stage.other_names.filter(Exists(of_another)).count()
