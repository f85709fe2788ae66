"""A masked value is revealed to an operator, or to the reviewer of a pending request about it, with a reason."""

import secrets
from typing import TYPE_CHECKING

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from audit.models import Entry
from backups.cleanup import requests as cleanup_requests
from kvops.inventory import scan as inventory_scan
from kvops.models import Category
from kvops.runbook import entries as runbook_entries
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import fresh, signed_in

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer

    from kvops.models import Person

REVEAL = "/key/qa/SETTINGS/reveal"
CANARY = f"canary-{secrets.token_hex(12)}"
NAME = "system-root"


@pytest.fixture
def scanned(estate: make.Estate) -> make.Estate:
    estate.put(estate.qa, NAME, CANARY.encode(), metadata='{"note":"for mail"}')
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    return estate


def ask(client: Client, reason: str = "mail is down", name: str = NAME, **more: str) -> "Answer":
    return client.post(REVEAL, {"name": name, "reason": reason, **more})


def recorded() -> list[Entry]:
    return list(Entry.objects.filter(action="value.revealed"))


def test_an_operator_sees_the_value_and_the_metadata_with_a_reason(scanned: make.Estate, people: make.People) -> None:
    answer = ask(fresh(people.operator))
    page = answer.content.decode()
    assert CANARY in page
    assert "{&quot;note&quot;:&quot;for mail&quot;}" in page
    assert "no-store" in answer["Cache-Control"]


def test_the_page_leaves_the_value_after_a_minute_without_a_script(scanned: make.Estate, people: make.People) -> None:
    answer = ask(fresh(people.operator))
    assert answer["Refresh"] == f"60; url=/key/qa/SETTINGS/?name={NAME}"
    page = answer.content.decode()
    assert "hides the value again after 60 seconds" in page
    assert f'data-hide-after="60" data-hide-to="/key/qa/SETTINGS/?name={NAME}"' in page


def test_who_key_and_reason_are_recorded_and_never_the_value(scanned: make.Estate, people: make.People) -> None:
    ask(fresh(people.operator))
    [entry] = recorded()
    assert (entry.actor_id, entry.environment, entry.subject_label) == (people.operator.pk, "qa", "qa/SETTINGS")
    assert entry.details == {"key": NAME, "reason": "mail is down"}
    assert CANARY not in str(Entry.objects.values())


def test_the_runbook_has_it_with_the_command_of_wrangler(scanned: make.Estate, people: make.People) -> None:
    ask(fresh(people.operator))
    [entry] = recorded()
    shown = runbook_entries.entry_of(entry.seq)
    assert shown is not None
    assert (shown.title, shown.about) == ("Masked value revealed", NAME)
    assert f"npx wrangler kv key get {NAME}" in shown.command
    page = signed_in(people.auditor).get(shown.url).content.decode()
    assert "mail is down" in page
    assert CANARY not in page


@pytest.mark.parametrize("formatted", ["", "json"])
def test_json_is_laid_out_on_request(scanned: make.Estate, people: make.People, formatted: str) -> None:
    scanned.put(scanned.qa, NAME, b'{"a":[1]}')
    shown = ask(fresh(people.operator), layout=formatted).context["live"].shown
    assert shown == ('{\n  "a": [\n    1\n  ]\n}' if formatted else '{"a":[1]}')


def test_the_password_is_asked_for_again_and_the_value_follows(scanned: make.Estate, people: make.People) -> None:
    browser = signed_in(people.operator)
    answer = ask(browser)
    assert answer["Location"].startswith("/account/reauthenticate/")
    assert not recorded()
    page = browser.post(answer["Location"], {"password": make.PASSWORD, "next": REVEAL})
    assert CANARY in page.content.decode()
    assert page["Refresh"].startswith("60; url=/key/qa/SETTINGS/")
    assert "no-store" in page["Cache-Control"]
    assert CANARY not in "".join(str(one.get_decoded()) for one in Session.objects.all())


def test_a_password_sent_twice_ends_at_the_keys(scanned: make.Estate, people: make.People) -> None:
    assert fresh(people.operator).get(REVEAL)["Location"] == "/keys/qa/SETTINGS/"


