"""The only way to a delete: a run with an approval, chunk by chunk (`send`).

The rights behind the approval (`mandate`) and the state of the backup are checked at each chunk, the target at each
step. Before the first chunk, after every resume or pause and every quarter of an hour, each object of the backup must
be in the bucket as it was written (`presence`). A backup that was verified more than a day ago is verified again first.
Production stops after the first chunk that may have deleted a key (`chunks.gone`). A person then resumes it. A resume
by a program stops there again.

A chunk whose answer is unknown is never sent again blindly: it is settled by reading (`settle`).
"""

from datetime import datetime

from django.db.models import Max, Q
from django.db.models.functions import Greatest
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from backups.bucket import newest_manifest, protection as bucket_protection
from backups.cleanup.evidence import CHUNK
from backups.deletion import chunks as deletion_chunks, settle as deletion_settle
from backups.deletion.mandate import Approved, Mandate
from backups.deletion.send import Sender
from backups.execution import presence, revalidation
from backups.execution.clients import Clients, open_clients
from backups.integrity import start as check_start
from backups.integrity.newer import rows as newer_rows
from backups.models import CleanupChunk, CleanupStage, Generation
from kvops import clock, timing
from kvops.approvals import gate as approval_gate
from kvops.models import Run
from kvops.runs import emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError, Stopped
from kvops.wording import say

State = CleanupChunk.State
_DIFFERENT = _(
    "Check %(check)s, right before deleting, found differences with D1: %(differences)s. %(nothing)s Correct them and "
    "try again."
)


def delete_keys_permanently(lease: Lease) -> Again | Done | None:
    """One step of a deletion run. Raises RunError if the target, a right or the check is no longer valid."""
    related = ("environment", "namespace", "request__family", "generation", "approval")
    stage = CleanupStage.objects.select_related(*related).get(run=lease.run)
    return delete_under(Approved(), stage, lease)


def delete_under(mandate: Mandate, stage: CleanupStage, lease: Lease) -> Again | Done | None:
    """One step of a deletion under this mandate. Raises RunError if the target, a right or the check is not valid."""
    mandate.insist_target(stage, lease)
    newest_manifest.insist_none(stage.environment)
    with open_clients(stage.environment) as clients:
        clients.insist_visible(stage.namespace)
        deletion = _Deletion(stage, lease, clients, mandate)
        phase = lease.run.cursor.get("phase", "begin")
        if phase == "begin":
            return deletion.begin()
        if phase == "delete":
            return deletion.delete()
        return deletion_settle.settle(stage, lease, clients.reader, clients.budget)


