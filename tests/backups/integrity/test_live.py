"""A check of KV as it is now: bounded, paid before, and said on its page before it starts."""

from dataclasses import replace

import pytest
from django.test import Client

from backups.datasets import registry as dataset_registry
from backups.integrity import live, live_side
from backups.integrity.start import CheckRefused
from backups.models import Check, CheckRow, Dataset
from kvops.connections.budget import SharedBudget
from kvops.inventory import scan as inventory_scan
from kvops.models import BudgetSpend, Run
from kvops.operations import registry
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.generations.helpers import backup_of, dataset, master, rows

ADDRESS = "/integrity/masters/qa/"


@pytest.fixture(autouse=True)
def no_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clean-up is tested elsewhere; here a check is nobody's."""
    monkeypatch.setitem(registry.RUNS, Run.Kind.CHECK, replace(registry.RUNS[Run.Kind.CHECK], finished=()))


@pytest.fixture
def masters(estate: make.Estate) -> make.Estate:
    """Three keys in KV, and the same rows in D1."""
    dataset()
    found = [("shop", str(number), f"name {number}") for number in range(3)]
    rows(estate, *found)
    for row in found:
        estate.put(estate.qa, (key := master(*row)).name, key.data)
    return estate


@pytest.fixture
def operator(client: Client, people: make.People) -> Client:
    client.force_login(people.operator.logins.get())
    return client


def scanned(estate: make.Estate) -> None:
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()


def started(estate: make.Estate) -> Check:
    check = live.start_live_check(Dataset.objects.get(), estate.qa, actor=make.SETUP, person=None)
    make.work()
    return Check.objects.select_related("run", "namespace", "generation").get(pk=check.pk)


def differences(check: Check) -> list[tuple[str, ...]]:
    return list(check.found.order_by("name", "row", "kind").values_list("name", "row", "kind", "field"))


def test_keys_that_agree_with_d1_pass(masters: make.Estate) -> None:
    check = started(masters)
    assert (check.outcome, check.keys, check.rows, check.kind) == ("passed", 3, 3, Check.Source.LIVE)
    assert check in Check.objects.of_kv()


def test_what_changed_in_kv_since_the_backup_is_found(masters: make.Estate) -> None:
    masters.put(masters.qa, "master:shop:1", master("shop", "1", "changed").data)
    masters.put(masters.qa, "master:shop:9", master("shop", "9", "new").data)
    assert differences(started(masters)) == [
        ("master:shop:1", "", "field", "name"),
        ("master:shop:9", "", "missing_in_d1", ""),
    ]


def test_a_failed_check_of_kv_itself_speaks_of_no_backup_that_it_compared(
    masters: make.Estate, operator: Client
) -> None:
    masters.put(masters.qa, "master:shop:1", master("shop", "1", "changed").data)
    page = operator.get(f"/integrity/{started(masters).pk}/").content.decode()
    assert "KV itself against D1" in page
    for untrue in ("KV as it is now", "from the backup. Look through it"):
        assert untrue not in page
    assert page.count("Nobody looks into these differences") == 1


def test_it_only_reads(masters: make.Estate) -> None:
    before = len(masters.cloudflare.journal)
    started(masters)
    assert {call.route for call in masters.cloudflare.journal[before:]} == {"keys", "bulk_get", "query"}


def test_the_calls_are_counted_and_no_more_than_the_plan_said(masters: make.Estate) -> None:
    scanned(masters)
    said = live.plan(Dataset.objects.get(), masters.qa)
    before = len(masters.cloudflare.journal)
    check = started(masters)
    to_kv = [call for call in masters.cloudflare.journal[before:] if call.route != "query"]
    assert len(to_kv) == 2 <= said.cost.requests == 4
    assert check.run.calls == len(masters.cloudflare.journal) - before


def test_requests_that_were_paid_and_not_sent_are_given_back(masters: make.Estate) -> None:
    rule = dataset_registry.correspondence(Dataset.objects.get())
    sent = sum(calls for calls, _ in live_side.read_now(masters.qa, rule))
    assert sum(BudgetSpend.objects.values_list("calls", flat=True)) == sent == 2