def test_an_auditor_cannot(scanned: make.Estate, people: make.People) -> None:
    assert ask(fresh(people.auditor)).status_code == 403
    assert not recorded()


def refused(person: "Person", sentence: str, name: str = NAME) -> None:
    answer = ask(fresh(person), name=name)
    assert answer.status_code == 409
    assert sentence in answer.content.decode()
    assert CANARY not in answer.content.decode()
    assert not recorded()
    assert Entry.objects.filter(action="refused", actor_id=person.pk).exists()


def test_a_reviewer_without_a_pending_request_cannot(scanned: make.Estate, people: make.People) -> None:
    refused(people.reviewer, "Only an operator, or the reviewer of a pending request about this key")


def submitted(estate: make.Estate, people: make.People) -> int:
    """A request to delete the key, which waits for its reviewer."""
    cleanup_helpers.scan(estate.qa, estate.production)
    asked = cleanup_requests.request(
        binding="SETTINGS", prefix=NAME, exact=True, reason="no longer needed", by=people.operator
    )
    stage = cleanup_helpers.submitted(asked, people)
    assert stage.approval is not None
    return stage.approval.pk


@pytest.mark.usefixtures("encrypting")
def test_the_reviewer_of_a_pending_request_about_the_key_can(scanned: make.Estate, people: make.People) -> None:
    asked = submitted(scanned, people)
    assert CANARY in ask(fresh(people.reviewer)).content.decode()
    assert recorded()[0].details["approval"] == asked
    assert "Reveal the value" in signed_in(people.reviewer).get("/key/qa/SETTINGS/", {"name": NAME}).content.decode()


def test_a_value_whose_reveal_cannot_be_recorded_is_not_shown(
    scanned: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = fresh(people.operator)
    browser.raise_request_exception = False

    def broken(*_args: object, **_more: object) -> None:
        raise ValueError("no entry")

    monkeypatch.setattr("kvops.inventory.reveal.record", broken)
    answer = ask(browser)
    assert answer.status_code == 500
    assert CANARY not in answer.content.decode()


@pytest.mark.parametrize("name", ["a\nb", "[U+000A]", "tab\tx"])
def test_the_name_survives_the_form(scanned: make.Estate, people: make.People, name: str) -> None:
    make.family(name, Category.SETTINGS)
    scanned.put(scanned.qa, name, CANARY.encode())
    page = fresh(people.operator).get("/key/qa/SETTINGS/", {"name": name})
    assert CANARY in ask(fresh(people.operator), name=page.context["form"]["name"].value()).content.decode()
    assert recorded()[0].details["key"] == name


def test_what_cloudflare_refuses_is_said_and_not_recorded(scanned: make.Estate, people: make.People) -> None:
    scanned.cloudflare.fault("value", "429", times=9, seconds=60)
    answer = ask(fresh(people.operator))
    assert answer.context["failure"]
    assert not recorded()


def test_a_key_that_is_gone_is_said(scanned: make.Estate, people: make.People) -> None:
    scanned.cloudflare.namespace(scanned.qa.namespace_id).delete(NAME)
    assert "does not exist any more" in ask(fresh(people.operator)).content.decode()
    assert not recorded()


def test_the_story_of_the_key_tells_the_reveal_to_an_auditor(scanned: make.Estate, people: make.People) -> None:
    ask(fresh(people.operator))
    page = signed_in(people.auditor).get("/key/qa/SETTINGS/", {"name": NAME}).content.decode()
    assert "Masked value revealed" in page
    assert CANARY not in page
    found = signed_in(people.auditor).get("/audit/", {"key": NAME}).content.decode()
    assert "Masked value revealed" in found


def test_a_login_without_a_password_cannot(scanned: make.Estate, people: make.People) -> None:
    login = people.operator.logins.get()
    login.set_unusable_password()
    login.save()
    answer = ask(signed_in(people.operator))
    assert answer.status_code == 403
    assert "This needs a password of your own." in answer.content.decode()
