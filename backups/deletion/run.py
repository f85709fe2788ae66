"""The only way to a delete: a run with a used approval, chunk by chunk (`send`).

The rights behind the approval and the state of the backup are checked at each chunk, the target at each step.
Production stops after the first chunk of which, for all that is known, anything was deleted (`chunks.gone`). A person
then lets it continue. A resume by anybody else stops there again.

A chunk whose answer is unknown is never sent again blindly: it is settled by reading (`settle`).
"""

import json
from datetime import datetime
from functools import partial
from typing import Any

from django.db.models import Max, Q
from django.db.models.functions import Greatest
from django.utils.translation import gettext_noop

from audit import log
from audit.actions import Action
from backups.bucket import protection as bucket_protection, rollback as bucket_rollback
from backups.cleanup import evidence as cleanup_evidence, qa
from backups.cleanup.cost import CHUNK
from backups.cleanup.stages import CleanupRefused, insist_names, insist_turn
from backups.deletion import chunks as deletion_chunks, settle as deletion_settle
from backups.deletion.send import Sender
from backups.execution import revalidation
from backups.execution.clients import Clients, open_clients
from backups.integrity import start as check_start
from backups.models import Check, CleanupChunk, CleanupStage, Generation
from kvops import clock, timing
from kvops.approvals import gate as approval_gate
from kvops.models import Run
from kvops.runs import emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError, Stopped

State = CleanupChunk.State
STALE = gettext_noop(
    "The keys to delete differ from the approved ones. Nothing more is sent: end the deletion early and ask again."
)


def delete_keys_permanently(lease: Lease) -> Again | Done | None:
    """One step of a deletion run. Raises RunError when the target, a right or the check does not hold."""
    related = ("environment", "namespace", "request__family", "generation", "approval")
    stage = CleanupStage.objects.select_related(*related).get(run=lease.run)
    _insist_target(stage, lease)
    bucket_rollback.insist_none(stage.environment)
    with open_clients(stage.environment) as clients:
        clients.insist_visible(stage.namespace)
        deletion = _Deletion(stage, lease, clients)
        phase = lease.run.cursor.get("phase", "begin")
        if phase == "begin":
            return deletion.begin()
        if phase == "delete":
            return deletion.delete()
        return deletion_settle.settle(stage, lease, clients.reader, clients.budget)


def _insist_target(stage: CleanupStage, lease: Lease) -> None:
    """The approval, and the target it names, still hold."""
    approval, environment, run = stage.approval, stage.environment, lease.run
    if approval is None or (run.approval_id, run.approval_digest) != (approval.pk, approval.digest):
        raise RunError("not_approved", gettext_noop("The run does not carry the stage's approval."))
    started = (f"stage:{stage.pk}", approval.starter_id, stage.environment_id)
    if (run.subject, run.started_by_id, run.environment_id) != started or stage.state != CleanupStage.State.DELETING:
        raise RunError("not_approved", gettext_noop("The run is not the one that was started with the approval."))
    shown: dict[str, Any] = json.loads(approval.evidence)
    now = {
        "environment": environment.slug,
        "production": environment.production,
        "api": environment.api_base_url,
        "account_id": environment.account_id,
        "namespace_id": stage.namespace.namespace_id,
        "namespace_title": stage.namespace.title,
        "bucket": environment.r2_bucket,
        "prefix": stage.request.prefix,
        "exact": stage.request.exact,
    }
    for name, value in now.items():
        if shown.get(name) != value:
            raise RunError("wrong_target", f"{name} is {value} now, not {shown.get(name)} as approved.")
    if shown["names"]["sha256"] != stage.names_sha256 or shown["generation"]["id"] != stage.generation_id:
        raise RunError("wrong_set", gettext_noop("The list of keys or the backup differs from the approved one."))


def _insist_as_approved(stage: CleanupStage, lease: Lease) -> None:
    """Everything the reviewer was shown is derived once more. Raises RunError."""
    try:
        insist_turn(stage)
        insist_names(stage)
    except CleanupRefused as refused:
        raise RunError("wrong_set", str(refused)) from refused
    lease.renew()
    if stage.approval is None or cleanup_evidence.evidence_digest(stage) != stage.approval.digest:
        raise RunError("stale", STALE)


