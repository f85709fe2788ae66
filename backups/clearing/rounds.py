"""Rounds of a rule: begun at a due time or by a person, ended with the proof, accepted in QA."""

from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.cleanup.qa import proves_nothing
from backups.clearing import conditions, rules
from backups.clearing.rules import ClearingRefused
from backups.execution import revalidation
from backups.models import CleanupRequest, CleanupStage, Clearing, ClearingRound
from kvops.approvals import standing
from kvops.models import ApprovalRequest, Person, Role, Run
from kvops.refusals import Refused
from kvops.runbook import procedures
from kvops.runs import driver as run_driver
from kvops.schedules.jobs import Begun
from kvops.wording import insist_explained, kept, say, sentence_of

State = CleanupStage.State


def scheduled(subject: str, actor: log.Actor) -> Begun:
    """A round at a due time. A refused one is kept with its reason; the schedule notifies of it.

    Nothing is kept of a rule that was never approved, nor of a due time while a round is running.
    """
    clearing = _rule(int(subject.removeprefix("clearing:")))
    end_unbegun(clearing, actor)
    begun = Begun()
    if not standing.was_approved(rules.KIND, clearing.subject):
        return begun
    if (running := _running(clearing)) is not None:
        begun.refused.append(_still_running(running))
        return begun
    try:
        begun.runs.append(_begin(clearing, actor=actor, person=None))
    except Refused as refused:
        begun.refused += refused.args[:1]
        _keep_refused(clearing, refused, actor)
    return begun


def start(clearing: Clearing, *, by: Person) -> Run:
    """Start a round now. Raises ClearingRefused and ApprovalRefused."""
    if not by.holds(Role.OPERATOR):
        raise ClearingRefused(_("Only an operator can do this."))
    with log.transaction():
        end_unbegun(clearing, by.actor)
    with log.transaction():
        return _begin(_rule(clearing.pk), actor=by.actor, person=by)


def _begin(clearing: Clearing, *, actor: log.Actor, person: Person | None) -> Run:
    """A round with its run, in the caller's transaction. Every condition is checked first."""
    environment = clearing.namespace.environment
    conditions.insist_rule(clearing)
    if (running := _running(clearing)) is not None:
        raise ClearingRefused(_still_running(running))

    def derived(approval: ApprovalRequest) -> str:
        conditions.insist_approved(clearing, approval)
        conditions.insist_time(clearing)
        return rules.rule_digest(clearing, approval)

    carried = standing.carry_in_force(rules.KIND, clearing.subject, derive=derived, actor=actor, person=person)
    run = run_driver.create(
        Run.Kind.CLEAR,
        subject=clearing.subject,
        label=str(clearing)[:300],
        actor=actor,
        person=person,
        environment=environment,
        approval=carried,
    )
    made = ClearingRound.objects.create(
        clearing=clearing, approval=carried, run=run, scope_digest=rules.scope_digest(clearing)
    )
    begun = procedures.begun("clearing", clearing.namespace.binding, [clearing.prefix])
    record(Action.CLEARING_STARTED, clearing, actor, {"round": made.pk, "run": run.pk, **begun}, digest=carried.digest)
    return run


def _keep_refused(clearing: Clearing, refused: Refused, actor: log.Actor) -> None:
    sentence = sentence_of(refused)
    made = ClearingRound.objects.create(clearing=clearing, reason=str(sentence)[:1000], reason_sentence=kept(sentence))
    record(Action.CLEARING_STOPPED, clearing, actor, {"round": made.pk, "reason": str(sentence)[:500]})


def _running(clearing: Clearing) -> ClearingRound | None:
    return clearing.rounds.filter(run__in=Run.objects.open()).first()


def _still_running(round_: ClearingRound) -> str:
    return say(_("Round %(pk)s is still running."), pk=round_.pk)


def end_unbegun(clearing: Clearing, actor: log.Actor) -> None:
    """End the clean-ups of rounds of this rule, and of retired rules, that stopped before their deletion.

    An open clean-up holds its backup: it would be kept for ever.
    """
    over = Q(clearing_round__run__state__in=[*Run.RESUMABLE, Run.State.SUCCEEDED])
    mine = Q(clearing_round__clearing=clearing) | Q(clearing_round__clearing__retired_at__isnull=False)
    _end(CleanupStage.objects.filter(over, mine), actor)


