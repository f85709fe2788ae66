"""Whether the process is up and whether it can work."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.db.models.functions import Now
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from kvops.models import Heartbeat
from kvops.supervision import heartbeats
from tests import make
from tests.audit.make import sql
from tests.signing import signed_in


def test_the_process_says_it_is_up_without_the_database(
    client: Client, db: None, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with django_assert_num_queries(0):
        answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_a_migrated_database_makes_it_ready(client: Client, db: None) -> None:
    assert client.get("/readyz").status_code == 200


def missing_sweep() -> None:
    heartbeats.beat("worker")
    heartbeats.beat("sweep")
    Heartbeat.objects.filter(name="sweep").update(at=Now() - timedelta(hours=1))


@pytest.mark.hazard("B30")
def test_what_should_run_and_does_not_is_said_to_people(people: make.People) -> None:
    missing_sweep()
    said = signed_in(people.auditor).get("/readyz").content.decode()
    assert said == "degraded\nThe sweep was last seen 3600 s ago.\nAn executed task was never seen.\n"


def test_a_stranger_is_told_one_word(client: Client, db: None) -> None:
    missing_sweep()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.content) == (200, b"degraded\n")
    heartbeats.beat("sweep")
    heartbeats.beat("canary")
    assert client.get("/readyz").content == b"ok\n"


def test_a_missing_migration_is_said_in_the_log(client: Client, db: None, caplog: pytest.LogCaptureFixture) -> None:
    sql("DELETE FROM django_migrations WHERE app = 'kvops'")
    answer = client.get("/readyz")
    assert (answer.status_code, answer.content) == (503, b"unavailable\n")
    assert "run manage.py migrate" in caplog.text


def test_a_database_that_does_not_answer_is_said_in_the_log(
    client: Client, db: None, caplog: pytest.LogCaptureFixture
) -> None:
    sql("ALTER TABLE django_migrations RENAME COLUMN applied TO elsewhere")  # so that every question fails
    answer = client.get("/readyz")
    assert (answer.status_code, answer.content) == (503, b"unavailable\n")
    assert "The database does not answer" in caplog.text


@pytest.mark.parametrize("address", ["/healthz", "/readyz"])
def test_nobody_signs_in_to_ask(client: Client, db: None, address: str) -> None:
    assert "no-store" in client.get(address).headers["Cache-Control"]


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_signed_in_person_is_told_503_when_the_database_fails_in_between(
    people: make.People, error: type[Exception]
) -> None:
    client = signed_in(people.auditor)

    def fail(execute: Callable[..., object], statement: str, *rest: object) -> object:
        if "django_session" in statement:
            raise error("the connection is closed")
        return execute(statement, *rest)

    with connection.execute_wrapper(fail):
        answer = client.get("/readyz")
    assert (answer.status_code, answer.content) == (503, b"unavailable\n")
