"""The pages of bulk changes: from the keys to the list, the approval, the result and the undo."""

import csv
import json
from collections.abc import Callable

import pytest
from django.db.models.functions import Now

from audit.models import Entry
from backups.changes.bulk import requests as bulk_requests
from backups.models import BulkChange, Restore
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Run
from tests import make
from tests.audit.make import triggers_off
from tests.backups.changes.bulk import helpers as bulk_helpers
from tests.backups.changes.bulk.helpers import MARK, MARKED, NAMES, PAGES, PREFIX
from tests.signing import fresh, said, signed_in

pytestmark = pytest.mark.django_db
NEW = "/changes/bulk/new/qa/SETTINGS/"
State = Restore.State


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    monkeypatch.setattr(timing, "STALE", 0.05)


@pytest.fixture
def ready(estate: make.Estate) -> make.Estate:
    return bulk_helpers.ready(estate)


def newest() -> Restore:
    return bulk_helpers.fresh(Restore.objects.exclude(operation="").latest("pk"))


def test_the_pages_of_keys_and_of_expiry_lead_to_it(ready: make.Estate, people: make.People) -> None:
    browser = signed_in(people.operator)
    keys = browser.get("/keys/qa/SETTINGS/", {"prefix": PREFIX, "expiring": "none"}).content.decode()
    assert f'href="{NEW}?prefix=mastercache%3A&amp;scope=none&amp;operation=expiration"' in keys
    assert "operation=mark" not in keys
    pages = browser.get("/keys/qa/SETTINGS/", {"prefix": MARKED}).content.decode()
    assert f'href="{NEW}?prefix=page%3A&amp;scope=&amp;operation=mark"' in pages
    expiry = browser.get("/expiry/").content.decode()
    assert f'href="{NEW}?prefix=page%3A&amp;scope=lacking&amp;operation=mark"' in expiry
    assert f'href="{NEW}?prefix=mastercache%3A&amp;scope=none&amp;operation=expiration"' in expiry
    for address in ("/keys/qa/SETTINGS/?prefix=master:", "/keys/qa/SETTINGS/?prefix=mastercache:&part=x"):
        assert NEW not in browser.get(address).content.decode()
    assert NEW not in signed_in(people.auditor).get("/expiry/").content.decode()


def test_the_form_shows_how_many_keys_it_is_about_and_their_names(ready: make.Estate, people: make.People) -> None:
    page = signed_in(people.operator).get(NEW, {"prefix": PREFIX, "scope": "none"})
    assert (page.context["count"], page.context["names"]) == (3, list(NAMES))
    assert all(name in page.content.decode() for name in NAMES)


@pytest.mark.parametrize(
    ("prefix", "sentence"), [("master:a", "Legacy keys are cleaned up"), ("nobody:", "These keys belong to no family")]
)
def test_it_says_why_other_keys_are_not_changed(
    ready: make.Estate, people: make.People, prefix: str, sentence: str
) -> None:
    assert sentence in signed_in(people.operator).get(NEW, {"prefix": prefix}).content.decode()


def test_an_expiration_is_asked_for_on_the_page(ready: make.Estate, people: make.People) -> None:
    form = {"prefix": PREFIX, "scope": "", "operation": "expiration", "hours": "24"}
    answer = signed_in(people.operator).post(NEW, form)
    assert answer.headers["Location"] == f"/changes/bulk/{newest().pk}/"
    assert (newest().bulk.lifetime, newest().bulk.chosen_names, newest().state) == (86_400, 3, State.PREPARING)


def test_a_time_is_asked_for_on_the_page(ready: make.Estate, people: make.People) -> None:
    at = bulk_helpers.in_a_day()[1] + 86_400
    when = bulk_helpers.local(at)
    form = {"prefix": PREFIX, "scope": "", "operation": "expiration", "until": when}
    signed_in(people.operator).post(NEW, form)
    assert abs((newest().bulk.until or 0) - at) < 60


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ({"operation": "expiration"}, "Give the hours or the time."),
        ({"operation": "expiration", "until": "2001-01-01T00:00"}, "at least one hour and at most 366 days ahead"),
        ({"operation": "expiration", "hours": "24", "until": "2030-01-01T00:00"}, "not both"),
        ({"operation": "expiration", "hours": "0"}, "greater than or equal to 1"),
        ({"operation": "mark"}, "Give the value of the mark."),
        ({"operation": "mark", "value": "x"}, "names no mark"),
    ],
)
def test_a_wish_that_cannot_be_is_shown_again(
    ready: make.Estate, people: make.People, more: dict[str, str], sentence: str
) -> None:
    answer = signed_in(people.operator).post(NEW, {"prefix": PREFIX, "scope": "", **more})
    assert (answer.status_code, sentence in answer.content.decode()) == (422, True)
    assert not BulkChange.objects.exists()


