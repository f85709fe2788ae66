"""Check the keys that a checkout uses against a policy. No setting is needed.

Exit 0 if the code keeps the policy, 1 if not, 2 for bad usage.
"""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from kvops.references import lint
from kvops.refusals import Refused


class Command(BaseCommand):
    help = "Fails if code uses a prefix that no family knows, or writes or deletes one whose family is legacy."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--path", type=Path, required=True, help="the checkout")
        parser.add_argument("--policy", type=Path, required=True, help="the policy, such as policy.toml")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            told = lint.offences(options["path"], lint.read_patterns(options["policy"]))
        except Refused as error:
            raise CommandError(str(error), returncode=2) from error
        for sentence in told:
            self.stdout.write(sentence)
        if told:
            raise CommandError("The code breaks the policy.")
