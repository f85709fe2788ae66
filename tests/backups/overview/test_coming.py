"""The days from which backups can be deleted, among the next 14 days of the overview."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, cast

import pytest
from django.test import Client

from backups.bucket import protection as bucket_protection
from backups.models import BucketProtection
from backups.retention import pins
from kvops import clock
from kvops.overview.coming import ComingEvent
from tests import make
from tests.backups.retention.backups_of_any_age import backup_of_age
from tests.signing import signed_in

if TYPE_CHECKING:
    from kvops.overview import page as overview_page

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def going(client: Client) -> Sequence[ComingEvent]:
    overview = cast("overview_page.Overview", client.get("/").context["overview"])
    return [event for event, _environments in overview.events if "can be deleted" in event.text]


def days_left(event: ComingEvent) -> int:
    return round((event.at - clock.now()) / timedelta(days=1))


def locked(estate: make.Estate, **rule: object) -> None:
    read = bucket_protection.ask_cloudflare(estate.qa.environment)
    BucketProtection.objects.filter(pk=read.pk).update(rules=[{"id": "x", "prefix": "", "enabled": True, **rule}])


def test_the_day_is_the_one_from_which_a_backup_can_be_deleted_and_it_can_be_pinned(
    estate: make.Estate, operator: Client
) -> None:
    make.change_families(retain_days=30)
    soon, _later, newest = (backup_of_age(estate.qa, days) for days in (20, 12, 1))
    [event] = going(operator)
    assert (event.text, days_left(event)) == ("1 backup of master:* can be deleted from then", 10)
    assert event.url == "/retention/?environment=qa&state=soon"
    shown = operator.get("/").content.decode()
    assert f'href="/backups/{soon.pk}/pin"' in shown
    assert f'href="/backups/{newest.pk}/pin"' not in shown  # nothing replaces it


def test_it_has_the_backups_that_retention_lists_with_a_day_to_come(
    estate: make.Estate, operator: Client, people: make.People
) -> None:
    make.change_families(retain_days=30)
    pinned = backup_of_age(estate.qa, 25)
    pins.pin(pinned, reason="Still needed", by=people.auditor)
    backup_of_age(estate.qa, 22, purpose="restore")
    for days in (40, 20.1, 20.2, 18, 12, 1):
        backup_of_age(estate.qa, days)
    listed = [kept.verdict for kept in operator.get("/retention/?state=soon").context["backups"]]
    waiting = sorted(one.due_at for one in listed if one.state == "waiting")
    assert len(waiting) == 4
    events = going(operator)
    assert sum(int(event.text.split()[0]) for event in events) == 4
    assert {event.at for event in events} <= set(waiting)


@pytest.mark.parametrize("rule", [{"seconds": 24 * 86_400}, {"seconds": None, "date": "soon"}])
def test_a_lock_that_ends_later_sets_the_day(estate: make.Estate, operator: Client, rule: dict[str, object]) -> None:
    make.change_families(retain_days=14)
    backup_of_age(estate.qa, 20)
    backup_of_age(estate.qa, 0.1)
    assert going(operator) == []
    if "date" in rule:
        rule["date"] = (clock.now() + timedelta(days=4)).isoformat()
    locked(estate, **rule)
    assert 4 in [days_left(event) for event in going(operator)]


def test_families_with_other_rules_are_held_apart(estate: make.Estate, operator: Client) -> None:
    make.change_families("system-root", retain_days=90)
    make.change_families("master:", retain_days=14)
    for prefix, days in (("master:", 10), ("system-root", 85), ("system-root", 40)):
        backup_of_age(estate.qa, days, prefixes=[prefix])
    for prefix in "master:", "system-root":
        backup_of_age(estate.qa, 1, prefixes=[prefix])
    told = [(days_left(event), event.text) for event in going(operator)]
    assert told == [
        (4, "1 backup of master:* can be deleted from then"),
        (5, "1 backup of system-root* can be deleted from then"),
    ]


def test_with_very_many_of_them_the_overview_says_that_there_are_more(
    estate: make.Estate, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.change_families(retain_days=30)
    for days in (22, 20, 18, 1):
        backup_of_age(estate.qa, days)
    monkeypatch.setattr("backups.retention.waiting.DECIDED", 2)
    assert [days_left(event) for event in going(operator)] == [8, 10, 14]
    assert "More backups than these can be deleted by then" in operator.get("/").content.decode()