def test_a_mistake_in_a_form_is_no_refused_attempt(ready: make.Estate, people: make.People) -> None:
    form = {"prefix": PREFIX, "scope": "", "operation": "expiration", "until": "2001-01-01T00:00"}
    page = signed_in(people.operator).post(NEW, form)
    assert list(page.context["form"].errors) == ["until"]
    assert not Entry.objects.filter(action="refused").exists()


def test_the_form_begins_with_the_design_of_the_family(ready: make.Estate, people: make.People) -> None:
    make.change_families(PREFIX, expiry="ttl:2592000")
    forms = [signed_in(people.operator).get(NEW, {"prefix": one}).context["form"] for one in (PREFIX, MARKED)]
    assert [form["hours"].value() for form in forms] == [720, None]
    assert [form["value"].is_hidden for form in forms] == [True, False]


def test_it_is_done_when_the_application_was_tried(ready: make.Estate, people: make.People) -> None:
    browser, restore = signed_in(people.operator), bulk_helpers.done(ready.qa, people)
    for address in ("/changes/bulk/", f"/changes/bulk/{restore.pk}/"):
        assert "Written, to be tried" in browser.get(address).content.decode()
    browser.post(f"/changes/bulk/{restore.pk}/accept", {"note": "pages load"})
    assert "Written, to be tried" not in browser.get(f"/changes/bulk/{restore.pk}/").content.decode()


def test_the_whole_way_on_the_pages(ready: make.Estate, people: make.People) -> None:
    browser, reviewer = signed_in(people.operator), fresh(people.reviewer)
    browser.post(NEW, {"prefix": MARKED, "scope": "lacking", "operation": "mark", "value": "2026-11-29"})
    make.work()
    address = f"/changes/bulk/{newest().pk}/"
    assert browser.post(f"{address}submit", {"reason": "the pages are old"}).headers["Location"] == address
    request = ApprovalRequest.objects.get(kind="bulk_change")
    page = reviewer.get(f"/approvals/{request.pk}/").content.decode()
    assert "The member “stale” of the metadata becomes “2026-11-29”" in page
    decision = {"decision": "approve", "shown": request.digest, "confirm": ready.qa.title}
    reviewer.post(f"/approvals/{request.pk}/decide", decision)
    assert "Go to the bulk change" in reviewer.get(f"/approvals/{request.pk}/").content.decode()
    browser.post(f"{address}start", {"confirm": ready.qa.title})
    make.work()
    held = bulk_helpers.held(ready, ready.qa)
    assert {json.loads(held[name].metadata or "")["stale"] for name in PAGES} == {"2026-11-29"}
    browser.post(f"{address}accept", {"note": "pages load"})
    done = browser.get(address).content.decode()
    undo = f"/backups/{newest().generation_id}/restores/new/?on_conflict=overwrite"
    assert f'href="{undo}"' in done
    assert "It also overwrites values that are newer" in done
    assert browser.get(undo).context["form"]["on_conflict"].value() == "overwrite"
    assert "pages load" in done
    assert 'href="?outcome=written#names">changed, and read back' in done


SEEN: dict[str, Callable[[make.Estate, make.People], Restore]] = {
    "prepared": lambda estate, people: bulk_helpers.prepared(estate.qa, people),
    "submitted": lambda estate, people: seen_after(bulk_helpers.submitted, estate, people),
    "approved": lambda estate, people: bulk_helpers.approved(bulk_helpers.prepared(estate.qa, people), people),
    "done": lambda estate, people: bulk_helpers.done(estate.qa, people),
    "production": lambda estate, people: bulk_helpers.prepared(estate.production, people, MARK),
}


def seen_after(act: Callable[[Restore, make.People], object], estate: make.Estate, people: make.People) -> Restore:
    restore = bulk_helpers.prepared(estate.qa, people)
    act(restore, people)
    return bulk_helpers.fresh(restore)


@pytest.mark.parametrize("language", ["en", "ja"])
@pytest.mark.parametrize("state", SEEN)
def test_each_state_has_a_page_for_everybody(
    ready: make.Estate, people: make.People, state: str, language: str
) -> None:
    restore = SEEN[state](ready, people)
    for person in (people.operator, people.reviewer, people.auditor):
        browser = signed_in(person)
        browser.cookies["django_language"] = language
        for address in (f"/changes/bulk/{restore.pk}/", "/changes/bulk/", "/changes/", "/"):
            assert browser.get(address).status_code == 200


