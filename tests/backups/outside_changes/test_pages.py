"""The pages of settings that changed outside KVOps: listed, explained once by who may, with names and no value."""

import json
import re
import time

import pytest

from audit.actions import Action
from audit.models import Entry
from backups.models import OutsideSearch
from backups.outside_changes import acknowledge as outside_acknowledge
from kvops import timing
from kvops.inventory import past_kvops
from kvops.models import Scan
from kvops.refusals import Refused
from kvops.runbook import entries as runbook_entries
from tests import make
from tests.audit.make import triggers_off
from tests.backups.changes.helpers import KEY
from tests.backups.outside_changes import helpers as outside_helpers
from tests.backups.outside_changes.helpers import backed_up, searched, wrangler_delete, wrangler_put
from tests.fakes.code import FakeAudited
from tests.signing import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting")]


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def mail(estate: make.Estate, people: make.People) -> make.Estate:
    return outside_helpers.settings(estate)


@pytest.fixture
def found(mail: make.Estate) -> OutsideSearch:
    """One value was put with wrangler, and one key deleted."""
    wrangler_put(mail)
    wrangler_delete(mail, "mail:to")
    return searched(backed_up(mail))


def test_the_overview_names_the_keys_until_a_person_has_explained_them(
    found: OutsideSearch, people: make.People
) -> None:
    operator = signed_in(people.operator)
    overview = operator.get("/").text
    for text in ("qa/SETTINGS: 2 settings changed outside KVOps", f"Changed: {KEY}", "Gone: mail:to"):
        assert text in overview
    assert outside_helpers.SECRET.decode() not in overview
    operator.post(f"/unexplained/settings/{found.pk}/explain", {"note": "Jane, for the new mail server."})
    assert "settings changed outside KVOps" not in operator.get("/").text
    entry = Entry.objects.get(action=Action.OUTSIDE_ACKNOWLEDGED)
    assert (entry.actor_id, entry.details["note"]) == (people.operator.pk, "Jane, for the new mail server.")


def test_the_menu_has_one_entry_with_the_number_of_each_tab(found: OutsideSearch, people: make.People) -> None:
    Scan.objects.filter(pk=Scan.objects.latest("pk").pk).update(unexplained=1)
    page = signed_in(people.auditor).get("/unexplained/settings/").text
    entries = re.findall(r'<a class="nav-entry" href="/unexplained/.*?</a>', page, re.DOTALL)
    assert len(entries) == 1
    assert 'aria-current="page"' in entries[0]
    numbers = re.findall(r'1</span><span class="visually-hidden"> found by (\w+), not explained', entries[0])
    assert numbers == ["scans", "backups"]
    assert page.count("Unexplained changes: Settings found by backups") == 1
    assert '<h1 class="page-title">Unexplained changes</h1>' in page


def test_it_is_explained_once_with_a_note_by_who_may(found: OutsideSearch, people: make.People) -> None:
    with pytest.raises(outside_acknowledge.ExplanationRefused, match="Only an operator or a reviewer"):
        outside_acknowledge.explain(found, by=people.auditor, note="no longer needed")
    with pytest.raises(outside_acknowledge.ExplanationRefused, match="Say who changed"):
        outside_acknowledge.explain(found, by=people.reviewer, note=" ")
    with pytest.raises(Refused):
        outside_acknowledge.explain(found, by=people.reviewer, note="Jane, with ghp_0123456789")
    outside_acknowledge.explain(found, by=people.reviewer, note="Jane did as agreed.")
    with pytest.raises(outside_acknowledge.ExplanationRefused, match="nothing to explain"):
        outside_acknowledge.explain(found, by=people.operator, note="Me too as agreed.")


def test_the_pages_list_filter_and_link(found: OutsideSearch, people: make.People) -> None:
    auditor = signed_in(people.auditor)
    page = f"/unexplained/settings/{found.pk}/"
    assert page in auditor.get("/unexplained/settings/?state=open&environment=qa").text
    assert page not in auditor.get("/unexplained/settings/?state=done").text
    assert "/unexplained/settings/" in auditor.get("/unexplained/").text
    shown = auditor.get(f"{page}?kind=gone").text
    assert "mail:to" in shown
    assert f"name={KEY}" not in shown
    for link in (f"/backups/{found.generation_id}/", f"/backups/{found.earlier_id}/", f"?subject={found.subject}"):
        assert link in shown


