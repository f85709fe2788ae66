"""Create the database's roles and give each its rights; the owner runs it after `migrate`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import ProgrammingError

from kvops import database_roles, env

APPLICATION, VERIFIER = "KVOPS_APP_DATABASE_URL", "KVOPS_VERIFIER_DATABASE_URL"
WEB = "KVOPS_WEB_DATABASE_URL"


class Command(BaseCommand):
    help = (
        "Creates the roles of KVOPS_APP_DATABASE_URL, KVOPS_VERIFIER_DATABASE_URL and KVOPS_WEB_DATABASE_URL, and gives"
        " each exactly its rights and settings."
        " Run it after every migrate, with the DATABASE_URL of the tables' owner."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        application = _login(APPLICATION)
        verifier, web = (_login(name) if env.text(name, "") else None for name in (VERIFIER, WEB))
        try:
            database_roles.setup(application, verifier, web)
        except database_roles.GrantsRefused as refused:
            raise CommandError(str(refused)) from refused
        except ProgrammingError as error:
            raise CommandError(
                f"The owner may not do this: {str(error).strip()}. Let it create roles (ALTER ROLE … CREATEROLE),"
                " or create them beforehand."
            ) from error
        roles = " and ".join(login.role for login in (application, verifier, web) if login)
        self.stdout.write(f"{roles} may do what {'they need' if verifier or web else 'it needs'}, and no more.")


def _login(name: str) -> database_roles.Login:
    found = env.database(name)
    if not found["USER"]:
        raise CommandError(f"{name} names no role: it takes postgres://role:password@host:port/name.")
    return database_roles.Login(str(found["USER"]), str(found["PASSWORD"]))
