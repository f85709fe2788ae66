"""The proposal of a change that is over is erased: applied, rejected, withdrawn, expired or given up.

No approval is needed, because the object is no backup and its change is decided. The lifecycle rule of the bucket
deletes it too, should this run fail for 30 days.
"""

from django.db.models.functions import Now
from django.utils.translation import gettext_noop

from audit.actions import Action
from backups.bucket import access as bucket_access, newest_manifest
from backups.changes.moves import record_change
from backups.models import KeyChange
from backups.retention.erasure import erase_proposal_permanently
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Done, RunError


def erase_proposal(lease: Lease) -> None:
    """One step, the only one. Raises RunError if the object is not a proposal of a change that is over."""
    change = KeyChange.objects.select_related("environment", "namespace").get(erase_run=lease.run)
    if change.is_open or not change.object_key.startswith(bucket_access.proposals_root(change.environment)):
        raise RunError("wrong_target", gettext_noop("The object is not the proposal of a change that is over."))
    if change.bucket != change.environment.r2_bucket:
        raise RunError("wrong_target", gettext_noop("The proposal is in a bucket that the environment no longer uses."))
    newest_manifest.insist_none(change.environment)
    with bucket_access.errors_for_a_run(), bucket_access.store(change.environment) as store:
        with lease.checkpoint(no_further=True):
            record_change(Action.PROPOSAL_ERASING, change, actor=lease.actor, details={"object": change.object_key})
        erase_proposal_permanently(store, lease, change.object_key)
    with lease.checkpoint(Done({"erased": 1}), done=1, note=""):
        KeyChange.objects.filter(pk=change.pk, erased_at=None).update(erased_at=Now())
        record_change(Action.PROPOSAL_ERASED, change, actor=lease.actor, details={"object": change.object_key})
