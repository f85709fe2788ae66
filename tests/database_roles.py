"""The database as each of its roles sees it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection
from psycopg import sql

from tests.clusters import database_url


@dataclass(frozen=True)
class Roles:
    """The addresses of the test database for the application, the verifier and the web server."""

    application: str
    verifier: str
    web: str

    @contextmanager
    def working_as(self, address: str) -> Iterator[None]:
        """Let Django connect with this address."""
        ours = {name: connection.settings_dict[name] for name in ("USER", "PASSWORD")}
        with psycopg.connect(address) as given:
            theirs = {"USER": given.info.user, "PASSWORD": given.info.password}
        connection.close()
        connection.settings_dict.update(theirs)
        try:
            yield
        finally:
            connection.close()
            connection.settings_dict.update(ours)


@pytest.fixture
def roles(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Roles]:
    """The roles as `setup_roles` makes them; named after the test database, as the whole server shares them."""
    name = connection.settings_dict["NAME"]
    place = database_url().rpartition("@")[2]
    secrets = {"app": "first-secret", "verifier": "second-secret", "web": "third-secret"}
    found = Roles(*(f"postgres://{name}_{role}:{secret}@{place}" for role, secret in secrets.items()))
    monkeypatch.setenv("KVOPS_APP_DATABASE_URL", found.application)
    monkeypatch.setenv("KVOPS_VERIFIER_DATABASE_URL", found.verifier)
    monkeypatch.setenv("KVOPS_WEB_DATABASE_URL", found.web)
    call_command("setup_roles")
    yield found
    with connection.cursor() as cursor:
        for role in (f"{name}_web", f"{name}_app", f"{name}_verifier"):
            cursor.execute(sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(sql.Identifier(role)))