def test_without_room_in_the_request_limit_nothing_is_sent(masters: make.Estate) -> None:
    budget = SharedBudget.of(masters.qa.environment)
    budget.take(budget.left().calls - 10)
    before = len(masters.cloudflare.journal)
    check = live.start_live_check(Dataset.objects.get(), masters.qa, actor=make.SETUP, person=None)
    run_driver.drive(check.run.pk)
    assert len(masters.cloudflare.journal) == before
    assert Run.objects.get(pk=check.run.pk).is_open


def test_a_family_known_to_be_too_large_is_refused(masters: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned(masters)
    monkeypatch.setattr(live, "MOST", 2)
    with pytest.raises(CheckRefused, match=r"more than 2 keys under master:\. Make a backup"):
        started(masters)
    assert not Check.objects.exists()


def test_a_family_that_turns_out_too_large_fails_and_passes_nothing(
    masters: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_side, "MOST", 2)
    check = started(masters)
    assert (check.outcome, check.run.state, check.run.error_code) == ("pending", "failed", "too_many")


def test_an_interrupted_read_begins_again(masters: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    check = live.start_live_check(Dataset.objects.get(), masters.qa, actor=make.SETUP, person=None)
    CheckRow.objects.create(check_run=check, side="backup", name="master:shop:old", fields=b"")
    Run.objects.filter(pk=check.run.pk).update(cursor={"keys": 1, "staged_keys": 1})
    make.work()
    check.refresh_from_db()
    assert (check.outcome, check.keys) == ("passed", 3)


def test_one_key_of_many_rows_is_read_without_a_listing(estate: make.Estate) -> None:
    dataset(key="master:list", prefix="master:list", holds="array", row="{type}/{id}")
    rows(estate, ("shop", "1", "a"), ("shop", "2", "b"))
    estate.put(estate.qa, "master:list", b'[{"type": "shop", "id": "1", "name": "x"}]')
    estate.put(estate.qa, "master:list2", b"not of the dataset")
    check = started(estate)
    assert differences(check) == [
        ("master:list", "shop/1", "field", "name"),
        ("master:list", "shop/2", "only_in_d1", ""),
    ]
    assert (check.keys, check.kv_rows, check.rows) == (1, 1, 2)
    assert live.plan(Dataset.objects.get(), estate.qa).cost.requests == 1


def test_a_second_check_waits_for_the_first(masters: make.Estate) -> None:
    live.start_live_check(Dataset.objects.get(), masters.qa, actor=make.SETUP, person=None)
    with pytest.raises(run_driver.AlreadyOpen):
        live.start_live_check(Dataset.objects.get(), masters.qa, actor=make.SETUP, person=None)


def test_a_namespace_of_another_binding_is_refused(masters: make.Estate) -> None:
    other = Dataset.objects.get()
    other.binding = "OTHER"
    with pytest.raises(CheckRefused, match="another binding"):
        live.start_live_check(other, masters.qa, actor=make.SETUP, person=None)


def test_the_page_says_both_ways_with_requests_and_price(masters: make.Estate, operator: Client) -> None:
    scanned(masters)
    generation = backup_of(masters, master("shop", "1", "x"))
    page = operator.get(ADDRESS).content.decode()
    assert f"/backups/{generation.pk}/" in page
    assert "at most 4" in page
    assert "reads: 3, lists: 3; taken from the request limit before the check begins" in page


def test_the_page_of_a_large_family_offers_the_backup(
    masters: make.Estate, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned(masters)
    monkeypatch.setattr(live, "MOST", 2)
    page = operator.get(ADDRESS).content.decode()
    assert "Make a backup, and check the backup." in page
    assert "/backups/new/?env=qa&amp;binding=SETTINGS&amp;prefix=master%3A" in page
    assert operator.post(f"{ADDRESS}start").headers["Location"] == ADDRESS


def test_a_started_check_says_what_was_read_and_by_how_many_requests(masters: make.Estate, operator: Client) -> None:
    address = operator.post(f"{ADDRESS}start").headers["Location"]
    make.work()
    page = operator.get(address).content.decode()
    assert "All 3 keys in KV agree with D1." in page
    assert "4 requests, those to D1 included" in page