class _Deletion:
    """The work of one step on a stage."""

    def __init__(self, stage: CleanupStage, lease: Lease, clients: Clients, mandate: Mandate) -> None:
        if stage.generation is None or stage.approval is None:
            raise RunError("not_backed_up", gettext_noop("The stage has no verified backup."))
        self.stage, self.generation, self.approval, self.lease = stage, stage.generation, stage.approval, lease
        self.mandate = mandate
        self._sender = Sender(stage, stage.generation, lease, clients, self._hold)

    def begin(self) -> Again | None:
        """Right before the first delete, verify an old backup again and check a legacy backup against D1 again.

        Minutes lie between the reads of the backup and the last reads, so a key that is written all the time differs.
        """
        wait = self._until_apart()
        if wait > 0:
            return Again(wait, gettext_noop("Waiting: the last reads start five minutes after the backup."))
        self._insist_verified()
        if not presence.verify_if_needed(self.generation, self.lease, self._nothing_deleted):
            return Again()
        if self.stage.request.category == "legacy":
            check = check_start.recheck(self.lease, self.generation)
            if check is None:
                return Again()
            accepted = newer_rows.accepted_by(self.approval, self.stage.check_passed)
            if not newer_rows.agrees(check, accepted):
                nothing, differences = self._nothing_deleted, f"{check.differences:,}"
                raise RunError("differences", say(_DIFFERENT, check=check.pk, differences=differences, nothing=nothing))
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

    def _derive(self) -> None:
        """Derive the evidence, then look at the objects of the backup. Raises RunError if either differs."""
        self.mandate.insist_as_approved(self.stage, self.lease)
        presence.insist_in_place(self.generation, self.lease, self._nothing_deleted)

    @property
    def _begun(self) -> bool:
        """Whether any name was sent."""
        return deletion_chunks.sent(self.stage).exists()

    @property
    def _nothing_deleted(self) -> str:
        return say(_("Nothing more was deleted.") if self._begun else _("Nothing was deleted."))

    def _until_apart(self) -> float:
        backed_up_at = self.generation.finished_at
        return timing.STALE - (clock.now() - backed_up_at).total_seconds() if backed_up_at else 0.0

    def _lay_still(self) -> bool:
        """Whether the pause since the check or the last chunk was so long that D1 must be read again."""
        last = self.stage.chunks.aggregate(at=Max(Greatest("intended_at", "sent_at", "settled_at")))["at"]
        checked = self.lease.run.cursor.get("checked_at")
        moments = [moment for moment in (last, checked and datetime.fromisoformat(checked)) if moment]
        return (clock.now() - max(moments, default=clock.now())).total_seconds() > timing.CHECK_PAUSE

    def delete(self) -> Again | None:
        """Send chunks until the step is over or none is left."""
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
            if halted:  # sent chunks are still settled, because reading destroys nothing
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
            if self._lay_still() or presence.verified_long_ago(self.generation):
                # A repeated verification or check deletes nothing, so the starts and attempts so far still count.
                before = {"starts": max(0, self.lease.run.starts - 1), "tries": self.lease.run.tries}
                begin = {**deletion_settle.phase(self.lease, "begin"), **before}
                with self.lease.checkpoint(Again(), no_further=True, cursor=begin):
                    return None
            revalidation.derived(self.lease, self._derive)
            self._send(chunk)
        return Again()

    def _send(self, chunk: CleanupChunk) -> None:
        """Send the chunk, after checking both people's rights.

        If the emergency stop was pressed just now, the chunk stays planned, and earlier chunks are settled first.
        """
        try:
            self._insist_rights()  # after the work that may take long
            self.mandate.insist_in_force(self.stage)
            self._sender.send(chunk)
        except Stopped as stopped:
            if stopped.code != emergency.CODE:
                raise

    @property
    def _careful(self) -> bool:
        """Whether a person must check the application after the first chunk, and has not done so."""
        return self.mandate.is_careful(self.stage) and not self.lease.run.cursor.get("go_on")

    def _patience(self, attempt: int | None) -> float:
        return revalidation.patience(attempt, ending=bool(self.lease.run.cursor.get("ending")))

    def _doubtful(self, *, everything: bool = False, all_sent: bool = False) -> CleanupChunk | None:
        """A chunk to settle by reading before another is sent: one without an answer.

        `everything`: also chunks with an answer. `all_sent`: also chunks whose answer names keys not deleted
        everywhere.
        """
        doubtful = Q(state=State.INTENDED)
        if self._careful or everything:
            doubtful |= Q(state=State.SENT)
        if all_sent:
            doubtful |= Q(state=State.SENT, answer__not_everywhere__gt=0)
        return self.stage.chunks.filter(doubtful).order_by("number").first()

    def _next(self) -> CleanupChunk | None:
        """The chunk to send now; None if all were sent, or if the run is being ended."""
        if self.lease.run.cursor.get("ending"):
            return None
        planned = self.stage.chunks.filter(state=State.PLANNED).order_by("first_index").first()
        if planned is not None:
            return planned
        with self.lease.checkpoint(no_further=True):
            return deletion_chunks.next_chunk(self.stage, self.lease.run.cursor.get("most", CHUNK))

    def _wait_for_a_person(self) -> Again:
        """Stop after production's first chunk is seen to be gone, until a person resumes the run (`let_go_on`)."""
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
            self.mandate.insist_rights(self.approval)
        except approval_gate.ApprovalRefused as refused:
            emergency.insist_none(self.stage.environment)
            raise RunError("rights_gone", refused) from refused
        self._insist_verified()

    def _hold(self) -> None:
        """Within the transaction of an intent, so that no withdrawal comes in between."""
        try:
            self.mandate.hold(self.approval)
        except approval_gate.ApprovalRefused as refused:
            raise RunError("rights_gone", refused) from refused

    def _insist_verified(self) -> None:
        if not Generation.objects.verified().filter(pk=self.generation.pk).exists():
            raise RunError("backup_damaged", gettext_noop("The backup is no longer verified. Nothing more is sent."))


def let_go_on(run: Run, actor: log.Actor) -> None:
    """Hook of a resumed deletion: the person who resumes it after production's first chunk has checked the application.

    Only a person's resume continues; after any other the run stops there again. The evidence is derived again in any
    case.
    """
    revalidation.forget(run)
    stopped = Run.objects.get(pk=run.pk)
    if stopped.cursor.get("waits") and actor.id is not None:
        cursor = {**stopped.cursor, "waits": False, "go_on": actor.text}
        Run.objects.filter(pk=run.pk, epoch=stopped.epoch, state=Run.State.QUEUED).update(cursor=cursor)
