"""The pages of integrity checks: which dataset agrees with D1, and where one does not."""

import json
import re
from pathlib import Path

import pytest
from django.test import Client

from audit.models import Entry
from backups.integrity import start as check_start
from backups.models import Check, Dataset, Difference, Generation
from kvops.models import Person, Run
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.generations import helpers as generation_helpers


def signed_in(client: Client, person: Person) -> Client:
    client.force_login(person.logins.get())
    return client


@pytest.fixture
def operator(client: Client, people: make.People) -> Client:
    return signed_in(client, people.operator)


def text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


def backed_up(estate: make.Estate, **more: object) -> Generation:
    return generation_helpers.backup_of(
        estate,
        generation_helpers.master("city", 1, "Kyoto"),
        generation_helpers.master("city", 2, "Nara"),
        **more,  # type: ignore[arg-type]
    )


def checked(generation: Generation) -> Check:
    check = make.check(generation)
    make.work()
    check.refresh_from_db()
    return check


def agreements(client: Client) -> dict[str, list[object]]:
    rows = client.get("/integrity/").context["datasets"]
    return {row.dataset.name: [mine.check for mine in row.agreements] for row in rows}


def test_without_a_dataset_the_page_says_where_one_comes_from(operator: Client, estate: make.Estate) -> None:
    assert "No dataset yet" in text(operator, "/integrity/")


def test_each_dataset_has_its_newest_check_per_environment(operator: Client, estate: make.Estate) -> None:
    generation_helpers.dataset()
    generation = backed_up(estate)
    checked(generation)
    newest = checked(generation)
    assert agreements(operator) == {"masters": [newest, None]}
    page = text(operator, "/integrity/")
    assert "KV was never compared with D1." in page
    assert "Do not delete the keys in KV" in page


def test_differences_come_first_then_what_was_never_checked(operator: Client, estate: make.Estate) -> None:
    generation_helpers.dataset(name="a-passed", binding="OTHER", prefix="x:")
    generation_helpers.dataset(name="b-never", prefix="never:")
    generation_helpers.dataset(name="c-failed")
    checked(backed_up(estate))
    assert list(agreements(operator)) == ["c-failed", "b-never", "a-passed"]


def test_the_definition_and_a_check_by_earlier_rules_are_shown(operator: Client, estate: make.Estate) -> None:
    generation_helpers.dataset()
    checked(backed_up(estate))
    assert "by earlier rules" not in text(operator, "/integrity/")
    make.change_datasets(ignore=["updated_at", "note"])
    page = text(operator, "/integrity/")
    assert "by earlier rules" in page
    assert "master:{type}:{id}" in page
    assert "name = name" in page


def test_the_newest_backup_can_be_checked_and_without_one_it_is_made_first(
    operator: Client, estate: make.Estate
) -> None:
    generation_helpers.dataset()
    generation = backed_up(estate)
    page = text(operator, "/integrity/")
    assert f'action="/backups/{generation.pk}/check"' in page
    assert "/backups/new/?env=production&amp;binding=SETTINGS&amp;prefix=master%3A" in page


def test_an_environment_without_the_database_says_so(operator: Client, estate: make.Estate) -> None:
    generation_helpers.dataset(database="OTHER_D1")
    assert "There is no D1 database OTHER_D1 here." in text(operator, "/integrity/")


def test_a_passed_check_says_what_agrees(operator: Client, estate: make.Estate) -> None:
    generation_helpers.dataset()
    generation_helpers.rows(estate, ("city", "1", "Kyoto"), ("city", "2", "Nara"))
    check = checked(
        generation_helpers.backup_of(
            estate, generation_helpers.master("city", "1", "Kyoto"), generation_helpers.master("city", "2", "Nara")
        )
    )
    page = text(operator, f"/integrity/{check.pk}/")
    assert "All 2 keys of the backup agree with D1." in page
    assert f'/audit/?subject=check:{check.pk}&amp;tree=on"' in page


def failed(estate: make.Estate) -> Check:
    """One row is missing, one field differs, one row has no key."""
    generation_helpers.dataset()
    generation_helpers.rows(estate, ("city", "2", "Osaka"), ("city", "3", "Kobe"))
    return checked(
        generation_helpers.backup_of(
            estate, generation_helpers.master("city", "1", "Kyoto"), generation_helpers.master("city", "2", "Nara")
        )
    )


def test_differences_are_named_by_key_and_field(operator: Client, estate: make.Estate) -> None:
    check = failed(estate)
    answer = operator.get(f"/integrity/{check.pk}/")
    found = {(one.name, one.kind, one.field) for one in answer.context["differences"]}
    assert found == {
        ("master:city:1", "missing_in_d1", ""),
        ("master:city:2", "field", "name"),
        ("master:city:3", "only_in_d1", ""),
    }
    assert [(kind, number) for kind, _, number in answer.context["kinds"]] == [
        ("field", 1),
        ("missing_in_d1", 1),
        ("only_in_d1", 1),
    ]
    page = answer.content.decode()
    assert "?name=master%3Acity%3A2" in page
    assert "Osaka" not in page