def test_a_partial_backup_is_listed_and_not_open(found: OutsideSearch, people: make.People) -> None:
    with triggers_off("backups_outsidesearch"):
        nothing = {"changed": 0, "new": 0, "gone": 0, "explained": 0, "listed": 0}
        OutsideSearch.objects.filter(pk=found.pk).update(outcome="not_comparable", reason="partial", **nothing)
    auditor = signed_in(people.auditor)
    page = f"/unexplained/settings/{found.pk}/"
    assert "Shown among the backups" in auditor.get("/unexplained/settings/").text
    assert page not in auditor.get("/unexplained/settings/?state=open").text


def test_the_names_can_be_had_as_a_file(found: OutsideSearch, people: make.People) -> None:
    lines = b"".join(signed_in(people.auditor).get(f"/unexplained/settings/{found.pk}/names")).decode().splitlines()
    assert [json.loads(line)["name"] for line in lines] == [KEY, "mail:to"]


def test_the_runbook_has_an_entry_with_the_explanation_in_its_timeline(
    found: OutsideSearch, people: make.People
) -> None:
    outside_acknowledge.explain(found, by=people.reviewer, note="Jane did as agreed.")
    entry = runbook_entries.of_subject(found.subject)
    assert entry is not None
    assert (entry.kind, entry.title) == ("outside", "Settings changed outside KVOps")
    assert [one.action for one in entry.timeline()[0]] == [Action.OUTSIDE_FOUND, Action.OUTSIDE_ACKNOWLEDGED]
    auditor = signed_in(people.auditor)
    assert f"/runbook/{entry.number}/" in auditor.get("/runbook/?kind=outside").text
    assert f"/unexplained/settings/{found.pk}/" in auditor.get(f"/runbook/{entry.number}/").text
    assert f"/runbook/{entry.number}/" in auditor.get(f"/runbook/?key={KEY}").text


def test_cloudflare_is_asked_about_the_time_between_the_backups(
    mail: make.Estate, found: OutsideSearch, people: make.People
) -> None:
    account = mail.qa.environment.account_id
    uri = f"/client/v4/accounts/{account}/storage/kv/namespaces/{mail.qa.namespace_id}/values/mail%3Asmtp"
    code = mail.cloudflare.code(account)
    who = {"type": "user", "context": "api_token", "token_name": "jane-laptop", "ip_address": "192.0.2.7"}
    code.audited.append(FakeAudited(time.time() - 0.01, "PUT", uri, who))
    assert found.earlier is not None
    said = outside_acknowledge.ask_cloudflare(found, by=people.operator)
    assert (said.since, said.before) == (found.earlier.started_at, found.generation.finished_at)
    shown = signed_in(people.operator).post(f"/unexplained/settings/{found.pk}/cloudflare").text
    assert "Cloudflare&#x27;s statement" in shown or "Cloudflare's statement" in shown
    assert Entry.objects.filter(action=Action.CLOUDFLARE_ASKED, subject=found.subject).count() == 2


def test_without_an_earlier_backup_cloudflare_cannot_be_asked(mail: make.Estate, people: make.People) -> None:
    first = OutsideSearch.objects.get()
    with pytest.raises(past_kvops.PastRefused, match="no earlier backup"):
        outside_acknowledge.ask_cloudflare(first, by=people.operator)


def test_an_empty_list_says_what_comes_next(estate: make.Estate, people: make.People) -> None:
    assert "The second verified backup" in signed_in(people.auditor).get("/unexplained/settings/").text


def test_a_key_names_the_search_that_found_it(found: OutsideSearch, people: make.People) -> None:
    page = signed_in(people.auditor).get(f"/key/qa/SETTINGS/?name={KEY}").text
    assert "Changed outside KVOps" in page
    assert f"/unexplained/settings/{found.pk}/" in page
