"""Deletes backups: a run with the used approval of a prune request, backup after backup.

Right before each backup, the objects of the backups that replace it must be in the bucket as they were written
(`execution.presence`). Then its row is locked and everything is derived again: age on the database's clock, holds,
replacing backups, objects. A trigger makes every row that would rely on the backup wait for the same lock, so one of
the two waits and then sees the other. Another trigger refuses the first step without the running run of an approved
prune request, or before 14 days. It also refuses it with a pin, with a restore or clean-up under way, or without a
newer verified backup.
"""

from collections.abc import Collection, Mapping
from typing import Any

from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups import policy
from backups.archive.digests import objects_sha256
from backups.bucket import access as bucket_access, newest_manifest
from backups.bucket.r2 import R2Store
from backups.execution import presence, revalidation
from backups.models import Generation, PruneEntry, PruneRequest
from backups.retention import requests as prune_requests
from backups.retention.decide import RetentionVerdict, State as Keeping
from backups.retention.erasure import Erasure
from backups.retention.inputs import Retention
from kvops.approvals import gate as approval_gate
from kvops.runs import emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError
from kvops.wording import Words, columns, joined, say

Outcome = PruneEntry.Outcome
Status = Generation.Status


def prune_permanently(lease: Lease) -> Again | Done | None:
    """One step of a prune. Raises RunError if the target, a right or the bucket does not allow it."""
    prune = PruneRequest.objects.select_related("environment", "approval").get(run=lease.run)
    _insist_target(prune, lease)
    newest_manifest.insist_none(prune.environment)
    with bucket_access.errors_for_a_run(), bucket_access.store(prune.environment) as store:
        return _PruneRun(prune, lease, store).step()


def _insist_target(prune: PruneRequest, lease: Lease) -> None:
    """Check that the approval and the bucket in it are still valid."""
    not_carried = gettext_noop("The run does not carry the deletion's approval.")
    shown = revalidation.approved(prune.approval, lease, f"prune:{prune.pk}", not_carried)
    now = {"account_id": prune.environment.account_id, "bucket": prune.environment.r2_bucket}
    revalidation.insist_target(now, shown)
    listed = [(each["id"], each["objects_sha256"]) for each in shown["generations"]["list"]]
    entries = prune.entries.order_by("index")
    if listed != list(entries.values_list("generation_id", "objects_sha256")):
        raise RunError("wrong_set", gettext_noop("The backups are not the approved ones."))


def _replacing(verdict: RetentionVerdict) -> Collection[int]:
    """The backups that must be whole before this one is erased; a backup of caches needs none (policy 3.3)."""
    return () if verdict.backup.cache else verdict.newer


def _lost(verdict: RetentionVerdict, seen: Mapping[int, str]) -> str:
    """The reason to keep the backup because of what was seen of those that replace it; empty if they are in place."""
    for pk in _replacing(verdict):
        if pk not in seen:
            return gettext_noop("The backups that replace it have just changed.")
        if seen[pk]:
            sentence = _("Backup %(backup)s, which replaces it, is not in its bucket as it was written: %(problem)s")
            return say(sentence, backup=pk, problem=seen[pk])
    return ""


