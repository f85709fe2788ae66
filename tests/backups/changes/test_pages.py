"""The pages of changes: the editor, the page of one change, the request, and the reveal of both values."""

import secrets
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
from django.contrib.sessions.models import Session
from django.test import Client

from audit.models import Entry
from backups.changes import propose, requests as change_requests
from backups.models import KeyChange
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.inventory import families, story as key_story
from kvops.models import ApprovalRequest
from kvops.operations import registry
from tests import make
from tests.backups.changes import helpers as change_helpers
from tests.backups.changes.helpers import KEY, NEW, OLD
from tests.signing import fresh, signed_in

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Answer

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting")]
EDITOR = "/changes/new/qa/SETTINGS/"
LOAD = f"{EDITOR}load"
CANARY = f"canary-{secrets.token_hex(12)}"
KEPT = {"keep_metadata": "on", "keep_expiration": "on"}
State = KeyChange.State


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    monkeypatch.setattr(timing, "STALE", 0.05)


@pytest.fixture
def mail(estate: make.Estate) -> make.Estate:
    return change_helpers.ready(estate)


def post(client: Client, **form: str) -> "Answer":
    return client.post(EDITOR, {"name": KEY, "value": NEW.decode(), **KEPT, **form})


def newest() -> KeyChange:
    return change_helpers.fresh(KeyChange.objects.latest("pk"))


def test_the_keys_page_leads_to_the_editor(mail: make.Estate, people: make.People) -> None:
    browser = signed_in(people.operator)
    page = browser.get("/key/qa/SETTINGS/", {"name": KEY}).content.decode()
    assert f'href="{EDITOR}?name=mail%3Asmtp"' in page
    form = browser.get(EDITOR, {"name": KEY}).context["form"]
    assert (form["name"].value(), form["keep_value"].value(), form["value"].value()) == (KEY, True, None)


@pytest.mark.parametrize("part", ["value", "metadata", "expiration"])
def test_typing_a_part_unticks_that_it_stays_as_it_is(mail: make.Estate, people: make.People, part: str) -> None:
    form = signed_in(people.operator).get(EDITOR, {"name": KEY}).context["form"]
    assert form[part].field.widget.attrs["data-unticks"] == form[f"keep_{part}"].html_name
    assert f'data-unticks="keep_{part}"' in str(form[part])
    assert "input.dataset.unticks" in Path("static/js/kvops.js").read_text("utf-8")


def test_a_change_is_proposed_from_the_editor(mail: make.Estate, people: make.People) -> None:
    answer = post(signed_in(people.operator))
    assert answer.headers["Location"] == f"/changes/{newest().pk}/"
    assert newest().parts == ["value"]
    assert "no-store" in answer["Cache-Control"]


def test_the_editor_is_filled_after_the_password_and_with_a_reason(mail: make.Estate, people: make.People) -> None:
    mail.put(mail.qa, KEY, b'{"host":"%b"}' % CANARY.encode())
    browser = signed_in(people.operator)
    answer = browser.post(LOAD, {"name": KEY, "reason": "to edit it"})
    assert answer.headers["Location"].startswith("/account/reauthenticate/")
    page = browser.post(answer.headers["Location"], {"password": make.PASSWORD, "next": LOAD})
    assert CANARY in page.content.decode()
    assert "host" in [path for path, _ in page.context["paths"]]
    assert Entry.objects.get(action="value.revealed").details == {"key": KEY, "reason": "to edit it"}
    assert CANARY not in "".join(str(one.get_decoded()) for one in Session.objects.all())


def test_a_loaded_entry_that_is_sent_back_with_another_value_keeps_its_metadata(
    mail: make.Estate, people: make.People
) -> None:
    browser = fresh(people.operator)
    form = browser.post(LOAD, {"name": KEY, "reason": "no longer needed"}).context["form"]
    loaded = {name: form[name].value() for name in ("base", "metadata", "keep_expiration")}
    answer = browser.post(EDITOR, {"name": KEY, **loaded, "value": NEW.decode()})
    assert (answer.status_code, newest().parts) == (302, ["value"])


def test_a_key_that_changed_after_it_was_loaded_is_not_changed(mail: make.Estate, people: make.People) -> None:
    browser = fresh(people.operator)
    mark = browser.post(LOAD, {"name": KEY, "reason": "no longer needed"}).context["form"]["base"].value()
    mail.put(mail.qa, KEY, b"theirs")
    answer = post(browser, base=mark)
    assert answer.status_code == 422
    assert "The key changed after you loaded it." in answer.content.decode()
    assert not KeyChange.objects.exists()


