"""Clocks that differ by more than a minute are told once a day, to operators, reviewers and the channel."""

from datetime import UTC, datetime, timedelta

import pytest

from kvops.models import Environment, Notification, Skew
from kvops.supervision import sweep
from tests import make

pytestmark = pytest.mark.django_db
MORNING = datetime(2026, 11, 30, 1, 0, tzinfo=UTC)


def measure(environment: Environment, seconds: float, at: datetime = MORNING) -> None:
    """A measurement of the clock of R2."""
    Skew.objects.update_or_create(
        environment=environment, service=Skew.Service.R2, defaults={"seconds": seconds, "measured_at": at}
    )


def messages() -> list[tuple[str, str]]:
    """Recipient and title of each message."""
    found = Notification.objects.filter(event="clock.apart").order_by("pk")
    return [(one.person.email if one.person else "channel", one.title) for one in found]


def test_a_clock_that_is_wrong_is_told_once_a_day_to_the_team_and_the_channel(
    estate: make.Estate, people: make.People
) -> None:
    qa = estate.qa.environment
    Environment.objects.filter(pk=qa.pk).update(slack="env:SLACK")
    measure(qa, -179.4)
    sweep.sweep_once()
    measure(qa, -180.0, MORNING + timedelta(hours=5))
    sweep.sweep_once()
    told = messages()
    assert {who for who, _title in told} >= {people.operator.email, people.reviewer.email, "channel"}
    assert people.auditor.email not in {who for who, _title in told}
    assert {title for _who, title in told} == {f"The clocks of the database and of R2 in {qa.name} differ"}
    assert "differ by 179 s" in Notification.objects.filter(event="clock.apart")[0].lines[0]
    measure(qa, -180.0, MORNING + timedelta(days=1))
    sweep.sweep_once()
    assert len(messages()) == 2 * len(told)


def test_a_clock_that_differs_from_all_services_is_one_message_to_each(
    estate: make.Estate, people: make.People
) -> None:
    for environment in (estate.qa.environment, estate.production.environment):
        measure(environment, 61.0)
    sweep.sweep_once()
    found = Notification.objects.filter(event="clock.apart")
    assert set(found.values_list("bundle", flat=True)) == {"clocks 2026-11-30"}
    assert found.filter(person=people.operator.pk).count() == 2


def test_a_clock_that_is_right_is_told_to_nobody(estate: make.Estate, people: make.People) -> None:
    measure(estate.qa.environment, 59.0)
    sweep.sweep_once()
    assert messages() == []