def test_differences_are_filtered_by_kind_and_paged(
    operator: Client, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.integrity.views.PAGE", 1)
    check = failed(estate)

    def shown(query: str) -> list[Difference]:
        return list(operator.get(f"/integrity/{check.pk}/{query}").context["differences"])

    (first,) = shown("")
    (second,) = shown(f"?after={first.pk}")
    assert second.pk > first.pk
    assert [one.kind for one in shown("?kind=field")] == ["field"]
    assert shown("?kind=nothing") == []


def test_a_check_says_when_not_every_difference_is_kept(
    operator: Client, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = failed(estate)
    assert "differences are kept" not in text(operator, f"/integrity/{check.pk}/")
    monkeypatch.setattr("backups.integrity.staging.MAX_STORED", 2)
    assert "The first 2 of 3 differences are kept." in text(operator, f"/integrity/{check.pk}/")


def test_a_check_under_way_is_polled_until_it_is_over(operator: Client, estate: make.Estate) -> None:
    generation_helpers.dataset()
    check = make.check(backed_up(estate))
    assert f'hx-get="/integrity/{check.pk}/live"' in text(operator, f"/integrity/{check.pk}/")
    first, second = (operator.get(f"/integrity/{check.pk}/live") for _ in range(2))
    assert first.content == second.content
    make.work()
    assert operator.get(f"/integrity/{check.pk}/live")["HX-Refresh"] == "true"


def test_a_check_whose_run_failed_shows_why(operator: Client, estate: make.Estate) -> None:
    generation_helpers.dataset()
    check = make.check(backed_up(estate))
    Run.objects.filter(pk=check.run_id).update(state="running")
    Run.objects.filter(pk=check.run_id).update(
        state="failed", error_code="store", error="R2 is away.", finished_at="2026-01-01T00:00:00+00:00"
    )
    page = text(operator, f"/integrity/{check.pk}/")
    assert "R2 is away." in page
    assert "hx-get" not in page


def test_a_check_is_made_again_by_an_operator(operator: Client, estate: make.Estate) -> None:
    check = failed(estate)
    answer = operator.post(f"/integrity/{check.pk}/again")
    again = Check.objects.latest("pk")
    assert answer.headers["Location"] == f"/integrity/{again.pk}/"
    assert (again.pk > check.pk, again.generation) == (True, check.generation)


def test_two_checks_of_a_backup_do_not_run_at_once(operator: Client, estate: make.Estate) -> None:
    generation_helpers.dataset()
    check = make.check(backed_up(estate))
    operator.post(f"/integrity/{check.pk}/again")
    assert Check.objects.count() == 1
    assert Entry.objects.get(action="refused").subject == f"check:{check.pk}"


def test_a_check_of_a_file_is_not_repeated_from_its_page(operator: Client, estate: make.Estate, tmp_path: Path) -> None:
    file = tmp_path / "masters.json"
    file.write_text("[]")
    check = check_start.start_file_check(estate.qa.environment, generation_helpers.dataset(), file, actor=make.SETUP)
    assert "A file is checked by the command that read it." in text(operator, f"/integrity/{check.pk}/")
    assert operator.post(f"/integrity/{check.pk}/again").status_code == 404


NOTHING = "No key of KV was compared: this says nothing about KV."


def checked_file(estate: make.Estate, file: Path, *names: str) -> Check:
    """A file as D1 has it, compared with D1."""
    generation_helpers.dataset()
    generation_helpers.rows(estate, ("city", "1", "Kyoto"))
    entries = [{"key": f"master:city:{name}", "value": '{"id":"1","type":"city","name":"Kyoto"}'} for name in names]
    file.write_text(json.dumps(entries))
    dataset = Dataset.objects.get()
    check = check_start.start_file_check(estate.qa.environment, dataset, file, actor=make.SETUP)
    for _ in run_driver.drive_to_the_end(check.run):
        pass
    check.refresh_from_db()
    return check


def test_a_file_that_equals_d1_says_nothing_about_kv(operator: Client, estate: make.Estate, tmp_path: Path) -> None:
    check = checked_file(estate, tmp_path / "masters.json", "1")
    assert (check.outcome, check.kind) == (Check.Outcome.PASSED, Check.Source.FILE)
    page = text(operator, f"/integrity/{check.pk}/")
    for part in ("File against D1", "The 1 entry agrees with D1.", NOTHING, "Entries compared"):
        assert part in page
    assert "of the backup" not in page
    [mine, _] = operator.get("/integrity/").context["datasets"][0].agreements
    assert (mine.check, mine.other) == (None, check)
    index = text(operator, "/integrity/")
    for part in ("KV was never compared with D1.", "File against D1", NOTHING):
        assert part in index


def test_differences_of_a_file_speak_of_no_key_in_kv(operator: Client, estate: make.Estate, tmp_path: Path) -> None:
    check = checked_file(estate, tmp_path / "masters.json")
    page = text(operator, f"/integrity/{check.pk}/")
    assert "The row has no entry" in page
    assert "no key in KV" not in page
    assert operator.get("/integrity/").context["datasets"][0].urgency == 0


def test_a_check_of_kv_says_so(operator: Client, estate: make.Estate) -> None:
    check = failed(estate)
    page = text(operator, f"/integrity/{check.pk}/")
    assert "Backup of KV against D1" in page
    assert "The row has no key in KV" in page
    assert NOTHING not in page + text(operator, "/integrity/")


def test_a_difference_of_a_key_of_many_rows_names_the_row_and_the_rules(operator: Client, estate: make.Estate) -> None:
    generation_helpers.dataset(
        key="master:{type}", holds="array", row="{id}", path="items", field_rules={"name": ["number_text"]}
    )
    generation_helpers.rows(estate, ("city", "1", "5"), ("city", "2", "6"))
    items = [{"type": "city", "id": "1", "name": 5}, {"type": "city", "id": "2", "name": 7}]
    backup = generation_helpers.backup_of(estate, generation_helpers.entry("master:city", {"items": items}))
    page = text(operator, f"/integrity/{checked(backup).pk}/")
    assert re.search(r"Row\s+(<[^>]*>)*2<", page)
    assert "an array of rows" in page
    assert "a number is the text that spells it" in page
    assert "1 field is equal only by it" in page
