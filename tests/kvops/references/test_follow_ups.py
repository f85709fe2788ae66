"""Overdue follow-ups: their owner and the operators hear of each once a day, and of no other."""

from datetime import date, timedelta

import pytest

from audit import log
from kvops.models import Environment, Family, Notification, NotificationEvent, ReferenceAnswer
from kvops.references import follow_ups, store as reference_store
from tests import make
from tests.kvops.references import reports

pytestmark = pytest.mark.django_db


def follow_up(environment: Environment, people: make.People, due: date) -> ReferenceAnswer:
    search = reference_store.store(environment, reports.report(reports.hit()), source="file", by=make.SETUP)
    hit = search.hits.get()
    what = {"kind": "follow_up", "follow_up": "flag", "owner": people.auditor, "due": due, "reason": "x"}
    family = Family.objects.get(pattern="master:")
    return ReferenceAnswer.objects.create(
        family=family, hit=hit, fingerprint=hit.fingerprint, by=people.operator, **what
    )


def told(environment: Environment) -> list[str]:
    with log.transaction():
        assert follow_ups.in_time(environment, make.SETUP).runs == []
    found = Notification.objects.filter(event=NotificationEvent.FOLLOW_UP_OVERDUE)
    return sorted(str(one.person) for one in found)


def test_owner_and_operators_hear_of_an_overdue_follow_up_once_a_day(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = follow_ups.today() - timedelta(days=1)
    follow_up(estate.qa.environment, people, due)
    once = sorted(map(str, [people.auditor, people.operator, people.operator2]))
    assert told(estate.qa.environment) == once
    assert told(estate.qa.environment) == once
    tomorrow = follow_ups.today() + timedelta(days=1)
    monkeypatch.setattr(follow_ups, "today", lambda: tomorrow)
    assert told(estate.qa.environment) == sorted(once * 2)
    message = Notification.objects.earliest("pk")
    assert message.title == f"Overdue since {due}: remove the flag or fallback, functions/clinics.ts:7"
    assert message.lines[0] == "SETTINGS master:*"
    assert message.link == "/references/follow-ups/"


def test_nobody_hears_of_a_follow_up_of_today_of_another_environment_or_that_is_done(
    estate: make.Estate, people: make.People
) -> None:
    follow_up(estate.qa.environment, people, follow_ups.today())
    assert told(estate.qa.environment) == []
    follow_up(estate.production.environment, people, follow_ups.today() - timedelta(days=1))
    assert told(estate.qa.environment) == []
    reference_store.store(estate.production.environment, reports.report(hours=1), source="file", by=make.SETUP)
    assert told(estate.production.environment) == []
