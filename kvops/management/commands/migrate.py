"""Django's `migrate`, which refuses a database of another history and names the transaction that it waits for."""

from typing import Any

from django.core.management.base import CommandError
from django.core.management.commands import migrate
from django.db import connections

from kvops.refusals import Refused
from kvops.upgrades import locks
from kvops.upgrades.history import History, drop_unfinished


class Command(migrate.Command):
    def handle(self, *args: Any, **options: Any) -> None:
        connection = connections[options["database"]]
        changes = not any(options[name] for name in ("plan", "check_unapplied", "prune", "fake"))
        try:
            History(connection).insist()
            with locks.naming_the_holder(connection):
                if changes:
                    for name in drop_unfinished(connection):
                        self.stdout.write(f"  Dropped {name}, whose build was interrupted.")
                super().handle(*args, **options)
                if changes:
                    History(connection).stamp()
        except locks.Blocked as blocked:
            self.stdout.write("")  # ends the line that names the migration
            raise CommandError(str(blocked)) from blocked
        except Refused as refused:
            raise CommandError(str(refused)) from refused
