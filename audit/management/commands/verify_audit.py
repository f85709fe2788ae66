"""Check the audit log: every hash, link and sequence number, and compare it with other tables and with manifests.

Exit 0 if the log is intact and everything was compared, 1 if a problem was found or something could not be compared,
2 for bad usage. ``--json`` prints one object: ``ok`` (bool, true with exit 0),
``entries`` (the number read), ``head_sequence``, ``head_hash`` (hex), ``problems``, ``heads`` (the number of heads kept
elsewhere that were compared), ``unread`` (the comparisons that were not possible, with
the reason) and ``recorded`` (bool). ``problems`` is a list of
``{"sequence", "problem"}``, at most the first hundred. Its sequence is 0 if an entry is missing and its place is not
known.

A verification without a problem is recorded in the audit log itself, so that its pages name the last one. The role
`verifier` can only read the log, so its verifications are not recorded. Nothing is added to a log with a problem.
"""

import json
from argparse import ArgumentParser
from dataclasses import asdict

from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from audit import log
from audit.actions import Action
from audit.verify import VerifyReport, verify


class Command(BaseCommand):
    """The command line of ``audit.verify``."""

    help = "Recomputes the hash chain of the audit log and compares it with what rows and manifests say."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the flags."""
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *_args: object, **options: object) -> None:
        """Print the report; raises CommandError (exit 1) if a problem was found or something could not be compared."""
        report = verify()
        recorded = report.ok and _record(report)
        if options["json"]:
            found = {"ok": report.ok and not report.unread, **asdict(report), "recorded": recorded}
            self.stdout.write(json.dumps(found, indent=2))
        else:
            self.stdout.write(_in_words(report, recorded))
        if not report.ok:
            first = report.problems[0]
            where = f", at entry {first.sequence}" if first.sequence else ""
            raise CommandError(
                f"The audit log was tampered with or damaged. First problem{where}: {first.problem}."
                " Compare with the newest backup of the database.",
                returncode=1,
            )
        if report.unread:
            raise CommandError(
                f"Nothing that was compared differs, but this could not be compared: {'; '.join(report.unread)}."
                " Run the command again where these can be read: on the worker, which may read the tables and has the"
                " credentials of the buckets.",
                returncode=1,
            )


def _record(report: VerifyReport) -> bool:
    """Record a verification without a problem. False if the role of the database can only read the log."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT has_table_privilege('audit_entry', 'INSERT')")
        [allowed] = cursor.fetchone() or [False]
    if not allowed:
        return False
    with log.transaction():
        log.record(
            Action.AUDIT_VERIFIED,
            actor=log.Actor.command(),
            details={
                "up_to": report.head_sequence,
                "hash": report.head_hash,
                "heads": report.heads,
                "not_compared": [what[:200] for what in report.unread],
            },
        )
    return True


def _in_words(report: VerifyReport, recorded: bool) -> str:
    lines = [
        f"Entries: {report.entries}",
        f"Head: {report.head_sequence} {report.head_hash}",
        f"Heads kept in backups: {report.heads}",
        *(f"Not compared: {what}" for what in report.unread),
        *([] if recorded or not report.ok else ["Not recorded: this role of the database can only read the log."]),
    ]
    return "\n".join(lines)
