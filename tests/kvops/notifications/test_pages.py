"""The page of the notifications, the alarm about what did not arrive, and the language of a person's mails."""

import pytest
from django.db.models.functions import Now

from kvops.models import Environment, Notification, Person
from tests import make
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


def made(person: Person, state: str = "failed", **more: object) -> Notification:
    values = {"event": "run.failed", "subject": "run:1", "title": "A run failed", "link": "/runs/1/", "error": "Why"}
    return Notification.objects.create(person=person, state=state, language="en", **{**values, **more})


def text(browser_of: Person, address: str = "/notifications/") -> str:
    return signed_in(browser_of).get(address).content.decode()


def test_a_page_without_notifications_says_what_comes(people: make.People) -> None:
    assert "No notifications yet" in text(people.auditor)


def test_an_environment_without_a_channel_is_named(estate: make.Estate, people: make.People) -> None:
    Environment.objects.filter(slug="qa").update(slack="env:X")
    page = text(people.auditor)
    assert "Production has no Slack channel" in page
    assert "QA has no Slack channel" not in page


def test_a_notification_says_what_to_whom_and_why_not(people: make.People) -> None:
    made(people.reviewer)
    page = text(people.auditor)
    assert all(part in page for part in ('href="/runs/1/">A run failed</a>', "reviewer@example.com", "Why"))
    assert "Send again" not in page
    assert "Send again" in text(people.operator)


def test_the_filters_stand_in_the_address(people: make.People) -> None:
    made(people.reviewer)
    made(people.operator, state="delivered", delivered_at=Now(), title="Well", subject="run:2")
    assert "Well" not in text(people.auditor, "/notifications/?state=undelivered")
    assert "A run failed" not in text(people.auditor, "/notifications/?recipient=operator@")
    assert "Nothing matches" in text(people.auditor, "/notifications/?event=run.finished")
    assert "A filter cannot be read" in text(people.auditor, "/notifications/?state=x")


def test_an_operator_has_it_sent_again_or_gives_it_up(people: make.People) -> None:
    again, dropped = made(people.reviewer), made(people.operator)
    browser = signed_in(people.operator)
    browser.post(f"/notifications/{again.pk}/again")
    browser.post(f"/notifications/{dropped.pk}/drop")
    states = Notification.objects.order_by("pk").values_list("state", flat=True)
    assert list(states) == ["waiting", "dropped"]
    page = browser.post(f"/notifications/{again.pk}/again", follow=True).content.decode()
    assert "no longer among the failed ones" in page


def test_what_did_not_arrive_is_an_alarm(people: make.People) -> None:
    made(people.reviewer)
    assert "1 notification could not be delivered" in text(people.operator, "/")
    Notification.objects.update(state="dropped")
    assert "could not be delivered" not in text(people.operator, "/")


def test_who_chooses_a_language_gets_their_mails_in_it(people: make.People) -> None:
    signed_in(people.operator).post("/i18n/setlang/", {"language": "ja"})
    signed_in(people.reviewer).post("/i18n/setlang/", {"language": "tlh"})
    people.operator.refresh_from_db()
    people.reviewer.refresh_from_db()
    assert (people.operator.language, people.reviewer.language) == ("ja", "")
