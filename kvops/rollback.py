"""Rollback of the database: while a bucket shows one, the product is read-only (hazards B32).

Every manifest carries the head of the audit log at its time, as number and hash. If that entry is missing here, or is
another one, this is not the database that made the backups. `backups.bucket.newest_manifest` reads the buckets. This
module has the comparison, its consequences and the messages. `approvals.restored_database` is the way out.

Until the rollback is accepted, nothing is submitted, decided, claimed, sent, backed up or resumed, and a trigger lets
no approved run begin. A banner and `/readyz` show it. Scans, checks and verifications continue.
"""

from dataclasses import dataclass
from datetime import datetime

from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from audit.models import Entry, Head
from kvops.models import DatabaseRollback, Environment
from kvops.wording import say

CODE = "restored_database"
"""The error code of a run that was ended because of a rollback."""


@dataclass(frozen=True)
class Seen:
    """The head of the audit log that a bucket's newest manifest names, and the time when the store got the manifest."""

    key: str
    modified_at: datetime
    sequence: int
    hash: str


def rollback_in_force() -> DatabaseRollback | None:
    """The rollback that makes the product read-only; None if there is none."""
    return DatabaseRollback.objects.in_force().select_related("environment").order_by("pk").first()


def why_read_only() -> str:
    """One sentence that says why the product is read-only; empty if it is not."""
    found = rollback_in_force()
    if found is None:
        return ""
    return say(
        _(
            "Read-only: the bucket of %(environment)s holds a backup that this database does not know. The database "
            "was probably rolled back to an older state. Restore a newer state, or have an administrator run "
            "manage.py accept_restored_database."
        ),
        environment=found.environment.name,
    )


def compare_manifest(environment: Environment, seen: Seen) -> DatabaseRollback | None:
    """Compare the newest manifest with the audit log. If it shows a rollback, store it once and return it."""
    with log.transaction():
        # One comparison at a time, so that two processes store a rollback once.
        Environment.objects.select_for_update(no_key=True).only("pk").get(pk=environment.pk)
        ours = Entry.objects.filter(seq=seen.sequence).values_list("row_hash", flat=True).first()
        our_hash = bytes(ours).hex() if ours else ""
        known = DatabaseRollback.objects.filter(environment=environment)
        accepted = known.filter(accepted_at__isnull=False, modified_at__gte=seen.modified_at)
        if our_hash == seen.hash or seen.sequence == 0 or accepted.exists():
            return None
        if open_ := known.in_force().first():
            return open_
        found = DatabaseRollback.objects.create(
            environment=environment,
            manifest_key=seen.key,
            modified_at=seen.modified_at,
            sequence=seen.sequence,
            hash=seen.hash,
            our_sequence=Head.objects.get().seq,
            our_hash=our_hash,
        )
        log.record(
            Action.CONTRADICTION_FOUND,
            actor=log.Actor.system("rollbacks"),
            environment=environment.slug,
            subject=f"rollback:{found.pk}",
            subject_label=seen.key,
            digest=seen.hash,
            details={"sequence": seen.sequence, "our_sequence": found.our_sequence, "our_hash": our_hash},
        )
    return found
