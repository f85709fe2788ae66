"""Write the keys under one or more prefixes into a file for `wrangler kv bulk put`, or back them up to R2.

`dump_command` describes the exit codes and the output of --json.
"""

from argparse import ArgumentParser
from typing import Any

from backups.management.dump_command import DumpCommand


class Command(DumpCommand):
    help = "Exports the keys under a prefix to a file for wrangler, or to R2 as a verified backup."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("namespace", metavar="ENV/BINDING")
        parser.add_argument("--prefix", action="append", required=True, help="may be repeated")
        super().add_arguments(parser)

    def handle(self, *args: Any, **options: Any) -> None:
        self.report(self.back_up(self.namespace(options["namespace"]), options["prefix"], options), options)
