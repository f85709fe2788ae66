"""Put environments.toml in force, or prepare the change.

Exit 0 if it is applied, prepared or already in force, 1 if it is refused, 2 for bad usage. `--json` prints one object:
`state` (applied | prepared | unchanged), `changes` (a list of sentences), `change` (the prepared change's number, or
null).
"""

import getpass
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.log import Actor
from kvops.approvals.gate import ApprovalRefused
from kvops.environments import apply as environments_apply
from kvops.management.apply_command import read_file, report


class Command(BaseCommand):
    help = "Applies environments_apply.toml; where environments exist already, the change waits for a second person."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path)
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        text = read_file(options["file"])
        try:
            outcome = environments_apply.apply_environments(text, actor=Actor.command(getpass.getuser()))
        except ApprovalRefused as refused:
            raise CommandError(str(refused)) from refused
        report(self.stdout, outcome, as_json=options["json"])
