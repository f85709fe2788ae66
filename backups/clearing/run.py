"""The work of a round: the list of keys is fixed, backed up and verified, and then deleted by `backups.deletion`.

Before its first call the run looks at every condition again. It stops with a reason, which is on the run, on the page
of the rule, on the overview and in a notification. The next due time begins a new round.
"""

from django.db.models.functions import Now
from django.urls import reverse
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from backups import archive
from backups.cleanup.stages import STAGES
from backups.clearing import conditions, rounds, rules
from backups.clearing.mandate import StandingMandate, over_cap
from backups.deletion.run import delete_under
from backups.generations import start as generation_start
from backups.models import CleanupEntry, CleanupStage, ClearingRound, Generation
from kvops import clock, timing
from kvops.approvals import gate as approval_gate, standing
from kvops.inventory import browse
from kvops.models import Namespace, NotificationEvent, Run
from kvops.notifications import outbox
from kvops.references import look
from kvops.refusals import Refused, Sentence
from kvops.runs import driver as run_driver, emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError, Stopped
from kvops.wording import say, sentence_of, translated

State = CleanupStage.State
RELATED = ("clearing__namespace__environment", "clearing__family", "stage__generation__run", "approval")
OF_STAGE = ("environment", "namespace", "request__family", "generation", "approval")


def clear_keys_permanently(lease: Lease) -> Again | Done | None:
    """One step of a round. Raises RunError if a condition does not hold, and Stopped at an emergency stop."""
    mine = ClearingRound.objects.select_related(*RELATED).get(run=lease.run)
    try:
        return _ClearingStep(mine, lease).step()
    except (RunError, Stopped) as why:
        # A person who asked the run to stop knows.
        if not isinstance(why, Stopped) or why.code == emergency.CODE:
            _tell(mine, why, lease)
        with log.transaction():
            rounds.end_if_retired(mine, lease.actor)
        raise


def _tell(mine: ClearingRound, why: RunError | Stopped, lease: Lease) -> None:
    with log.transaction():
        tell_stopped(mine, sentence_of(why), f"epoch {lease.epoch}")
        log.record(
            Action.CLEARING_STOPPED,
            actor=lease.actor,
            environment=mine.clearing.namespace.environment.slug,
            subject=mine.clearing.subject,
            subject_label=str(mine.clearing)[:200],
            details={"round": mine.pk, "code": why.code, "reason": str(sentence_of(why))[:500]},
        )


