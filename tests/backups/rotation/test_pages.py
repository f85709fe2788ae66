"""Due and overdue values on the pages and in the owners' mail. No value is ever shown."""

from dataclasses import replace
from datetime import UTC, timedelta

import pytest
from django.db.models.functions import Now

from audit import log
from backups.models import Generation
from backups.rotation import ages as value_ages, announcements as rotation_announcements
from backups.templatetags.rotation import rotation_alarms
from kvops.models import Environment, Notification, Person
from tests import make
from tests.backups.restores import helpers as restore_helpers
from tests.backups.rotation.test_ages import later, secret
from tests.signing import signed_in

__all__ = ["secret"]
pytestmark = pytest.mark.django_db


@pytest.fixture
def backed_up(secret: make.Estate, people: make.People) -> make.Estate:
    """The secret in a backup; its family has an owner with a login."""
    make.change_families("system-root", owner=people.auditor.email)
    restore_helpers.verified_backup(secret.qa, "system-root")
    return secret


def told() -> list[tuple[str, Person | None]]:
    """The notifications after a round of the schedule: the title and the recipient."""
    with log.transaction():
        rotation_announcements.in_time(Environment.objects.get(slug="qa"), make.SETUP)
    found = Notification.objects.filter(event__startswith="rotation.").order_by("pk")
    return [(one.title, one.person) for one in found]


def test_a_fresh_value_is_no_alarm(backed_up: make.Estate) -> None:
    assert (told(), rotation_alarms(value_ages.ruled())) == ([], [])


def test_a_due_value_is_told_to_its_owner_once(
    backed_up: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, 80)
    assert told() == told() == [("qa system-root: 1 value is due for rotation", people.auditor)]
    [alarm] = rotation_alarms(value_ages.ruled())
    assert (alarm.level, alarm.text) == ("warning", "qa system-root")
    assert alarm.url == "/backups/rotation/?state=due"


def test_the_overview_reads_digests_only_if_a_backup_is_nearly_as_old_as_the_rule(
    backed_up: make.Estate, people: make.People
) -> None:
    assert not value_ages.perhaps_due().exists()
    with make.past_the_triggers():
        Generation.objects.update(started_at=Now() - timedelta(days=80))
    assert list(map(str, value_ages.perhaps_due())) == ["system-root"]
    assert "1 settings value is due for rotation within 14 days" in signed_in(people.auditor).get("/").text


def test_a_due_value_of_a_family_without_an_owner_is_told_to_the_operators(
    backed_up: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    make.change_families("system-root", owner="platform")
    later(monkeypatch, 80)
    assert {person for _title, person in told()} == {people.operator, people.operator2}


def test_another_value_of_the_family_is_told_also_if_it_was_due_before(
    backed_up: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    due = value_ages.ruled(backed_up.qa.environment)
    earlier = replace(due[0], name="system-root2", since=due[0].since and due[0].since - timedelta(hours=1))
    later(monkeypatch, 80)
    told()
    now = due[0].now + timedelta(days=80)
    both = [replace(one, now=now) for one in (due[0], earlier)]
    monkeypatch.setattr(rotation_announcements, "ruled", lambda _environment: both)
    assert [title for title, _person in told()][-1] == "qa system-root: 2 values are due for rotation"


def test_an_overdue_value_is_told_to_the_operators_too(
    backed_up: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, 91)
    titles, persons = zip(*told(), strict=True)
    assert set(titles) == {"qa system-root: 1 value is overdue for rotation"}
    assert set(persons) == {people.auditor, people.operator, people.operator2}


def test_the_list_has_the_age_the_due_date_and_the_owner_of_a_value(
    backed_up: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    later(monkeypatch, 91)
    shown = signed_in(people.operator).get("/backups/rotation/?state=overdue")
    [value] = shown.context["values"]
    due = f'datetime="{value.due_at.astimezone(UTC).isoformat()}"'
    assert [part for part in ("91 days", due, people.auditor.email) if part not in shown.text] == []


def test_the_pages_lead_to_the_list_and_have_no_value(backed_up: make.Estate, people: make.People) -> None:
    with make.past_the_triggers():
        Generation.objects.update(started_at=Now() - timedelta(days=91))
    auditor = signed_in(people.auditor)
    for address in ("/backups/rotation/", "/key/qa/SETTINGS/?name=system-root", "/categories/", "/"):
        page = auditor.get(address).content.decode()
        assert "/backups/rotation/" in page
        assert "hunter2" not in page


@pytest.mark.parametrize("query", ["?state=fresh", "?environment=production", "?family=0", "?after=x", "?after=100"])
def test_filters_narrow_the_list_down(
    backed_up: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    later(monkeypatch, 91)
    assert signed_in(people.auditor).get(f"/backups/rotation/{query}").context["values"] == []
