"""Keep a verified, encrypted backup in 1Password too: its object as a Document, the recovery steps in the notes.

Needs the extra `onepassword` and a service account (OP_SERVICE_ACCOUNT_TOKEN). Exit 0 if the Document is there and
was read back, 1 if it was refused or failed, 2 for bad usage.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from audit.log import Actor
from backups.bucket.store import StoreError
from backups.exports.onepassword import NotKept
from backups.models import Generation
from backups.vault import start as vault_start


class Command(BaseCommand):
    help = "Keeps a verified, encrypted backup as a Document in a 1Password vault, with its recovery steps."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("generation", type=int, metavar="ID")
        parser.add_argument("--vault", required=True, metavar="NAME", help="a vault the service account may write to")

    def handle(self, *args: Any, **options: Any) -> None:
        generation = Generation.objects.select_related("environment", "run").filter(pk=options["generation"]).first()
        if generation is None:
            raise CommandError(f"There is no backup {options['generation']}.", returncode=2)
        try:
            title = vault_start.keep_now(generation, options["vault"], actor=Actor.command())
        except (NotKept, StoreError) as refused:
            raise CommandError(str(refused)) from refused
        self.stdout.write(f"Kept in the vault {options['vault']} as {title}.")