def test_a_value_that_was_json_and_is_not_any_more_is_confirmed(mail: make.Estate, people: make.People) -> None:
    browser = signed_in(people.operator)
    answer = post(browser, value="{broken")
    assert answer.status_code == 422
    assert "The old value is JSON, and the new one is not." in answer.content.decode()
    assert post(browser, value="{broken", confirm="on").status_code == 302
    assert newest().warnings == ["no_json"]


def test_the_page_follows_the_backup_and_the_decision(mail: make.Estate, people: make.People) -> None:
    browser = signed_in(people.operator)
    page = browser.get(post(browser).headers["Location"]).content.decode()
    address = f"/changes/{newest().pk}/live"
    assert f'hx-get="{address}" hx-trigger="every 2s"' in page
    assert "HX-Refresh" not in browser.get(address)
    make.work()
    assert browser.get(address)["HX-Refresh"] == "true"
    asked = change_helpers.submitted(newest(), people)
    assert f'hx-get="{address}" hx-trigger="every 5s"' in browser.get(f"/changes/{newest().pk}/").content.decode()
    assert "HX-Refresh" not in browser.get(address)
    approval_gate.reject(asked, by=people.reviewer, shown=asked.digest, reason="not right now")
    assert browser.get(address)["HX-Refresh"] == "true"


@pytest.mark.parametrize(
    ("form", "sentence"),
    [
        ({"keep_value": "on", "value": ""}, "Choose what changes"),
        ({"keep_value": "on"}, "You filled this in and left it as it is."),
        ({"expiration": "2099-01-01T00:00"}, "You filled this in and left it as it is."),
        ({"value": OLD.decode()}, "Nothing changes"),
        ({"new": "on"}, "This key exists already."),
        ({"name": "mail:none"}, "KV has no such key."),
        ({"name": "mail:new", "new": "on", "keep_value": "on", "value": ""}, "This key is new: give its value."),
        ({"name": "mail:new", "new": "on", "value": ""}, "The new value is empty."),
        ({"name": "master:1", "new": "on"}, "A new key needs a family of settings"),
        ({"value": "x" * (64 * 1024 + 1)}, "A new value has at most 64 KiB"),
        ({"keep_metadata": "", "metadata": "{not"}, "Metadata is JSON of at most 1,024 bytes."),
        ({"keep_metadata": "", "metadata": '"%s"' % ("x" * 1_024)}, "Metadata is JSON of at most 1,024 bytes."),
        ({"keep_expiration": "", "expiration": "2020-01-01T00:00"}, "This time has passed."),
    ],
)
def test_what_cannot_be_proposed_is_said(
    mail: make.Estate, people: make.People, form: dict[str, str], sentence: str
) -> None:
    answer = post(signed_in(people.operator), **form)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not KeyChange.objects.exists()


@pytest.mark.parametrize(("old", "new"), [(b"a\r\nb", b"a\r\nc"), (b"a\nb", b"a\nc")])
def test_line_breaks_are_written_as_the_old_value_has_them(
    mail: make.Estate, people: make.People, old: bytes, new: bytes
) -> None:
    mail.put(mail.qa, KEY, old)
    post(signed_in(people.operator), value="a\r\nc")  # as a browser sends it
    make.work()
    change = newest()
    change_helpers.started(change, people)
    make.work()
    held = change_helpers.held(mail, mail.qa)
    assert held is not None
    assert held.data == new


@pytest.mark.parametrize("value", [b"a\r\nb\nc", b"a\rb", b"\xff\x00"])
def test_a_value_that_a_browser_would_change_is_not_loaded(
    mail: make.Estate, people: make.People, value: bytes
) -> None:
    mail.put(mail.qa, KEY, value)
    answer = fresh(people.operator).post(LOAD, {"name": KEY, "reason": "no longer needed"})
    assert answer.status_code == 409
    assert "Give a whole new value." in answer.content.decode()


def test_one_change_of_a_key_is_open_at_a_time(mail: make.Estate, people: make.People) -> None:
    browser = signed_in(people.operator)
    post(browser)
    assert "End it first." in post(browser).content.decode()


