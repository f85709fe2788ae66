"""The first people of an installation."""

from argparse import ArgumentParser
from typing import Any

from allauth.account.forms import default_token_generator
from allauth.account.utils import user_pk_to_url_str
from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.urls import reverse

from audit.log import Actor
from kvops.models import User
from kvops.people import setup as people_setup


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
            self.stdout.write(f"  {user.email}  {_link(user)}")


def _link(user: User) -> str:
    key = f"{user_pk_to_url_str(user)}-{default_token_generator.make_token(user)}"
    path = reverse(
        "account_reset_password_from_key", kwargs=dict(zip(("uidb36", "key"), key.split("-", 1), strict=True))
    )
    return f"{settings.BASE_URL}{path}"
