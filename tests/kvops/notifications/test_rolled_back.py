"""A database that was rolled back: everybody who can act is told, until it is accepted."""

import re
from ipaddress import ip_network

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from kvops import rollback
from kvops.models import DatabaseRollback, Environment, Notification
from kvops.supervision import heartbeats, sweep
from tests import make
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def rolled_back(estate: make.Estate) -> DatabaseRollback:
    """The bucket of QA has a manifest that names an entry which this database does not have; all else is well."""
    for name in ("worker", "sweep", "canary"):
        heartbeats.beat(name)
    qa = estate.qa.environment
    Environment.objects.filter(pk=qa.pk).update(slack="env:SLACK")
    found = rollback.compare_manifest(qa, rollback.Seen("a.manifest.json", timezone.now(), 999_999, "b" * 64))
    assert found is not None
    return found


def accept(found: DatabaseRollback) -> None:
    DatabaseRollback.objects.filter(pk=found.pk).update(
        accepted_at=Now(), accepted_by="somebody", reason="a test as agreed"
    )


def test_the_team_and_the_channel_are_told_once_with_the_way_out(
    rolled_back: DatabaseRollback, people: make.People
) -> None:
    sweep.sweep_once()
    sweep.sweep_once()
    told = Notification.objects.filter(event="database.rolled_back")
    recipients = [one.person.email if one.person else "channel" for one in told]
    assert {people.operator.email, people.reviewer.email, "channel"} <= set(recipients)
    assert len(recipients) == len(set(recipients))
    assert "manage.py accept_restored_database" in told[0].lines[-1]


def test_the_health_of_work_is_503_until_it_is_accepted(rolled_back: DatabaseRollback, people: make.People) -> None:
    answer = signed_in(people.auditor).get("/healthz/work")
    assert answer.status_code == 503
    assert "manage.py accept_restored_database" in answer.content.decode()
    accept(rolled_back)
    assert Client().get("/healthz/work").status_code == 200


def test_it_is_a_metric_and_no_work_that_goes_on(rolled_back: DatabaseRollback, settings: Settings) -> None:
    settings.KVOPS_METRICS_HOSTS = (ip_network("127.0.0.1"),)
    numbers = Client().get("/metrics").content.decode()
    assert "kvops_database_rolled_back 1.0" in numbers
    assert re.search("^# HELP kvops_database_rolled_back .* accept_restored_database ", numbers, re.MULTILINE)
    assert "kvops_work_goes_on 0.0" in numbers
    accept(rolled_back)
    assert "kvops_database_rolled_back 0.0" in Client().get("/metrics").content.decode()


def test_it_is_an_alarm_and_a_banner_that_name_the_way_out(rolled_back: DatabaseRollback, people: make.People) -> None:
    text = signed_in(people.operator).get("/").content.decode()
    assert "so KVOps is read-only. Restore a newer state of the database, or run" in text
    assert "<code>manage.py accept_restored_database</code>" in text
    accept(rolled_back)
    assert "accept_restored_database" not in signed_in(people.operator).get("/").content.decode()