def _insist_in_force(stage: CleanupStage) -> None:
    """Right before each chunk: it is still its turn, by the rules that were approved. Raises RunError."""
    try:
        insist_turn(stage)
    except CleanupRefused as refused:
        raise RunError("stale", str(refused)) from refused
    if stage.approval is None or qa.scope_digest(stage) != json.loads(stage.approval.evidence)["scope_digest"]:
        raise RunError("stale", STALE)


class _Deletion:
    """One step's work on a stage."""

    def __init__(self, stage: CleanupStage, lease: Lease, clients: Clients) -> None:
        if stage.generation is None or stage.approval is None:
            raise RunError("not_backed_up", gettext_noop("The stage has no verified backup."))
        self.stage, self.generation, self.approval, self.lease = stage, stage.generation, stage.approval, lease
        self._sender = Sender(stage, stage.generation, lease, clients)

    def begin(self) -> Again | None:
        """Check the copy against D1 once more, right before the first delete.

        The copy's reads and the last ones lie so far apart that a key somebody keeps writing is not equal in both.
        """
        wait = self._until_apart()
        if wait > 0:
            return Again(wait, gettext_noop("Waiting: the last reads start five minutes after the backup."))
        if self.stage.request.category == "legacy":
            check = check_start.recheck(self.lease, self.generation)
            if check is None:
                return Again()
            if check.outcome != Check.Outcome.PASSED:
                begun = deletion_chunks.sent(self.stage).exists()
                raise RunError(
                    "differences",
                    f"Check {check.pk}, right before {'going on' if begun else 'the start'}, found {check.differences}"
                    f" differences with D1. Nothing {'more ' if begun else ''}was deleted. Correct them and try again.",
                )
        bucket_protection.ask_cloudflare(self.stage.environment, self.lease.keep)
        with self.lease.checkpoint(
            Again(),
            no_further=True,
            starts=self.lease.run.cursor.get("starts", 0),
            tries=self.lease.run.cursor.get("tries", 0),
            cursor={**deletion_settle.phase(self.lease, "delete"), "checked_at": clock.now().isoformat()},
            note=gettext_noop("Checked; deleting."),
        ):
            pass
        return None

    def _until_apart(self) -> float:
        backed_up_at = self.generation.finished_at
        return timing.STALE - (clock.now() - backed_up_at).total_seconds() if backed_up_at else 0.0

    def _lay_still(self) -> bool:
        """Whether so much time passed since the check, or since the last chunk, that D1 must be read again."""
        last = self.stage.chunks.aggregate(at=Max(Greatest("intended_at", "sent_at", "settled_at")))["at"]
        checked = self.lease.run.cursor.get("checked_at")
        moments = [moment for moment in (last, checked and datetime.fromisoformat(checked)) if moment]
        return (clock.now() - max(moments, default=clock.now())).total_seconds() > timing.CHECK_PAUSE

    def delete(self) -> Again | None:
        """Chunks until the step is over or nothing is left to send."""
        while not self.lease.tired:
            halted = emergency.stop_in_force(self.stage.environment) is not None
            doubtful = self._doubtful(everything=halted)
            chunk = None if doubtful or halted else self._next()
            if doubtful is None and chunk is None:
                doubtful = self._doubtful(all_sent=True)
            if doubtful is not None:
                since = doubtful.sent_at or doubtful.intended_at or clock.now()
                wait = self._patience(doubtful.attempt) - (clock.now() - since).total_seconds()
                if wait > 0:
                    return Again(wait, gettext_noop("Waiting to read the result for the sent keys again."))
                self._sender.settle_by_reading(doubtful)
                continue
            if halted:  # what was sent is settled, because reading destroys nothing
                emergency.insist_none(self.stage.environment)
                continue
            if chunk is None:
                tries = self.stage.chunks.filter(state=State.SENT).aggregate(most=Max("attempt"))["most"]
                then = Again(
                    self._patience(tries), gettext_noop("All keys were sent; waiting for the deletions to take effect.")
                )
                with self.lease.checkpoint(then, cursor=deletion_settle.phase(self.lease, "settle")):
                    pass
                return None
            if self._careful and chunk.attempt == 1 and deletion_chunks.gone(self.stage):
                return self._wait_for_a_person()
            if self._lay_still():
                # Reading D1 again gets nothing deleted: the starts and tries of before count on.
                before = {"starts": max(0, self.lease.run.starts - 1), "tries": self.lease.run.tries}
                begin = {**deletion_settle.phase(self.lease, "begin"), **before}
                with self.lease.checkpoint(Again(), no_further=True, cursor=begin):
                    return None
            revalidation.derived(self.lease, partial(_insist_as_approved, self.stage, self.lease))
            self._send(chunk)
        return Again()

    def _send(self, chunk: CleanupChunk) -> None:
        """Send it, with both people's rights. A stop pressed just now leaves it planned: what was sent comes first."""
        try:
            self._insist_rights()  # after what may take long
            _insist_in_force(self.stage)
            self._sender.send(chunk)
        except Stopped as stopped:
            if stopped.code != emergency.CODE:
                raise

    @property
    def _careful(self) -> bool:
        """Whether this is production, and nobody has looked yet at what the first chunk did."""
        return self.stage.environment.production and not self.lease.run.cursor.get("go_on")

    def _patience(self, attempt: int | None) -> float:
        return revalidation.patience(attempt, ending=bool(self.lease.run.cursor.get("ending")))

    def _doubtful(self, *, everything: bool = False, all_sent: bool = False) -> CleanupChunk | None:
        """A chunk to be settled by reading before anything else is sent.

        `everything`: also when its answer came; `all_sent`: also when it came and said that not all is done everywhere.
        """
        doubtful = Q(state=State.INTENDED)
        if self._careful or everything:
            doubtful |= Q(state=State.SENT)
        if all_sent:
            doubtful |= Q(state=State.SENT, answer__not_everywhere__gt=0)
        return self.stage.chunks.filter(doubtful).order_by("number").first()

    def _next(self) -> CleanupChunk | None:
        """The chunk to send now; None when everything was sent, or nothing more may be."""
        if self.lease.run.cursor.get("ending"):
            return None
        planned = self.stage.chunks.filter(state=State.PLANNED).order_by("first_index").first()
        if planned is not None:
            return planned
        with self.lease.checkpoint(no_further=True):
            return deletion_chunks.next_chunk(self.stage, self.lease.run.cursor.get("most", CHUNK))

    def _wait_for_a_person(self) -> Again:
        """Stop once production's first chunk is seen to be gone, until a person lets it go on (`let_go_on`)."""
        note = gettext_noop("The first keys are gone. Check the application, then continue the run.")
        with self.lease.checkpoint(cursor={**self.lease.run.cursor, "waits": True}, note=note):
            Run.objects.filter(pk=self.lease.run.pk).update(stop_requested_by="system:first-chunk")
            log.record(
                Action.RUN_STOP_REQUESTED,
                actor=log.Actor.system("first-chunk"),
                environment=self.stage.environment.slug,
                subject=f"run:{self.lease.run.pk}",
            )
        return Again()

    def _insist_rights(self) -> None:
        try:
            approval_gate.still_valid(self.approval)
        except approval_gate.ApprovalRefused as refused:
            emergency.insist_none(self.stage.environment)
            raise RunError("rights_gone", str(refused)) from refused
        if not Generation.objects.verified().filter(pk=self.generation.pk).exists():
            raise RunError("backup_damaged", gettext_noop("The backup is no longer verified. Nothing more is sent."))


def let_go_on(run: Run, actor: log.Actor) -> None:
    """Hook of a resumed deletion: whoever lets it go on after production's first chunk has looked at the application.

    Only a person can; the run of anybody else stops there again. What was approved is derived again for all.
    """
    revalidation.forget(run)
    stopped = Run.objects.get(pk=run.pk)
    if stopped.cursor.get("waits") and actor.id is not None:
        cursor = {**stopped.cursor, "waits": False, "go_on": actor.text}
        Run.objects.filter(pk=run.pk, epoch=stopped.epoch, state=Run.State.QUEUED).update(cursor=cursor)
