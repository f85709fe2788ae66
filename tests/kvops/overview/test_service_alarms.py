"""The alarms about services on the overview."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from audit import log
from kvops import timing
from kvops.connections import refused_tokens
from kvops.models import RefusedToken, Run, Skew
from kvops.runs import driver as run_driver
from tests import make
from tests.signing import signed_in


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def overview(client: Client) -> str:
    return client.get("/").content.decode()


def test_a_refused_token_is_an_alarm_until_it_is_accepted(operator: Client, estate: make.Estate) -> None:
    environment = estate.qa.environment
    refused_tokens.note_refused(environment, "env:QA_READ", {"keys": 401})
    assert "Cloudflare refuses env:QA_READ of QA" in overview(operator)
    refused_tokens.note_accepted(environment, "env:QA_READ", ["keys"])
    assert "Cloudflare refuses" not in overview(operator)


@pytest.mark.parametrize(("told", "kept"), [({"keys": 401}, 401), ({"keys": 403}, 403), ({"keys": 400}, 403)])
def test_a_refusal_with_another_status_counts_as_a_missing_permission(
    estate: make.Estate, told: dict[str, int], kept: int
) -> None:
    refused_tokens.note_refused(estate.qa.environment, "env:QA_READ", told)
    assert RefusedToken.objects.get().status == kept


def test_clocks_that_differ_are_an_alarm(operator: Client, estate: make.Estate) -> None:
    skew = Skew(environment=estate.qa.environment, service="r2", measured_at=timezone.now())
    skew.seconds = timing.SKEW + 30
    skew.save()
    text = overview(operator)
    assert "The clocks of the database and of R2 differ" in text
    assert "QA: they differ by 90 seconds, so nothing is deleted or restored." in text


def test_a_run_that_waits_long_is_an_alarm(operator: Client, estate: make.Estate) -> None:
    with log.transaction():
        run = run_driver.create(
            Run.Kind.SCAN,
            subject="namespace:1",
            label="qa/SETTINGS",
            actor=make.SETUP,
            environment=estate.qa.environment,
        )
    Run.objects.filter(pk=run.pk).update(waiting_since=timezone.now() - timedelta(seconds=timing.WAITING_TOLD / 2))
    assert "waits for a service" not in overview(operator)
    Run.objects.filter(pk=run.pk).update(waiting_since=timezone.now() - timedelta(seconds=timing.WAITING_TOLD + 9))
    assert "Work of QA waits for a service" in overview(operator)
