"""Shared by the commands that put a definition in force."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError

from audit.log import Actor
from kvops.approvals.gate import ApprovalRefused
from kvops.environments.effect import Applied, Definition
from kvops.environments.toml import MOST_BYTES
from kvops.management.search_command import read_file
from kvops.models import PreparedChange


class ApplyCommand(BaseCommand):
    """A command that puts the definition of a file in force, or prepares the change."""

    definition: ClassVar[type[Definition]]
    default: ClassVar[Path | None] = None

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the file and the form of the outcome."""
        parser.add_argument("file", type=Path, nargs="?" if self.default else None, default=self.default)
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read the file, apply it and print the outcome."""
        path: Path = options["file"]
        try:
            text = read_file(path, MOST_BYTES).decode("utf-8")
        except UnicodeDecodeError as error:
            raise CommandError(f"{path} cannot be read: {error}", returncode=2) from error
        try:
            outcome = self.apply(text, **options)
        except ApprovalRefused as refused:
            raise CommandError(str(refused)) from refused
        self._report(outcome, as_json=options["json"])

    def apply(self, text: str, **_options: Any) -> Applied | PreparedChange:
        """Put the definition of the text in force, or prepare the change. Raises ApprovalRefused."""
        return self.definition.apply(text, actor=Actor.command())

    def _report(self, outcome: Applied | PreparedChange, *, as_json: bool) -> None:
        if isinstance(outcome, PreparedChange):
            state, changes, number = "prepared", outcome.summary.splitlines(), outcome.pk
            head = (
                f"Prepared as change {number}: an operator submits it, a reviewer decides. Until then nothing changes."
            )
        else:
            state, changes, number = "applied" if outcome.changes else "unchanged", list(outcome.changes), None
            head = "Applied." if changes else "Nothing to do: this is in force already."
        if as_json:
            self.stdout.write(json.dumps({"state": state, "changes": changes, "change": number}, ensure_ascii=False))
        else:
            self.stdout.write("\n".join([head, *(f"  {change}" for change in changes)]))
