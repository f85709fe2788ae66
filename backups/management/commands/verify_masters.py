"""Compare a dataset file with the D1 database of the masters (`check_command` describes the output of --json)."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from backups.management.check_command import VerifyCommand


class Command(VerifyCommand):
    help = "Compares every dataset in FILE with D1, by key and by field; exit 1 on any difference."

    def add_arguments(self, parser: ArgumentParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--db", required=True, metavar="BINDING", help="the D1 database, such as MASTERS_D1")

    def handle(self, *_args: object, **options: Any) -> None:
        environment = self.environment(options["environment"])
        if not environment.databases.filter(binding=options["db"]).exists():
            known = ", ".join(environment.databases.values_list("binding", flat=True)) or "none"
            raise CommandError(f"{environment.name} has no D1 database {options['db']}. Known: {known}.", returncode=2)
        names = self.mentioned(options["dataset"], options["db"])
        if not names:
            raise CommandError(f"{options['dataset']} holds no rows and names no dataset: nothing was compared.")
        self.verify(environment, names, options)
