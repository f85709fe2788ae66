"""Decisions and roles that no entry of the audit log agrees with: rows that somebody wrote past the gate.

The sweep compares them and tells everybody. Who writes entries too is not found this way.
"""

from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from audit import claims, log
from kvops.models import NotificationEvent
from kvops.notifications import outbox
from kvops.runs.recorded import APPROVALS, GRANTS
from kvops.wording import say


def compare() -> None:
    """Compare each request and each role with its entry, and tell of each row that differs, once."""
    for claim in (*APPROVALS, *GRANTS):
        for row, subject in claims.without_entry(claim):
            _tell(claim, row, subject)


def _tell(claim: claims.RowClaim, row: int, subject: str) -> None:
    facts = {"table": claim.table, "row": row, "subject": subject, "action": claim.action}
    with log.transaction():
        outbox.post(
            NotificationEvent.ENTRY_MISSING,
            subject=subject,
            occasion=f"{claim.action} {row}",
            title=say(_("%(table)s has a row that the audit log does not know: %(subject)s"), **facts),
            lines=[
                say(_("Row %(row)s has no entry “%(action)s” that agrees with it."), **facts),
                say(_("It may have been written with a password of the database. Start nothing by it.")),
                say(_("Change the passwords, find out who has them, and run verify_audit.")),
            ],
            link=reverse("audit:entries"),
        )
