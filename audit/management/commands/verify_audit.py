"""Check the audit log: every hash, every link, every sequence number.

Exit 0 if the chain is intact, 1 if a problem was found, 2 for bad usage. ``--json`` prints one object: ``ok`` (bool),
``entries`` (the number read), ``head_sequence``, ``head_hash`` (hex) and ``problems``. ``problems`` is a list of
``{"sequence", "problem"}``, at most the first hundred.
"""

import json
from argparse import ArgumentParser
from dataclasses import asdict

from django.core.management.base import BaseCommand, CommandError

from audit.verify import VerifyReport, verify


class Command(BaseCommand):
    """The command line of ``audit.verify``."""

    help = "Recomputes the hash chain of the audit log and reports the first thing that is wrong."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the flags."""
        parser.add_argument("--json", action="store_true", help="print the report as JSON")

    def handle(self, *_args: object, **options: object) -> None:
        """Print the report; raises CommandError (exit 1) if a problem was found."""
        report = verify()
        if options["json"]:
            self.stdout.write(json.dumps({"ok": report.ok, **asdict(report)}, indent=2))
        else:
            self.stdout.write(_in_words(report))
        if not report.ok:
            first = report.problems[0]
            raise CommandError(
                f"The audit log was tampered with or damaged. First problem, at entry "
                f"{first.sequence}: {first.problem}. Compare with the newest backup of the database.",
                returncode=1,
            )


def _in_words(report: VerifyReport) -> str:
    return f"Entries: {report.entries}\nHead: {report.head_sequence} {report.head_hash}"