def end_if_retired(round_: ClearingRound, actor: log.Actor) -> None:
    """End the clean-up of a round whose rule was retired while it ran: no later round would end it."""
    _end(CleanupStage.objects.filter(clearing_round=round_, clearing_round__clearing__retired_at__isnull=False), actor)


def _end(stages: QuerySet[CleanupStage], actor: log.Actor) -> None:
    for stage in stages.filter(state__in=CleanupStage.BEFORE_DELETION).select_related("request", "environment"):
        ended = CleanupStage.objects.filter(pk=stage.pk, state__in=CleanupStage.BEFORE_DELETION)
        if ended.update(state=State.ENDED) != 1:
            continue
        open_ = CleanupRequest.objects.filter(pk=stage.request_id, ended_at=None, completed_at=None)
        open_.update(ended_at=Now(), ended_by=stage.request.asked_by)
        log.record(
            Action.CLEANUP_ENDED,
            actor=actor,
            environment=stage.environment.slug,
            subject=f"cleanup:{stage.request_id}",
            subject_label=str(stage.request),
            details={"reason": "The round stopped before its first call."},
        )


def insist_begun(run: Run, _actor: log.Actor) -> None:
    """Hook: only a round that may have sent keys is resumed, and it looks at its backup again.

    Raises run_driver.NotResumable.
    """
    mine = ClearingRound.objects.select_related("stage").get(run=run)
    if mine.stage is None or mine.stage.state != State.DELETING:
        raise run_driver.NotResumable(
            _("The round stopped before its first call. The next due time, or a new start, begins another one.")
        )
    revalidation.forget(run)


def insist_not_retired(subject: str) -> None:
    """Hook: the schedule of a retired rule stays paused. Raises ClearingRefused."""
    if _rule(int(subject.removeprefix("clearing:"))).retired_at is not None:
        raise ClearingRefused(_("The rule is retired."))


def confirm_finished(run: Run) -> None:
    """Hook: the proof completes the request of a round."""
    stage = CleanupStage.objects.filter(confirm_run=run, scheduled=True, state=State.CONFIRMED).first()
    if stage is None:
        return
    clearing = _rule(stage.clearing_round.clearing_id)
    CleanupRequest.objects.filter(pk=stage.request_id, completed_at=None).update(completed_at=Now())
    details: dict[str, JSON] = {"names": stage.names, "deleted": stage.deleted, "skipped": stage.skipped}
    actor = log.Actor(run.started_by_id, run.actor)
    record(Action.CLEARING_CLEARED, clearing, actor, {"round": stage.clearing_round.pk, **details})


def accept(round_: ClearingRound, *, note: str, by: Person) -> None:
    """Record a person's test of the application after a round. Raises ClearingRefused."""
    with log.transaction():
        if not by.holds(Role.OPERATOR):
            raise ClearingRefused(_("Only an operator can do this."))
        insist_explained(note, ClearingRefused, _("Describe your test of the application and its result."))
        mine = (
            ClearingRound.objects.select_for_update(of=("self",)).select_related("stage__environment").get(pk=round_.pk)
        )
        if mine.stage is None or mine.stage.state != State.CONFIRMED:
            raise ClearingRefused(_("Only a round whose keys are proven gone can be accepted."))
        if mine.state == "ended":
            raise ClearingRefused(_("The round was ended early, so it proves nothing. Accept a later one."))
        if mine.stage.deleted == 0:
            raise ClearingRefused(_("No key was deleted in this round, so it proves nothing. Accept a later one."))
        if why := proves_nothing(mine.stage):
            raise ClearingRefused(why)
        accepted = {"accepted_by": by, "accepted_at": Now(), "accepted_note": note.strip()}
        if ClearingRound.objects.filter(pk=mine.pk, accepted_at=None).update(**accepted) != 1:
            raise ClearingRefused(_("The round is accepted already."))
        details: dict[str, JSON] = {"round": mine.pk, "note": note.strip()[:1000]}
        record(Action.CLEARING_ACCEPTED, _rule(mine.clearing_id), by.actor, details, digest=mine.scope_digest)


def record(action: Action, clearing: Clearing, actor: log.Actor, details: dict[str, JSON], *, digest: str = "") -> None:
    """One audit entry about a rule, within the open transaction."""
    log.record(
        action,
        actor=actor,
        environment=clearing.namespace.environment.slug,
        subject=clearing.subject,
        subject_label=str(clearing)[:200],
        digest=digest,
        details=details,
    )


def _rule(pk: int) -> Clearing:
    return Clearing.objects.select_related("namespace__environment", "family").get(pk=pk)
