"""Write the policy in force as TOML, with the families that were registered on the page.

`apply_policy` of the text changes nothing. Exit 0 if it is written, 1 if there is no policy or the rows in the
database differ from it, 2 for bad usage.
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from backups.families.policy_file import policy_text
from kvops.environments.toml import DefinitionRefused


class Command(BaseCommand):
    help = "Writes the policy in force as TOML, also the families that were registered on the page."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--output", type=Path, metavar="FILE", help="write into this file, not to the screen")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            text = policy_text()
        except DefinitionRefused as refused:
            raise CommandError(str(refused)) from refused
        path: Path | None = options["output"]
        if path is None:
            self.stdout.write(text, ending="")
            return
        try:
            path.write_text(text, "utf-8")
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error}", returncode=2) from error
        self.stdout.write(f"Written to {path}.")
