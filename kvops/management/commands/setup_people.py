"""The first people of an installation."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.log import Actor
from kvops.people import setup as people_setup
from kvops.people.signin import password_link


class Command(BaseCommand):
    help = "Adds the first operator and reviewer (two persons) and auditors; works until a reviewer was granted."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--operator", required=True, metavar="EMAIL")
        parser.add_argument("--reviewer", required=True, metavar="EMAIL")
        parser.add_argument("--auditor", action="append", default=[], metavar="EMAIL", help="may be repeated")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            users = people_setup.set_up(
                operator=options["operator"],
                reviewer=options["reviewer"],
                auditors=options["auditor"],
                actor=Actor.command(),
            )
        except people_setup.SetupRefused as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write("Each opens their own link once and chooses a password:")
        for user in users:
            self.stdout.write(f"  {user.email}  {password_link(user)}")