def test_production_without_qa_says_so_on_the_page(ready: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.prepared(ready.production, people)
    page = signed_in(people.operator).get(f"/changes/bulk/{restore.pk}/").content.decode()
    assert "Its keys may not live longer there than here." in page


def test_a_failed_backup_is_resumed_from_the_page(ready: make.Estate, people: make.People) -> None:
    ready.s3.fault("403", "PUT", times=50)
    restore = bulk_helpers.prepared(ready.qa, people)
    assert restore.generation.run.state == Run.State.FAILED
    ready.s3._faults.clear()
    signed_in(people.operator).post(f"/changes/bulk/{restore.pk}/again")
    make.work()
    assert bulk_helpers.fresh(restore).state == State.PREPARED


def test_the_page_follows_the_decision(ready: make.Estate, people: make.People) -> None:
    browser, restore = signed_in(people.operator), bulk_helpers.prepared(ready.qa, people)
    asked, address = bulk_helpers.submitted(restore, people), f"/changes/bulk/{restore.pk}/live"
    page = browser.get(f"/changes/bulk/{restore.pk}/").content.decode()
    assert f'hx-get="{address}" hx-trigger="every 5s"' in page
    assert "HX-Refresh" not in browser.get(address)
    approval_gate.reject(asked, by=people.reviewer, shown=asked.digest, reason="not right now")
    assert browser.get(address)["HX-Refresh"] == "true"


def test_it_is_given_up_on_the_page(ready: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.prepared(ready.qa, people)
    answer = signed_in(people.operator).post(f"/changes/bulk/{restore.pk}/end", follow=True)
    assert "Nothing more is written." in said(answer)
    assert bulk_helpers.fresh(restore).state == State.ENDED


def test_the_names_are_a_file_with_their_results(ready: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.done(ready.qa, people)
    file = signed_in(people.auditor).get(f"/changes/bulk/{restore.pk}/names?format=csv").getvalue().decode()
    rows = [row[:2] for row in csv.reader(file.splitlines()) if row and row[0] in NAMES]
    assert rows == [[name, "written"] for name in NAMES]


def test_a_bulk_change_is_no_restore(ready: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.done(ready.qa, people)
    browser = signed_in(people.auditor)
    assert browser.get(f"/restores/{restore.pk}/").status_code == 404
    assert list(browser.get("/restores/").context["restores"]) == []
    assert browser.get("/changes/bulk/999/").status_code == 404


def test_the_key_and_the_backup_know_it(ready: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.done(ready.qa, people)
    browser = signed_in(people.auditor)
    key = browser.get("/key/qa/SETTINGS/", {"name": NAMES[0]}).content.decode()
    assert f'href="/changes/bulk/{restore.pk}/"' in key
    tree = browser.get("/audit/", {"subject": f"bulkchange:{restore.pk}", "tree": "on"}).content.decode()
    assert "Bulk change read back" in tree


def test_its_backup_is_held_while_it_is_open(ready: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.prepared(ready.qa, people)
    page = signed_in(people.auditor).get(f"/backups/{restore.generation_id}/").content.decode()
    assert f"Bulk change {restore.pk} needs it." in page


def test_the_changes_say_how_many_bulk_changes_are_open(ready: make.Estate, people: make.People) -> None:
    browser = signed_in(people.auditor)
    assert "still open" not in browser.get("/changes/").content.decode()
    restore = bulk_helpers.prepared(ready.qa, people)
    page = " ".join(browser.get("/changes/").content.decode().split())
    assert 'href="/changes/bulk/?state=open"' in page
    assert "Bulk changes of caches" in page.partition("1 still open")[0]
    bulk_requests.give_up(restore, by=people.operator)
    assert "still open" not in browser.get("/changes/").content.decode()


@pytest.mark.parametrize("filters", [{"environment": "qa"}, {"state": "open"}, {"state": "done"}, {"state": "x"}])
def test_the_list_is_filtered(ready: make.Estate, people: make.People, filters: dict[str, str]) -> None:
    bulk_helpers.prepared(ready.qa, people)
    found = list(signed_in(people.auditor).get("/changes/bulk/", filters).context["bulk_changes"])
    assert bool(found) == (filters in ({"environment": "qa"}, {"state": "open"}))


def test_the_list_names_the_keys_of_a_change_as_one_pattern(ready: make.Estate, people: make.People) -> None:
    bulk_helpers.prepared(ready.qa, people)
    assert ">mastercache:*</code>" in signed_in(people.auditor).get("/changes/bulk/").content.decode()


def test_an_approval_that_expired_is_not_started(ready: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.approved(bulk_helpers.prepared(ready.qa, people), people)
    with triggers_off("kvops_approvalrequest"):
        ApprovalRequest.objects.filter(kind="bulk_change").update(use_by=Now())
    page = signed_in(people.operator).get(f"/changes/bulk/{restore.pk}/").content.decode()
    assert "The deadline for using the approval has passed." in page
