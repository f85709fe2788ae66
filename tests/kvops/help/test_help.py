"""Every alarm has help, and the overview and messages lead to it; the words of the product in both languages."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core import mail
from django.test import Client
from django.test.utils import override_script_prefix
from django.urls import reverse

from audit import log
from kvops import permissions
from kvops.help import pages as help_pages
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
CODES = set(help_pages.text("en").anchors)


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
    assert fixed <= CODES
    made = [code.values[0] for code in found if isinstance(code, ast.JoinedStr)]
    beginnings = [part.value for part in made if isinstance(part, ast.Constant)]
    assert sorted(map(str, beginnings)) == ["object.", "process."]
    assert {"process.sweep", "process.worker"} <= CODES


def test_every_event_is_news_or_has_help() -> None:
    assert {event.value for event in NotificationEvent if event.value not in CODES} == NEWS


def test_both_languages_have_the_same_anchors_and_each_once() -> None:
    anchors = help_pages.text("en").anchors
    assert len(anchors) == len(set(anchors)) > 90
    assert help_pages.text("ja").anchors == anchors


@pytest.mark.parametrize("language", ["en", "ja"])
def test_the_page_has_each_text_under_its_anchor_and_leads_on(operator: Client, language: str) -> None:
    operator.cookies["django_language"] = language
    html = operator.get(reverse("help")).text
    assert [code for code in help_pages.text(language).anchors if f'id="{code}"' not in html] == []
    links = set(re.findall(r'<a href="(/[^"]*)"', help_pages.text(language).html))
    assert {link: operator.get(link).status_code for link in links} == dict.fromkeys(links, 200)
    assert [mark for mark in ("{#", "**") if mark in html] == []


def test_the_links_follow_an_installation_below_a_path(operator: Client) -> None:
    with override_script_prefix("/kv/"):
        assert '<a href="/kv/runs/">' in operator.get("/help/").text


def test_a_word_stands_beside_that_of_the_other_language() -> None:
    assert '<em lang="ja">4眼原則</em>' in help_pages.text("en").html
    assert '<em lang="en">Four-eyes principle</em>' in help_pages.text("ja").html


@pytest.mark.parametrize("spoken", ["4眼原則", "世代", "退避", "整合性チェック", "運用ノート", "本番"])
def test_the_words_of_the_policy_are_among_them(spoken: str) -> None:
    assert re.search(rf'<li id="[^"]*"><strong><a [^>]*>[^<]*{spoken}', help_pages.text("ja").html)


def test_the_auditor_is_said_to_have_the_rights_of_the_role() -> None:
    rights = {right for right, roles in permissions.PERMISSIONS.items() if "auditor" in roles}
    assert rights == {"kvops.view", "audit.view_entry", "kvops.stop", "kvops.pin", "kvops.note"}
    [said] = re.findall(r'<li id="auditor">.*</li>', help_pages.text("en").html)
    assert [word for word in ("every page", "no value", "stop", "pin", "note") if word not in said] == []


def test_each_page_leads_to_the_words(operator: Client) -> None:
    assert 'href="/help/#words"' in operator.get(reverse("runs")).text


def test_an_alarm_of_the_overview_leads_to_its_help(operator: Client, estate: make.Estate) -> None:
    text = operator.get("/").content.decode()
    assert f' href="{help_pages.address("process.sweep")}">' in text


def test_an_alarm_without_help_has_no_address() -> None:
    assert Alarm("danger", "no.such", "Title", "Text").help == ""


def test_the_mail_of_an_alarm_has_the_address_of_its_help(people: make.People) -> None:
    body = mailed(NotificationEvent.GENERATION_DAMAGED)
    assert "Meaning and next step:\n" in body
    assert body.rstrip().endswith("/help/#generation.damaged")


def test_the_mail_of_news_has_no_help(people: make.People) -> None:
    assert "/help/" not in mailed(NotificationEvent.GENERATION_MADE, people.operator)


def test_a_slack_message_has_the_address_of_the_help() -> None:
    message = senders.Message(1, "Title", [], "", "", "Meaning and next step:\nhttps://kvops/help/#run.failed", "")
    assert "#run.failed" in str(senders.blocks(message)["blocks"])


def mailed(event: NotificationEvent, *to: Person) -> str:
    """The body of the first mail of an event."""
    with log.transaction():
        outbox.post(event, subject="generation:1", title="Title", link="/backups/", to=to)
    outbox.deliver(Notification.objects.earliest("pk").pk)
    return str(mail.outbox[0].body)