class _ClearingStep:
    """The work of one step on a round."""

    def __init__(self, mine: ClearingRound, lease: Lease) -> None:
        if mine.approval is None:
            raise RunError("not_approved", gettext_noop("The run does not carry the standing approval of the rule."))
        self.mine, self.clearing, self.lease, self.approval = mine, mine.clearing, lease, mine.approval
        self.environment = mine.clearing.namespace.environment

    def step(self) -> Again | Done | None:
        """The next step, by the state of the stage."""
        stage = self.mine.stage
        if stage is not None and stage.state not in CleanupStage.BEFORE_DELETION:
            return self._delete(stage)
        self._insist()
        if stage is None:
            return self._fix()
        if stage.state == State.VERIFIED:
            return self._begin(stage)
        return self._wait(stage)

    def _insist(self) -> None:
        """Check every condition of the round. Nothing was called yet."""
        emergency.insist_none(self.environment)
        try:
            standing.insist_standing(self.approval)
        except approval_gate.ApprovalRefused as refused:
            emergency.insist_none(self.environment)
            raise RunError("rights_gone", refused) from refused
        look.ask_when_due(self.environment, self.lease.keep)
        try:
            conditions.insist_rule(self.clearing)
            conditions.insist_approved(self.clearing, self.approval)
        except Refused as refused:
            raise RunError("stale", refused) from refused

    def _fix(self) -> Again | Done | None:
        """Fix the list of keys from the newest scan, and start the backup of exactly these, in one transaction."""
        try:
            conditions.insist_time(self.clearing)
            return self._fixed()
        except run_driver.AlreadyOpen:
            # Two rules of one prefix have backups of one subject.
            return Again(timing.RETRY, gettext_noop("Waiting: another backup of the same prefix is being made."))
        except Refused as refused:
            raise RunError("not_now", refused) from refused

    def _fixed(self) -> Again | Done:
        """Its transaction: a refusal of the backup takes the list back, too."""
        clearing, lease = self.clearing, self.lease
        with lease.checkpoint(note=gettext_noop("The list of keys is fixed; backing up.")):
            # The merge of a scan takes the same lock, so all names are from one scan.
            Namespace.objects.select_for_update(no_key=True).get(pk=clearing.namespace_id)
            scan = conditions.fresh_scan(clearing)
            chosen = self._chosen()
            if not chosen:
                return Done({"names": 0, "deleted": 0})
            request = rules.request_of(clearing)
            request.save(force_insert=True)
            log.record(
                Action.CLEANUP_REQUESTED,
                actor=lease.actor,
                environment=self.environment.slug,
                subject=f"cleanup:{request.pk}",
                subject_label=str(request),
                details={"reason": clearing.reason[:500], "round": self.mine.pk},
            )
            stage = rules.stage_of(clearing, request)
            stage.save(force_insert=True)
            CleanupEntry.objects.bulk_create(
                (
                    CleanupEntry(stage=stage, index=index, name=name, expiration=expiration)
                    for index, (name, expiration) in enumerate(chosen)
                ),
                batch_size=5_000,
            )
            digest = archive.names_sha256(name for name, _ in chosen)
            values = {"names": len(chosen), "names_sha256": digest, "scan": scan, "frozen_at": Now()}
            values["scope_digest"] = self.mine.scope_digest
            details = {"names": len(chosen), "scan": scan.pk}
            frozen = {"actor": lease.actor, "digest": digest, "values": values, "details": details}
            STAGES.move(stage, [State.WAITING], State.FROZEN, Action.STAGE_FROZEN, **frozen)  # type: ignore[arg-type]
            ClearingRound.objects.filter(pk=self.mine.pk).update(stage=stage)
            stage.refresh_from_db()
            self._back_up(stage)
        return Again(timing.RETRY)

    def _chosen(self) -> list[tuple[str, int | None]]:
        """The keys that the rule takes, in byte order. Raises RunError if they are more than the cap."""
        clearing = self.clearing
        of = (clearing.namespace, clearing.family, clearing.prefix, clearing.selection, clock.now().timestamp())
        found: list[tuple[str, int | None]] = []
        for one in browse.chosen(*of):
            found.append(one)
            if len(found) > clearing.cap:
                raise RunError("over_cap", over_cap(len(found), clearing.cap))
        return found

    def _back_up(self, stage: CleanupStage) -> None:
        generation = generation_start.create_backup(
            stage.namespace,
            prefixes=[stage.request.prefix],
            purpose=Generation.Purpose.CLEANUP,
            stage=stage,
            actor=self.lease.actor,
            person=self.lease.run.started_by,
        )
        CleanupStage.objects.filter(pk=stage.pk).update(generation=generation)

    def _wait(self, stage: CleanupStage) -> Again:
        """Wait until the backup is made and verified. Raises RunError if that failed."""
        generation = stage.generation
        if generation is None or stage.returned_because:
            why = stage.returned_because or gettext_noop("The stage has no verified backup.")
            raise RunError("not_backed_up", why)
        if generation.work.state in Run.RESUMABLE:
            raise RunError("not_backed_up", generation.work.why)
        return Again(timing.RETRY, gettext_noop("Waiting for the verified backup of exactly these keys."))

    def _begin(self, stage: CleanupStage) -> Again:
        """Verified -> deleting, with the standing approval. The database refuses it without a verified backup."""
        values = {"approval": self.approval, "run": self.lease.run}
        with self.lease.checkpoint(
            cursor={}, total=stage.names, note=gettext_noop("Backed up and verified; deleting.")
        ):
            # The start of a clean-up by hand takes the same lock, so each of both sees the other.
            Namespace.objects.select_for_update(no_key=True).get(pk=stage.namespace_id)
            try:
                conditions.insist_time(self.clearing)
            except Refused as refused:
                raise RunError("not_now", refused) from refused
            emergency.hold(self.environment)
            started = {"actor": self.lease.actor, "digest": self.approval.digest, "values": values}
            STAGES.move(stage, [State.VERIFIED], State.DELETING, Action.STAGE_DELETING, **started)  # type: ignore[arg-type]
        return Again()

    def _delete(self, stage: CleanupStage) -> Again | Done | None:
        mine = CleanupStage.objects.select_related(*OF_STAGE).get(pk=stage.pk)
        return delete_under(StandingMandate(self.clearing), mine, self.lease)


def tell_stopped(round_: ClearingRound, why: Sentence, occasion: str) -> None:
    """Notify the team once per occasion that a round stopped, within the open transaction."""
    clearing = round_.clearing
    outbox.post(
        NotificationEvent.CLEARING_STOPPED,
        subject=clearing.subject,
        occasion=f"round {round_.pk} {occasion}"[:100],
        environment=clearing.namespace.environment,
        title=say(_("The scheduled clearing of %(what)s stopped"), what=clearing),
        lines=[translated(why)],
        link=reverse("backups:clearing", args=[clearing.pk]),
    )