class _PruneRun(Erasure):
    """The work of one step on a prune request."""

    def __init__(self, prune: PruneRequest, lease: Lease, store: R2Store) -> None:
        super().__init__(prune.environment, lease, store)
        self.prune = prune
        self._ending = bool(lease.run.cursor.get("ending"))

    def step(self) -> Again | None:
        """Delete backups until the step is over or none is left."""
        planned = self.prune.entries.filter(outcome=Outcome.PLANNED).select_related("generation__environment")
        for entry in planned.order_by("index"):
            going = entry.generation.status == Status.DELETING or self._begin(entry)
            if going and not self.delete(entry.generation):
                return Again()
            if self.lease.tired:
                return Again()
        self._finish()
        return None

    def insist_rights(self) -> None:
        """Check the emergency stop, the approval with both people's rights, and that nobody edited the policy's rows.

        If the request is ended early, the approval is not checked: no further backup is begun, and a half deleted
        backup is unusable.
        """
        emergency.insist_none(self.environment)
        if self._ending:
            return
        if self.prune.approval is None:
            raise RunError("not_approved", gettext_noop("The run does not carry the deletion's approval."))
        try:
            approval_gate.still_valid(self.prune.approval)
            policy.shown()
        except approval_gate.ApprovalRefused as refused:
            emergency.insist_none(self.environment)
            raise RunError("rights_gone", refused) from refused

    def _begin(self, entry: PruneEntry) -> bool:
        """Commit that the backup is being deleted, if it still may be; otherwise that it is kept, with the reason."""
        self.insist_rights()
        seen = {} if self._ending else self._seen(entry.generation)  # before the transaction: the store may be slow
        with self.lease.checkpoint(cursor=self.cursor(next=0)):
            emergency.hold(self.environment)
            because = self._because(entry, seen)
            if because:
                kept = columns("because", because)
                PruneEntry.objects.filter(pk=entry.pk).update(outcome=Outcome.KEPT, **kept)
                self.record(Action.GENERATION_KEPT, entry.generation, {"because": kept["because"][:500]})
            else:
                self.begin(entry.generation, {"objects": entry.objects_total, "newer": entry.newer})
        return not because

    def _seen(self, generation: Generation) -> dict[int, str]:
        """For each backup that replaces this one, the first object that is not as it was written; empty if all are."""
        newer = Generation.objects.filter(pk__in=_replacing(Retention().of([generation])[0].verdict))
        return {one.pk: presence.not_in_place(one, self.store, self.lease) for one in newer}

    def _because(self, entry: PruneEntry, seen: Mapping[int, str]) -> Words:
        """The reason to keep the backup, read in the transaction that begins its deletion; empty if there is none."""
        if self._ending:
            return gettext_noop("The deletion was ended early.")
        held = Generation.objects.select_for_update(of=("self",)).select_related("environment", "namespace")
        generation = held.get(pk=entry.generation_id)
        if generation.status in Generation.GOING:
            return gettext_noop("Another prune request is deleting it, or has deleted it.")
        if objects_sha256(generation.every_object()) != entry.objects_sha256:
            return gettext_noop("Its objects differ from the approved ones.")
        entry.generation = generation
        verdict = Retention().of([generation])[0].verdict
        if verdict.state == Keeping.DUE:
            return _lost(verdict, seen)
        return joined(reason.text for reason in verdict.reasons)

    def settled(self, generation: Generation) -> None:
        """Record the result in the backup's entry."""
        self.prune.entries.filter(generation=generation).update(outcome=Outcome.DELETED)

    def _finish(self) -> None:
        entries = self.prune.entries
        deleted, kept = (entries.filter(outcome=outcome).count() for outcome in (Outcome.DELETED, Outcome.KEPT))
        result: dict[str, JSON] = {"deleted_backups": deleted, "kept_backups": kept}
        with self.lease.checkpoint(Done(result), cursor={}, done=self.lease.run.total or 0, note=""):
            prune_requests.move(
                self.prune,
                [PruneRequest.State.DELETING],
                PruneRequest.State.DONE,
                Action.DISPOSAL_FINISHED,
                actor=self.lease.actor,
                values={"deleted": deleted, "kept": kept, "finished_at": Now()},
                details=result,
            )

    def cursor(self, **at: int) -> dict[str, Any]:
        """The position, and whether the request is ended early."""
        ending = {"ending": True} if self._ending else {}
        return {**ending, **at}

    def record(self, action: Action, generation: Generation, details: Mapping[str, JSON]) -> None:
        """Write an entry that names the prune request and its approval."""
        log.record(
            action,
            actor=self.lease.actor,
            environment=self.environment.slug,
            subject=f"generation:{generation.pk}",
            subject_label=generation.stem[:200],
            digest=generation.manifest_sha256,
            details={"prune": self.prune.pk, "approval": self.prune.approval_id or 0, **details},
        )
