"""The page of retention: the backups that go soon, and the short form that pins one."""

import pytest
from django.test import Client

from backups.models import Pin
from tests import make
from tests.backups.retention.backups_of_any_age import backup_of_age
from tests.signing import said, signed_in

pytestmark = pytest.mark.django_db
SOON = "/retention/?state=soon"


@pytest.fixture
def auditor(people: make.People) -> Client:
    return signed_in(people.auditor)


def numbers(client: Client, address: str) -> list[int]:
    return [kept.generation.pk for kept in client.get(address).context["backups"]]


def test_the_backups_that_go_within_14_days_are_one_click_away(estate: make.Estate, auditor: Client) -> None:
    make.change_families(retain_days=30)
    due, soon = backup_of_age(estate.qa, 40), backup_of_age(estate.qa, 17)
    backup_of_age(estate.qa, 15)
    backup_of_age(estate.qa, 1)
    assert numbers(auditor, SOON) == [due.pk, soon.pk]
    assert 'href="?state=soon"' in auditor.get("/retention/").content.decode()


def test_more_than_a_request_takes_is_said(
    estate: make.Estate, auditor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    for days in 42, 41, 40, 1:
        backup_of_age(estate.qa, days)
    assert "3 backups can be deleted" in auditor.get("/retention/").text
    monkeypatch.setattr("backups.retention.requests.CAP", 2)
    assert "More than 2 backups can be deleted" in auditor.get("/retention/").text


def test_an_environment_with_many_backups_leaves_none_out_of_another(
    estate: make.Estate, auditor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.retention.requests.CAP", 1)
    oldest, second, *_newer = [backup_of_age(estate.qa, days).pk for days in (43, 42, 41, 1)]
    only, _newest = [backup_of_age(estate.production, days).pk for days in (40, 1)]
    pruning = auditor.get("/retention/").context["pruning"]
    due = {environment.slug: [kept.generation.pk for kept in found] for environment, found, _prune in pruning}
    assert due == {"qa": [oldest, second], "production": [only]}


def test_backups_are_decided_on_in_parts_that_grow(
    estate: make.Estate, auditor: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.retention.inputs.FIRST", 1)
    monkeypatch.setattr("backups.retention.inputs.CHUNK", 2)
    made = [backup_of_age(estate.qa, days).pk for days in range(46, 39, -1)]
    assert numbers(auditor, "/retention/") == made
    assert numbers(auditor, f"/retention/?after={made[2]}") == made[3:]


def test_one_is_pinned_from_the_list_and_the_list_is_shown_again(estate: make.Estate, auditor: Client) -> None:
    due = backup_of_age(estate.qa, 40)
    backup_of_age(estate.qa, 1)
    assert f'action="/backups/{due.pk}/pin"' in auditor.get(SOON).content.decode()
    answer = auditor.post(f"/backups/{due.pk}/pin", {"reason": "Still needed", "next": SOON}, follow=True)
    assert answer.redirect_chain == [(SOON, 302)]
    assert said(answer) == ["The backup is pinned. It stays until the pin is removed."]
    assert Pin.objects.get().generation == due
    assert numbers(auditor, SOON) == []


@pytest.mark.parametrize("address", ["https://example.com/", "//example.com/retention/", "/retention/x", "/runs/", ""])
def test_a_pin_leads_to_no_other_page(estate: make.Estate, auditor: Client, address: str) -> None:
    made = backup_of_age(estate.qa, 1)
    answer = auditor.post(f"/backups/{made.pk}/pin", {"reason": "no longer needed", "next": address})
    assert answer.headers["Location"] == f"/backups/{made.pk}/"
