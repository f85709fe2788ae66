"""The page of masters and clinics: count first, then export; clinic records with their newest copy."""

import re

import pytest
from django.test import Client

from audit.models import Entry
from backups.models import Generation
from tests import make
from tests.backups.generations import helpers as generation_helpers
from tests.fakes.api import FakeApi
from tests.signing import signed_in

AT = "/backups/masters/"
D1 = {"environment": "qa", "source": "d1"}


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


@pytest.fixture
def d1(estate: make.Estate) -> make.Estate:
    """Two rows in QA."""
    generation_helpers.dataset()
    generation_helpers.rows(estate, ("area", "1", "x"), ("area", "2", "y"))
    return estate


def test_the_rows_are_counted_before_anything_starts(d1: make.Estate, operator: Client) -> None:
    page = operator.get(AT, D1).content.decode()
    assert re.search(r'<td class="num"[^>]*>2</td>', page)
    assert "export_masters qa --source d1 --name masters --to-r2" in page
    assert not Generation.objects.exists()


def test_the_export_is_a_run_with_its_own_page(d1: make.Estate, operator: Client, people: make.People) -> None:
    answer = operator.post(f"{AT}start", D1)
    made = Generation.objects.get()
    assert answer.headers["Location"] == f"/backups/{made.pk}/"
    make.work()
    made.refresh_from_db()
    assert (made.status, made.made_by, made.keys) == ("verified", people.operator, 2)
    page = operator.get(f"/backups/{made.pk}/").content.decode()
    assert "MASTERS_D1.masters" in page
    assert "restores/new" not in page


def test_a_second_click_is_refused_and_recorded(d1: make.Estate, operator: Client) -> None:
    operator.post(f"{AT}start", D1)
    answer = operator.post(f"{AT}start", D1)
    assert answer.status_code == 422
    assert "already running" in answer.content.decode()
    assert Entry.objects.filter(action="refused").count() == 1


def test_the_teams_api_is_counted_and_exported(
    d1: make.Estate, operator: Client, settings: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.conf.settings.KVOPS_MASTERS_API_HOSTS", ["127.0.0.1"], raising=False)
    with FakeApi() as api:
        api.answer({"masters": [{"type": "area", "id": "7", "name": "z"}]})
        asked = {"environment": "qa", "source": "api", "url": api.url}
        assert re.search(r'<td class="num"[^>]*>1</td>', operator.get(AT, asked).content.decode())
        operator.post(f"{AT}start", asked)
        make.work()
    made = Generation.objects.get()
    assert (made.status, made.source, made.keys) == ("verified", f"api:{api.url}", 1)


def test_an_address_that_is_not_allowed_is_an_error_at_its_field(d1: make.Estate, operator: Client) -> None:
    page = operator.get(AT, {"environment": "qa", "source": "api", "url": "https://elsewhere.example/"})
    assert "elsewhere.example is not an allowed host" in page.content.decode()
    refused = operator.post(f"{AT}start", {"environment": "qa", "source": "api", "url": ""})
    assert refused.status_code == 422


def test_a_d1_that_does_not_answer_is_said(d1: make.Estate, operator: Client) -> None:
    generation_helpers.dataset(name="gone", prefix="gone:", key="gone:{id}", table="gone")
    page = operator.get(AT, D1).content.decode()
    assert "could not be counted" in page
    assert "no such table" in page


def test_without_a_dataset_the_page_says_what_comes_next(estate: make.Estate, operator: Client) -> None:
    assert "Add one to policy.toml" in operator.get(AT).content.decode()


def test_others_read_and_cannot_start(d1: make.Estate, people: make.People) -> None:
    page = signed_in(people.auditor).get(AT, D1).content.decode()
    assert "Only an operator can export master data" in page
    assert d1.cloudflare.journal == []


def test_clinic_records_are_listed_with_what_can_be_done(d1: make.Estate, operator: Client) -> None:
    page = operator.get(AT).content.decode()
    assert "not scanned" in page
    assert "/backups/new/?env=qa&amp;binding=SETTINGS&amp;prefix=clinic%3Aid%3A" in page
    assert "/cleanup/new/?binding=SETTINGS&amp;prefix=clinic%3Aid%3A" in page
