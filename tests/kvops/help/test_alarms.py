"""Every alarm has help, and the overview and messages lead to it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core import mail
from django.test import Client
from django.urls import reverse

from audit import log
from kvops.help import alarms as help_alarms
from kvops.models import Notification, NotificationEvent, Person
from kvops.notifications import outbox, senders
from kvops.overview.key_alarms import Alarm
from tests import make
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[3]
NEWS = {
    "approval.waiting", "approval.decided", "approval.expiring", "run.finished", "backup.for_deletion",
    "generation.made", "person.changed", "person.invited",
}  # fmt: skip
"""Events that are no alarms."""


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def codes_in_the_product() -> Iterator[ast.expr]:
    """The second argument of each `Alarm(...)`."""
    for floor in ("kvops", "backups"):
        for path in (ROOT / floor).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Alarm":
                    yield node.args[1]


def test_every_alarm_of_the_overview_has_help() -> None:
    found = list(codes_in_the_product())
    assert len(found) > 20
    fixed = {code.value for code in found if isinstance(code, ast.Constant)}
    assert fixed <= help_alarms.BY_CODE.keys()
    made = [code.values[0] for code in found if isinstance(code, ast.JoinedStr)]
    beginnings = [part.value for part in made if isinstance(part, ast.Constant)]
    assert sorted(map(str, beginnings)) == ["object.", "process."]
    assert {"process.sweep", "process.worker"} <= help_alarms.BY_CODE.keys()


def test_every_event_is_news_or_has_help() -> None:
    events = {event.value for event in NotificationEvent}
    assert {event for event in events if event not in help_alarms.BY_CODE} == NEWS


def test_no_code_has_two_meanings() -> None:
    codes = [one.code for group in help_alarms.GROUPS for one in group.alarms]
    assert len(codes) == len(set(codes))


def test_the_page_has_each_alarm_under_its_anchor(operator: Client) -> None:
    text = operator.get(reverse("help-alarms")).content.decode()
    assert [code for code in help_alarms.BY_CODE if f'id="{code}"' not in text] == []
    assert "Start manage.py worker, and read its log." in text


def test_the_page_is_there_in_japanese(operator: Client) -> None:
    operator.cookies["django_language"] = "ja"
    assert "アラームと対処" in operator.get(reverse("help-alarms")).content.decode()


def test_every_page_that_the_help_names_exists(operator: Client) -> None:
    pages = {one.page for one in help_alarms.BY_CODE.values()}
    assert {page: operator.get(reverse(page)).status_code for page in pages} == dict.fromkeys(pages, 200)


def test_an_alarm_of_the_overview_leads_to_its_help(operator: Client, estate: make.Estate) -> None:
    text = operator.get("/").content.decode()
    assert f' href="{help_alarms.address("process.sweep")}">' in text


def test_an_alarm_without_help_has_no_address() -> None:
    assert Alarm("danger", "no.such", "Title", "Text").help == ""


def test_the_mail_of_an_alarm_has_the_address_of_its_help(people: make.People) -> None:
    body = mailed(NotificationEvent.GENERATION_DAMAGED)
    assert "Meaning and next step:\n" in body
    assert body.rstrip().endswith("/help/alarms/#generation.damaged")


def test_the_mail_of_news_has_no_help(people: make.People) -> None:
    assert "/help/" not in mailed(NotificationEvent.GENERATION_MADE, people.operator)


def test_a_slack_message_has_the_address_of_the_help() -> None:
    message = senders.Message(
        1, "Title", [], "", "", "Meaning and next step:\nhttps://kvops/help/alarms/#run.failed", ""
    )
    assert "#run.failed" in str(senders.blocks(message)["blocks"])


def mailed(event: NotificationEvent, *to: Person) -> str:
    """The body of the first mail of an event."""
    with log.transaction():
        outbox.post(event, subject="generation:1", title="Title", link="/backups/", to=to)
    outbox.deliver(Notification.objects.earliest("pk").pk)
    return str(mail.outbox[0].body)
