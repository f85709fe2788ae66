"""Who changed keys past KVOps: Cloudflare's statement for the time between two scans, with its limits."""

import time

import pytest

from audit.models import Entry
from kvops.inventory import past_kvops, scan as inventory_scan
from kvops.models import Scan
from tests import make
from tests.fakes.code import FakeAudited, FakeCode
from tests.signing import signed_in

WHO = {"type": "user", "context": "api_token", "token_name": "old-script", "ip_address": "192.0.2.7"}


def scan(estate: make.Estate) -> Scan:
    found = inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    found.refresh_from_db()
    return found


@pytest.fixture
def code(estate: make.Estate) -> FakeCode:
    return estate.cloudflare.code(estate.qa.environment.account_id)


@pytest.fixture
def gone(estate: make.Estate, code: FakeCode) -> Scan:
    """A scan that found a key gone; five calls were recorded before it, three of them in this namespace."""
    estate.put(estate.qa, "master:a:1")
    estate.put(estate.qa, "master:a:2")
    scan(estate)
    here = f"/client/v4/accounts/{estate.qa.environment.account_id}/storage/kv/namespaces/{estate.qa.namespace_id}"
    for method, uri in [
        ("DELETE", f"{here}/values/master%3Aa%3A1"),
        ("POST", f"{here}/bulk/delete"),
        ("GET", f"{here}/keys"),
        ("PUT", f"{here}/bulk"),
        ("DELETE", here.replace(estate.qa.namespace_id, "9" * 32)),
    ]:
        code.audited.append(FakeAudited(time.time(), method, uri, WHO))
    estate.cloudflare.remove(estate.qa.namespace_id, "master:a:1")
    return scan(estate)


def test_the_statement_has_the_changing_calls_of_the_time(
    estate: make.Estate, people: make.People, code: FakeCode, gone: Scan
) -> None:
    code.audited.append(FakeAudited(time.time() + 3600, "DELETE", code.audited[0].uri, WHO))
    found = past_kvops.ask(gone, by=people.operator)
    assert [one.method for one in found.entries] == ["DELETE", "POST", "PUT"]
    assert {(one.token, one.address, one.context) for one in found.entries} == {
        ("old-script", "192.0.2.7", "api_token")
    }
    assert (found.since, found.before) == (Scan.objects.earliest("pk").created_at, gone.completed_at)
    entry = Entry.objects.get(action="missing.cloudflare_asked")
    assert (entry.subject, entry.details["entries"]) == (f"unexplained:{gone.pk}", 3)
    assert "192.0.2.7" not in str(entry.details)


def test_the_page_shows_the_statement_with_its_limits(estate: make.Estate, people: make.People, gone: Scan) -> None:
    page = f"/unexplained/{gone.pk}/"
    client = signed_in(people.operator)
    assert "Ask Cloudflare" in client.get(page).text
    shown = client.post(f"{page}cloudflare").text
    for text in ("old-script", "192.0.2.7", "values/master%3Aa%3A1", "leave no trace", "18 months"):
        assert text in shown
    assert "old-script" not in client.get(page).text


def test_an_empty_statement_names_nobody(estate: make.Estate, people: make.People, code: FakeCode, gone: Scan) -> None:
    code.audited.clear()
    shown = signed_in(people.operator).post(f"/unexplained/{gone.pk}/cloudflare").text
    assert "No recorded call changed this namespace" in shown


def test_without_permission_or_answer_it_is_said(estate: make.Estate, people: make.People, gone: Scan) -> None:
    estate.cloudflare.fault("audit_log", "effect_then_nothing")
    with pytest.raises(past_kvops.PastRefused, match="Ask again later"):
        past_kvops.ask(gone, by=people.operator)
    estate.cloudflare.add_token("qa-read-token", account=estate.qa.environment.account_id, permission="kv")
    client = signed_in(people.operator)
    shown = client.post(f"/unexplained/{gone.pk}/cloudflare", follow=True).text
    assert "Give it the permission Account Settings Read." in shown
    with pytest.raises(past_kvops.PastRefused):
        past_kvops.ask(gone, by=people.reviewer)
    assert not Entry.objects.filter(action="missing.cloudflare_asked").exists()


def test_the_first_scan_has_no_time_before_it(estate: make.Estate, people: make.People) -> None:
    with pytest.raises(past_kvops.PastRefused, match="no earlier scan"):
        past_kvops.ask(scan(estate), by=people.operator)
