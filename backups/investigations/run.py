"""Deletes the backup of an investigation, under the approval that stands for it.

Everything is derived again before the first object: the investigation is over, the approval is for it, both people
still have their rights, and every object belongs to this backup. `retention.erasure` then deletes the objects.
"""

from collections.abc import Mapping

from django.utils.translation import gettext_noop

from audit import log
from audit.actions import Action
from audit.chain import JSON
from backups.bucket import access as bucket_access, newest_manifest
from backups.bucket.r2 import R2Store
from backups.execution import revalidation
from backups.investigations import requests as investigation_requests
from backups.models import Generation, Investigation
from backups.retention import holds
from backups.retention.erasure import Erasure
from kvops import clock
from kvops.approvals import gate as approval_gate, standing
from kvops.runs import emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError, TryLater
from kvops.wording import joined

Status = Generation.Status
NOT_CARRIED = gettext_noop("The run does not carry the deletion's approval.")


def prune_investigation_permanently(lease: Lease) -> Again | None:
    """One step. Raises RunError if the target, a right or the bucket does not allow it."""
    related = ("environment", "generation__namespace", "generation__environment")
    investigation = Investigation.objects.select_related(*related).get(run=lease.run)
    _insist_target(investigation, lease)
    newest_manifest.insist_none(investigation.environment)
    with bucket_access.errors_for_a_run(), bucket_access.store(investigation.environment) as store:
        return _InvestigationEnd(investigation, lease, store).step()


def _insist_target(investigation: Investigation, lease: Lease) -> None:
    """Check that the investigation is over, and that the run's approval is for its rule as derived now."""
    run, generation = lease.run, investigation.generation
    revalidation.approved(run.approval, lease, investigation.subject, NOT_CARRIED, started=False)
    if run.approval_digest != investigation_requests.rule_digest(investigation):
        raise RunError("not_approved", NOT_CARRIED)
    if investigation.closed_at is None and clock.seconds_until(investigation.ends_at) > 0:
        raise RunError("not_over", gettext_noop("The investigation is not over."))
    if not generation.is_here:
        raise RunError("wrong_target", gettext_noop("The backup is in a bucket that the environment no longer uses."))
    if not all(key.startswith(f"{generation.stem}.") for key in generation.every_object()):
        raise RunError("wrong_set", gettext_noop("The backup names objects that are not its own."))


class _InvestigationEnd(Erasure):
    """The work of one step on an investigation's backup."""

    def __init__(self, investigation: Investigation, lease: Lease, store: R2Store) -> None:
        super().__init__(investigation.environment, lease, store)
        self.investigation = investigation

    def step(self) -> Again | None:
        """Delete the backup until the step is over or no object is left."""
        generation = self.investigation.generation
        if generation.status not in Generation.GOING:
            self._begin(generation)
        if generation.status != Status.DELETED and not self.delete(generation):
            return Again()
        with self.lease.checkpoint(Done({"deleted_backups": 1}), cursor={}, done=self.lease.run.total or 0, note=""):
            pass
        return None

    def _begin(self, generation: Generation) -> None:
        self.insist_rights()
        with self.lease.checkpoint(cursor=self.cursor(next=0)):
            emergency.hold(self.environment)
            held = Generation.objects.select_for_update().get(pk=generation.pk)
            if held.status != generation.status:
                raise RunError("moved", gettext_noop("The backup has just changed. Try again."))
            if needed := holds.holds_of([generation.pk]):
                raise TryLater(joined([hold.text for hold in needed[generation.pk]]))
            self.begin(generation, {"objects": len(generation.every_object())})
        generation.refresh_from_db()

    def insist_rights(self) -> None:
        """Check the emergency stop, the standing approval, and both people's rights."""
        emergency.insist_none(self.environment)
        if self.lease.run.approval is None:
            raise RunError("not_approved", NOT_CARRIED)
        try:
            standing.insist_standing(self.lease.run.approval)
        except approval_gate.ApprovalRefused as refused:
            emergency.insist_none(self.environment)
            raise RunError("rights_gone", refused) from refused

    def settled(self, generation: Generation) -> None:
        """Mark the investigation as over together with its backup."""
        investigation_requests.over(self.investigation, self.lease.actor, {"keys": generation.keys})

    def record(self, action: Action, generation: Generation, details: Mapping[str, JSON]) -> None:
        """Write an entry that names the investigation and its approval."""
        log.record(
            action,
            actor=self.lease.actor,
            environment=self.environment.slug,
            subject=f"generation:{generation.pk}",
            subject_label=generation.stem[:200],
            digest=generation.manifest_sha256,
            details={"investigation": self.investigation.pk, "approval": self.lease.run.approval_id or 0, **details},
        )
