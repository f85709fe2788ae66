"""Examine the installation with the settings of this process. Exit 0 if nothing is wrong, 1 otherwise."""

import sys
from argparse import ArgumentParser
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand

from kvops.doctor.examination import examine
from kvops.doctor.findings import Examined, Health

_WORDS = {Health.OK: "ok", Health.WRONG: "wrong", Health.UNKNOWN: "not known"}


class Command(BaseCommand):
    help = (
        "Examines the installation: each line is ok, wrong with what to do, or not known and why. It knows the secrets"
        " of this process only, so run it with the worker's settings, and with the web server's."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--web", action="store_true", help="this process has the web server's settings")

    def handle(self, *args: Any, **options: Any) -> None:
        found = Counter[Health]()
        for finding in examine(Examined(web=options["web"])):
            found[finding.health] += 1
            self.stdout.write(f"{_WORDS[finding.health]:<10}{finding.about}: {finding.sentence}".rstrip(": "))
        self.stdout.write(", ".join(f"{_WORDS[health]}: {found[health]}" for health in Health))
        if found[Health.WRONG]:
            self.stderr.write(f"{found[Health.WRONG]} to correct.")
            sys.exit(1)
