"""Accepting a restored database: work continues from its state, and nothing that was under way revives.

`manage.py accept_restored_database --reason …` withdraws open requests. Runs that carry an approval fail, also those
that no worker took yet, and can only be ended early. Restoring a newer backup of the database is better than accepting.
"""

from django.db.models import F, Q
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from kvops import rollback
from kvops.approvals import gate as approval_gate
from kvops.models import DatabaseRollback, Run
from kvops.refusals import Refused
from kvops.wording import columns, insist_explained

ENDED = gettext_noop("The database was rolled back during the run. End the run early; the sent keys are settled.")
WITHDRAWN = _("The database was rolled back to an older state. Ask again.")


class NothingToAccept(Refused):
    """There is no rollback, or the reason is missing."""


def accept_restored_database(*, actor: log.Actor, reason: str) -> list[DatabaseRollback]:
    """Accept the database as it is: withdraw every open request and fail every run with an approval.

    Raises NothingToAccept.
    """
    insist_explained(reason, NothingToAccept, _("Give the reason for accepting this database. The audit log keeps it."))
    with log.transaction():
        found = list(DatabaseRollback.objects.in_force().select_for_update(of=("self",)).select_related("environment"))
        if not found:
            raise NothingToAccept(_("No rollback of this database was found."))
        approval_gate.withdraw_all(actor=actor, reason=WITHDRAWN)
        _end_runs(actor)
        for one in found:
            DatabaseRollback.objects.filter(pk=one.pk).update(
                accepted_at=Now(), accepted_by=actor.text, reason=reason.strip()[:500]
            )
            log.record(
                Action.CONTRADICTION_ACCEPTED,
                actor=actor,
                environment=one.environment.slug,
                subject=f"rollback:{one.pk}",
                subject_label=one.manifest_key,
                digest=one.hash,
                details={"reason": reason.strip()[:500], "sequence": one.sequence},
            )
    return found


def _end_runs(actor: log.Actor) -> None:
    """Fail the open runs that carry an approval, and mark those that a person could resume."""
    approved = Run.objects.filter(approval__isnull=False).select_related("environment")
    for run in approved.filter(state__in=Run.RESUMABLE):
        Run.objects.filter(pk=run.pk).update(error_code=rollback.CODE, **columns("error", ENDED))
    for run in approved.filter(Q(state__in=Run.OPEN)):
        # Only a running run can fail, so a queued run is set to running first.
        Run.objects.filter(pk=run.pk, state=Run.State.QUEUED).update(state=Run.State.RUNNING)
        Run.objects.filter(pk=run.pk).update(
            state=Run.State.FAILED,
            epoch=F("epoch") + 1,
            owner="",
            lease_until=None,
            wake_at=None,
            stop_requested_by="",
            error_code=rollback.CODE,
            **columns("error", ENDED),
            finished_at=Now(),
            updated_at=Now(),
        )
        log.record(Action.RUN_FAILED, actor=actor, **run.audited, details={"code": rollback.CODE, "error": ENDED})
