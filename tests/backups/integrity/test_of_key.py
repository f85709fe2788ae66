"""A key beside its row of D1, on the page of the key."""

from dataclasses import replace
from typing import Any

import pytest
from django.test import Client

from audit.actions import Action
from audit.models import Entry
from backups.integrity import live
from backups.models import Check, Dataset
from kvops.models import Family, Person, Run
from kvops.operations import registry
from tests import make
from tests.backups.generations.helpers import dataset, master, rows
from tests.signing import signed_in

NAME = "master:shop:1"
KEY, D1 = "/key/qa/SETTINGS/", "/key/qa/SETTINGS/d1"


@pytest.fixture(autouse=True)
def no_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clean-up is tested elsewhere; here a check is nobody's."""
    monkeypatch.setitem(registry.RUNS, Run.Kind.CHECK, replace(registry.RUNS[Run.Kind.CHECK], finished=()))


@pytest.fixture
def masters(estate: make.Estate) -> make.Estate:
    """One key in KV, and the same row in D1."""
    dataset()
    rows(estate, ("shop", "1", "name 1"))
    estate.put(estate.qa, NAME, master("shop", "1", "name 1").data)
    return estate


def checked(estate: make.Estate) -> Check:
    check = live.start_live_check(Dataset.objects.get(), estate.qa, actor=make.SETUP, person=None)
    make.work()
    return check


def page(who: Person, name: str = NAME) -> str:
    return signed_in(who).get(KEY, {"name": name}).content.decode()


def asked(browser: Client, name: str = NAME) -> Any:
    return browser.post(f"{D1}?name={name}")


def test_the_page_says_what_the_newest_check_found(masters: make.Estate, people: make.People) -> None:
    assert "No check compared this key with D1 yet." in page(people.auditor)
    checked(masters)
    assert "The newest check found no difference for this key" in page(people.auditor)
    masters.put(masters.qa, NAME, master("shop", "1", "changed").data)
    newest = checked(masters)
    text = page(people.auditor)
    assert "The newest check found a difference." in text
    assert f'href="/integrity/{newest.pk}/"' in text
    assert "<code>name</code>" in text


def test_a_key_without_a_dataset_has_no_row(masters: make.Estate, people: make.People) -> None:
    assert "Its row in D1" not in page(people.operator, "mastercache:1")


def test_the_key_and_its_row_are_read_side_by_side_on_request(masters: make.Estate, people: make.People) -> None:
    masters.put(masters.qa, NAME, master("shop", "1", "changed").data)
    answer = asked(signed_in(people.reviewer))
    found = answer.context["found"]
    line = next(one for one in found.lines if one.name == "name")
    assert [cell.text for cell in line.cells] == ['"changed"', '"name 1"']
    assert (line.differs, found.differs) == (True, True)
    assert "no-store" in answer["Cache-Control"]
    entry = Entry.objects.get(action=Action.VALUE_VIEWED)
    assert (entry.actor_id, entry.details["key"]) == (people.reviewer.pk, NAME)
    assert "changed" not in str(Entry.objects.values())
    assert not Check.objects.exists()


def test_a_key_that_agrees_says_so_and_one_without_a_row_differs(masters: make.Estate, people: make.People) -> None:
    assert "They agree by the rules of the dataset." in asked(signed_in(people.operator)).content.decode()
    masters.put(masters.qa, "master:shop:9", master("shop", "9", "new").data)
    assert asked(signed_in(people.operator), "master:shop:9").context["found"].differs is True


@pytest.mark.parametrize("how", ["settings", "sql"])
def test_a_masked_key_is_not_read(masters: make.Estate, people: make.People, how: str) -> None:
    make.change_families("master:", category="settings")
    if how == "sql":
        Family.objects.filter(pattern="master:").update(category="legacy")
    answer = asked(signed_in(people.operator))
    assert answer.status_code == 302
    assert not masters.cloudflare.calls("value")
    assert not Entry.objects.filter(action=Action.VALUE_VIEWED).exists()


def test_what_cloudflare_refuses_is_said_on_its_side(
    masters: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("QA_READ")
    assert asked(signed_in(people.operator)).status_code == 302
