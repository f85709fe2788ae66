"""The role of a reviewer for an installation in which no reviewer is active."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.log import Actor
from kvops.refusals import Refused
from kvops.roles import recovery
from kvops.wording import moment


class Command(BaseCommand):
    help = (
        "Makes a person the reviewer in 24 hours, if no reviewer is active. Everybody is mailed; it is cancelled if a"
        " reviewer becomes active before. `manage.py sweep` must run."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("email", metavar="EMAIL", help="the address of the person")
        parser.add_argument("--name", default="", help="the name of a person who is not known yet")
        parser.add_argument("--reason", required=True, help="the reason; everybody is told it, the audit log keeps it")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            found = recovery.ask(
                options["email"], name=options["name"], reason=options["reason"], actor=Actor.command()
            )
        except Refused as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(f"{found.email} becomes reviewer at {moment(found.effective_at)}. Everybody is mailed.")
