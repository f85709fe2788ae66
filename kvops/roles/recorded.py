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
    """Compare each request and each role with its entry. Tell of each row that differs once."""
    for claim in (*APPROVALS, *GRANTS):
        found = claims.without_entry(claim)
        for row, subject in found.first:
            _tell(claim, row, subject)
        if found.more:
            _tell_of_others(claim, found)


def _tell(claim: claims.RowClaim, row: int, subject: str) -> None:
    facts = {"table": claim.table, "row": row, "subject": subject, "action": claim.action}
    _post(
        subject,
        f"{claim.action} {row}",
        say(_("%(table)s has a row that the audit log does not know: %(subject)s"), **facts),
        say(_("Row %(row)s has no entry “%(action)s” that agrees with it."), **facts),
        say(_("It may have been written with a password of the database. Start nothing by it.")),
    )


def _tell_of_others(claim: claims.RowClaim, found: claims.RowsFound) -> None:
    """Tell how many rows are not named, again whenever there are others."""
    facts = {"table": claim.table, "more": found.more, "action": claim.action}
    _post(
        found.first[-1][1],
        f"{claim.action} {found.newest} and {found.more} more",
        say(_("%(table)s has more rows that the audit log does not know: %(more)s"), **facts),
        say(_("No entry “%(action)s” agrees with them. The rows before them were told one by one."), **facts),
        say(_("They may have been written with a password of the database. Start nothing by them.")),
    )


def _post(subject: str, occasion: str, title: str, *lines: str) -> None:
    """Tell of rows without an entry, with the next step."""
    then = say(_("Change the passwords, find out who has them, and run verify_audit."))
    with log.transaction():
        outbox.post(
            NotificationEvent.ENTRY_MISSING,
            subject=subject,
            occasion=occasion,
            title=title,
            lines=[*lines, then],
            link=reverse("audit:entries"),
        )