@pytest.mark.parametrize("value", [OLD.decode(), NEW.decode(), "{broken", ""])
def test_while_a_change_is_open_no_answer_depends_on_the_value(
    mail: make.Estate, people: make.People, value: str
) -> None:
    post(signed_in(people.operator))
    answer = post(signed_in(people.operator2), value=value).content.decode()
    assert "End it first." in answer
    assert not any(told in answer for told in ("Nothing changes", "The old value is JSON", "The new value is empty."))
    assert not Entry.objects.filter(action="change.compared", actor_id=people.operator2.pk).exists()


def test_a_masked_value_is_compared_with_five_tries_of_a_person_in_an_hour(
    mail: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = signed_in(people.operator)
    for _number in range(propose.TRIES):
        assert "Nothing changes" in post(browser, value=OLD.decode()).content.decode()
    for value in (OLD.decode(), NEW.decode(), "{broken"):
        assert "You proposed too many values for this key." in post(browser, value=value).content.decode()
    assert not KeyChange.objects.exists()
    assert "Nothing changes" in post(signed_in(people.operator2), value=OLD.decode()).content.decode()
    tried = Entry.objects.filter(action="change.compared", actor_id=people.operator.pk)
    assert [entry.details for entry in tried] == [{"key": KEY}] * propose.TRIES
    monkeypatch.setattr(timing, "TRIES_COUNTED", 0)
    assert "Nothing changes" in post(browser, value=OLD.decode()).content.decode()


def test_without_a_review_key_nothing_is_proposed(
    mail: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TEST_REVIEW_IDENTITY")
    assert "KVOPS_REVIEW_IDENTITY" in post(signed_in(people.operator)).content.decode()


# The page of a change


def test_the_whole_way_is_on_the_page(mail: make.Estate, people: make.People) -> None:
    browser, reviewer = signed_in(people.operator), fresh(people.reviewer)
    post(browser)
    make.work()
    page = f"/changes/{newest().pk}"
    assert browser.post(f"{page}/submit", {"reason": "it moves as agreed"}).status_code == 302
    request = ApprovalRequest.objects.get(kind="put_key")
    shown = reviewer.get(f"/approvals/{request.pk}/").content.decode()
    assert "mail:smtp" in shown
    decision = {"decision": "approve", "shown": request.digest, "confirm": "qa-settings"}
    reviewer.post(f"/approvals/{request.pk}/decide", decision)
    assert browser.post(f"{page}/start", {"confirm": "qa-settings"}).status_code == 302
    make.work()
    assert "Written and read back" in browser.get(f"{page}/").content.decode()
    assert browser.post(f"{page}/accept", {"note": "a mail arrived"}).status_code == 302
    assert browser.post(f"{page}/reverse").status_code == 302
    make.work()
    assert newest().reverses_id is not None


def test_operators_and_reviewers_see_the_paths_and_an_auditor_does_not(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.proposed(mail.qa, people)
    change_helpers.submitted(change, people)
    for who, there in ((people.operator, True), (people.reviewer, True), (people.auditor, False)):
        for address in (f"/changes/{change.pk}/", f"/approvals/{newest().approval_id}/"):
            page = signed_in(who).get(address).content.decode()
            assert (">tls<" in page and "added" in page) is there, (who, address)
            assert "new.example" not in page


def test_a_proposal_that_was_replaced_is_told_to_the_reviewer(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.proposed(mail.qa, people)
    mail.s3.objects[change.object_key] = b"something else"
    page = signed_in(people.reviewer).get(f"/changes/{change.pk}/").content.decode()
    assert "is another object than the one proposed" in page


def reveal(client: Client, change: KeyChange) -> "Answer":
    return client.post(f"/changes/{change.pk}/reveal", {"reason": "to review it"})


def test_the_reviewer_of_the_pending_request_reveals_both_values(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.proposed(mail.qa, people)
    assert reveal(fresh(people.reviewer), change).status_code == 409
    request = change_helpers.submitted(change, people)
    answer = reveal(fresh(people.reviewer), change)
    page = answer.content.decode()
    assert "old.example" in page
    assert "new.example" in page
    assert answer["Refresh"] == f"60; url=/changes/{change.pk}/"
    assert "no-store" in answer["Cache-Control"]
    entry = Entry.objects.get(action="value.revealed")
    assert entry.details == {"key": KEY, "reason": "to review it", "approval": request.pk}


def test_a_reason_with_a_secret_reveals_nothing_and_is_not_kept(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.proposed(mail.qa, people)
    browser, reason = fresh(people.operator), f"AGE-SECRET-KEY-{CANARY}"
    for address, form in (
        (f"/changes/{change.pk}/reveal", {}),
        (LOAD, {"name": KEY}),
        ("/key/qa/SETTINGS/reveal", {"name": KEY}),
    ):
        answer = browser.post(address, {"reason": reason, **form})
        assert answer.status_code in {409, 422}, address
        assert "old.example" not in answer.content.decode()
    assert not Entry.objects.filter(action="value.revealed").exists()
    assert not Entry.objects.filter(details__icontains=CANARY).exists()


def test_nobody_else_reveals_them(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.proposed(mail.qa, people)
    change_helpers.submitted(change, people)
    assert reveal(fresh(people.auditor), change).status_code == 403
    assert reveal(signed_in(people.reviewer), change).headers["Location"].startswith("/account/reauthenticate/")
    assert not Entry.objects.filter(action="value.revealed").exists()


def test_the_story_of_the_key_and_the_runbook_tell_the_change(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.done(mail.qa, people)
    [event] = [one for one in key_story.of_key(mail.qa, KEY) if one.kind == "changed"]
    assert (event.by, event.approved_by) == (str(people.operator), str(people.reviewer))
    browser = signed_in(people.auditor)
    entry = Entry.objects.get(action="change.prepared", subject=change.subject)
    page = browser.get(f"/runbook/{entry.seq}/").content.decode()
    assert "npx wrangler kv key put mail:smtp --path" in page
    assert "new.example" not in page
    assert f"/changes/{change.pk}/" in browser.get("/audit/", {"key": KEY}).content.decode()


def test_a_change_that_wrote_nothing_is_no_event_of_the_key(mail: make.Estate, people: make.People) -> None:
    run = change_helpers.started(change_helpers.proposed(mail.qa, people), people)
    mail.cloudflare.fault("put_value", "refusal", times=9, status=400, code=10001)
    make.work()
    change = KeyChange.objects.get(run=run)
    assert (change.attempt, change.outcome) == (1, "")
    assert [one for one in key_story.of_key(mail.qa, KEY) if one.kind == "changed"] == []


def test_the_page_says_whether_the_proposal_is_not_made_yet_or_erased(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.done(mail.qa, people)
    browser = signed_in(people.operator)
    assert "its proposal is erased" in browser.get(f"/changes/{change.pk}/").content.decode()
    KeyChange.objects.update(erased_at=None)
    assert "Its paths are not shown any more" in browser.get(f"/changes/{change.pk}/").content.decode()
    browser.post(f"/changes/{change.pk}/reverse")
    assert "The proposal is not made yet" in browser.get(f"/changes/{newest().pk}/").content.decode()


def test_the_form_of_production_begins_with_the_accepted_change_of_qa(mail: make.Estate, people: make.People) -> None:
    tried = change_helpers.done(mail.qa, people)
    change = change_helpers.proposed(mail.production, people)
    browser = signed_in(people.operator)
    assert browser.get(f"/changes/{change.pk}/").context["form"]["repeats"].value() is None
    change_requests.accept(tried, note="mails arrive", by=people.operator)
    page = browser.get(f"/changes/{change.pk}/")
    assert f'<option value="{tried.pk}" selected>Change {tried.pk} in QA, accepted on' in page.content.decode()
    both = {"reason": "no longer needed", "repeats": tried.pk, "no_qa_because": "in a hurry"}
    answer = browser.post(f"/changes/{change.pk}/submit", both)
    assert (answer.status_code, newest().state) == (422, State.DRAFT)
    assert "leave the reason empty" in answer.content.decode()


def test_a_reversed_change_offers_no_second_reverse_change(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.done(mail.qa, people)
    browser, button = signed_in(people.operator), "Prepare the reverse change"
    address = f"/changes/{change.pk}/"
    assert button in browser.get(address).content.decode()
    browser.post(f"{address}reverse")
    assert button not in browser.get(address).content.decode()
    make.work()
    browser.post(f"/changes/{newest().pk}/end")
    assert button in browser.get(address).content.decode()


def test_a_rejected_change_leads_to_another_one_of_its_key(mail: make.Estate, people: make.People) -> None:
    request = change_helpers.submitted(change_helpers.proposed(mail.qa, people), people)
    approval_gate.reject(request, by=people.reviewer, shown=request.digest, reason="the host is wrong")
    page = signed_in(people.operator).get(f"/changes/{newest().pk}/").content.decode()
    assert f'href="{EDITOR}?name=mail%3Asmtp"' in page
    for where in (page, signed_in(people.operator).get("/changes/").content.decode()):
        assert ("Rejected" in where, "Given up" in where.partition("Changes, newest first")[2]) == (True, False)
    assert f"/audit/?subject=keychange:{newest().pk}&amp;tree=on" in page
    assert EDITOR not in signed_in(people.auditor).get(f"/changes/{newest().pk}/").content.decode()


def test_the_time_of_an_expiration_names_its_zone(mail: make.Estate, people: make.People) -> None:
    page = signed_in(people.operator).get(EDITOR, {"name": KEY}).content.decode()
    assert "KV deletes the key at this time. The time zone is Asia/Tokyo." in page


def test_the_owner_of_the_family_is_told_of_the_request(mail: make.Estate, people: make.People) -> None:
    make.change_families("mail:", owner="auditor@example.com")
    request = change_helpers.submitted(change_helpers.proposed(mail.qa, people), people)
    assert people.auditor in families.owners_asked_about(request)
    assert registry.REQUESTS[request.kind].owners == families.owners_asked_about


def test_the_list_leads_an_operator_to_a_new_key_where_the_policy_has_settings(
    mail: make.Estate, people: make.People
) -> None:
    link = f'href="{EDITOR}?new=1"'
    assert link in signed_in(people.operator).get("/changes/").content.decode()
    assert link not in signed_in(people.auditor).get("/changes/").content.decode()
    assert signed_in(people.operator).get(f"{EDITOR}?new=1").context["form"]["new"].value() is True


def test_the_editor_of_a_new_key_keeps_nothing_and_names_the_families_it_can_be_of(
    mail: make.Estate, people: make.People
) -> None:
    browser = signed_in(people.operator)
    first = browser.get(f"{EDITOR}?new=1").content.decode()
    typed = browser.post(EDITOR, {"name": "mail:new", "new": "True", "expiration": "2001-01-01T00:00"}).content.decode()
    assert ("mail:*" in first, "No family covers" in first) == (True, False)
    for page in (first, typed):
        assert "Create a key" in page.partition("<h1")[2]
        assert [word for word in ("old value is", "keep_value", "data-unticks", "current value") if word in page] == []


def test_a_new_key_is_proposed_from_its_editor(mail: make.Estate, people: make.People) -> None:
    form = {"name": "mail:new", "new": "True", "base": "", "value": "x", "metadata": "", "expiration": ""}
    signed_in(people.operator).post(EDITOR, form)
    assert (newest().name, newest().new_key) == ("mail:new", True)


def test_a_prepared_draft_asks_first_for_the_reason_of_the_change(mail: make.Estate, people: make.People) -> None:
    change = change_helpers.proposed(mail.qa, people)
    page = signed_in(people.operator).get(f"/changes/{change.pk}/").content.decode()
    assert "Ready to submit" in page.partition("</h1>")[0]
    assert 0 < page.index(f"/changes/{change.pk}/submit") < page.index("Reason for revealing the value")


def test_a_change_is_done_when_the_application_was_tried(mail: make.Estate, people: make.People) -> None:
    browser, change = signed_in(people.operator), change_helpers.done(mail.qa, people)
    for address in ("/changes/", f"/changes/{change.pk}/"):
        assert "Written, to be tried" in browser.get(address).content.decode()
    page = browser.get(f"/changes/{change.pk}/").content.decode()
    assert "If it does not work, record nothing here and undo the change." in page
    browser.post(f"/changes/{change.pk}/accept", {"note": "mail is sent"})
    assert "Written, to be tried" not in browser.get(f"/changes/{change.pk}/").content.decode()


def test_the_list_is_filtered(mail: make.Estate, people: make.People) -> None:
    change_helpers.proposed(mail.qa, people)
    browser = signed_in(people.auditor)
    for query, there in ({"state": "open"}, True), ({"state": "done"}, False), ({"environment": "production"}, False):
        page = browser.get(f"/changes/?{urlencode(query)}").content.decode()
        assert ("mail:smtp" in page) is there, query
