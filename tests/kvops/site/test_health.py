"""Whether the process is up and whether it can work."""

from collections.abc import Callable
from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.db.models.functions import Now
from django.http import HttpResponse
from django.test import Client, RequestFactory
from pytest_django import DjangoAssertNumQueries, Settings

from audit import log
from kvops import timing
from kvops.models import Heartbeat, Notification, NotificationEvent
from kvops.notifications import outbox
from kvops.site import health
from kvops.site.access import AccessMiddleware
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
    sql("ALTER TABLE django_migrations RENAME COLUMN name TO elsewhere")  # so that every question fails
    answer = client.get("/readyz")
    assert (answer.status_code, answer.content) == (503, b"unavailable\n")
    assert "The database does not answer" in caplog.text


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


# Whether background work goes on


def all_is_well() -> None:
    for name in ("sweep", "worker", "canary"):
        heartbeats.beat(name)


def late(name: str) -> None:
    Heartbeat.objects.of(name).update(at=Now() - timedelta(hours=1))


def test_work_that_goes_on_is_said(client: Client, db: None) -> None:
    all_is_well()
    answer = client.get("/healthz/work")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


@pytest.mark.hazard("B30")
@pytest.mark.parametrize(
    ("name", "said"), [("worker", "The worker"), ("sweep", "The sweep"), ("canary", "An executed")]
)
def test_a_missing_part_is_503_and_named_to_people_only(people: make.People, name: str, said: str) -> None:
    all_is_well()
    late(name)
    answer = Client().get("/healthz/work")
    assert (answer.status_code, answer.content) == (503, b"stopped\n")
    assert said in signed_in(people.auditor).get("/healthz/work").content.decode()


def test_an_outbox_that_nobody_empties_is_503(people: make.People, estate: make.Estate) -> None:
    all_is_well()
    with log.transaction():
        outbox.post(NotificationEvent.RUN_FINISHED, subject="run:1", title="x", to=[people.operator])
    assert Client().get("/healthz/work").status_code == 200
    Notification.objects.update(created_at=Now() - timedelta(seconds=timing.OUTBOX_LATE + 1))
    assert "The outbox has 1 message older" in signed_in(people.auditor).get("/healthz/work").content.decode()


def test_work_is_503_without_a_database(client: Client, db: None) -> None:
    sql("ALTER TABLE kvops_heartbeat RENAME COLUMN at TO elsewhere")
    answer = client.get("/healthz/work")
    assert (answer.status_code, answer.content) == (503, b"unavailable\n")


# Probes


@pytest.mark.parametrize("address", ["/healthz", "/readyz", "/healthz/work"])
@pytest.mark.parametrize("host", ["10.0.0.7:8000", "anything.example", "[::1]:8000", "not a host"])
def test_a_probe_is_answered_under_any_host_and_by_head(client: Client, db: None, address: str, host: str) -> None:
    all_is_well()
    assert client.get(address, HTTP_HOST=host).status_code == 200
    answer = client.head(address, HTTP_HOST=host)
    assert (answer.status_code, answer.content) == (200, b"")


def test_head_gives_the_server_no_body() -> None:
    answered = AccessMiddleware(lambda _request: HttpResponse("ok"))
    assert answered(RequestFactory().head("/healthz")).content == b""


def test_any_other_page_wants_a_known_host(client: Client, db: None) -> None:
    assert client.get("/account/login/", HTTP_HOST="anything.example").status_code == 400


def test_a_probe_loads_no_migration(client: Client, db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("the migration graph is loaded")

    monkeypatch.setattr("django.db.migrations.loader.MigrationLoader.build_graph", load)
    monkeypatch.setattr("django.db.migrations.loader.MigrationLoader.load_disk", load)
    health._migrations.cache_clear()
    assert client.get("/readyz").status_code == 200


TOKEN = "metrics-token-" + "x" * 32


@pytest.mark.parametrize(
    ("proxies", "headers", "may"),
    [
        (0, {"REMOTE_ADDR": "10.1.2.3"}, True),
        (0, {"REMOTE_ADDR": "10.2.0.1"}, False),
        (0, {"REMOTE_ADDR": "10.1.2.3", "HTTP_X_FORWARDED_FOR": "203.0.113.9"}, False),
        (1, {"REMOTE_ADDR": "172.16.0.1", "HTTP_X_FORWARDED_FOR": "203.0.113.9, 10.1.2.3"}, True),
        (1, {"REMOTE_ADDR": "10.1.2.3", "HTTP_X_FORWARDED_FOR": "10.1.2.3, 203.0.113.9"}, False),
        (0, {"REMOTE_ADDR": ""}, False),
        (0, {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}"}, True),
        (0, {"HTTP_AUTHORIZATION": f"Bearer {TOKEN}y"}, False),
        (0, {"HTTP_AUTHORIZATION": f"Basic {TOKEN}"}, False),
    ],
)
def test_reasons_are_for_known_hosts_and_for_the_token(
    client: Client, db: None, settings: Settings, *, proxies: int, headers: dict[str, Any], may: bool
) -> None:
    settings.KVOPS_METRICS_HOSTS = (ip_network("10.1.0.0/16"),)
    settings.KVOPS_METRICS_TOKEN = TOKEN
    settings.ALLAUTH_TRUSTED_PROXY_COUNT = proxies
    said = client.get("/healthz/work", **headers).content.decode()
    assert ("never seen" in said) is may


def test_no_token_admits_nobody(client: Client, db: None) -> None:
    assert client.get("/healthz/work", HTTP_AUTHORIZATION="Bearer ").content == b"stopped\n"
