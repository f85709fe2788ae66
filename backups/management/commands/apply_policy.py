"""Put policy.toml in force, or prepare the change.

A file that lacks a family that was registered on the page is refused, unless `--remove PATTERN` names the family.

Exit 0 if it is applied, prepared or already in force, 1 if it is refused, 2 for bad usage. `--json` prints one
object: `state` (applied | prepared | unchanged), `changes` (a list of sentences), `change` (the prepared change's
number, or null).
"""

from argparse import ArgumentParser
from typing import Any

from audit.log import Actor
from backups.policy import DEFAULT, Policy
from kvops.environments.effect import Applied
from kvops.management.apply_command import ApplyCommand
from kvops.models import PreparedChange


class Command(ApplyCommand):
    help = "Applies policy.toml, or the policy that ships; where a policy exists, the change waits for a second person."
    definition = Policy
    default = DEFAULT

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument(
            "--remove",
            action="append",
            default=[],
            metavar="PATTERN",
            help="a family registered on the page that the file is meant to remove (repeatable)",
        )

    def apply(self, text: str, **options: Any) -> Applied | PreparedChange:
        return Policy.apply(text, actor=Actor.command(), removed=options["remove"])
