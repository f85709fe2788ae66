"""The page of a red check: the next step, filters, files, and the history of a dataset."""

import csv
import json
from io import StringIO

import pytest
from django.test import Client

from backups.integrity import cases, next_steps
from backups.integrity.causes import Cause
from backups.models import Check, Difference
from tests import make
from tests.backups.generations import helpers as generation_helpers
from tests.backups.integrity.differing import agree, assigned, check_of, failed, only
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


def page(client: Client, check: Check, query: str = "") -> str:
    answer = client.get(f"/integrity/{check.pk}/{query}")
    assert answer.status_code == 200
    return answer.content.decode()


def shown(client: Client, check: Check, query: str) -> set[str]:
    found = client.get(f"/integrity/{check.pk}/{query}").context["differences"]
    return {one.name for one in found}


def test_a_red_check_says_what_comes_next(estate: make.Estate, people: make.People) -> None:
    check, operator = failed(estate), signed_in(people.operator)
    first = page(operator, check)
    assert "3 differences. Keys: 3, rows: 3" in first
    assert "Nobody looks into these differences yet. Name a person and a day." in first
    assert f'action="/integrity/{check.pk}/case"' in first
    assigned(check, people.operator, people.operator)
    second = page(operator, check)
    assert "Both values of the first difference" in second
    for way in ("/import.sql", "/again", "/outcome"):
        assert f'action="/integrity/{check.pk}{way}"' in second
    assert "/backups/new/?env=qa&amp;binding=SETTINGS&amp;prefix=master%3A" in second
    assert check.generation is not None
    later = check_of(check.generation)
    assert f'href="/integrity/{later.pk}/">Open the newest check' in page(operator, check)


def test_three_clicks_lead_from_the_overview_to_the_next_right_step(estate: make.Estate, people: make.People) -> None:
    check, operator = failed(estate), signed_in(people.operator)
    assert f'href="/integrity/{check.pk}/"' in operator.get("/").content.decode()  # click one
    address = f"/integrity/{check.pk}/differences/{only(check, 'missing_in_d1').pk}/values"
    assert f'formaction="{address}"' in page(operator, check)  # click two
    third = operator.post(address).content.decode()
    assert "Load the missing rows into D1 with the import file, then check again." in third
    assert f'action="/integrity/{check.pk}/import.sql"' in third  # click three


def test_who_is_named_already_is_not_asked_for_again_beside_the_values(
    estate: make.Estate, people: make.People
) -> None:
    check, operator = failed(estate), signed_in(people.operator)
    address = f"/integrity/{check.pk}/differences/{only(check, 'only_in_d1').pk}/values"
    assert f'href="/integrity/{check.pk}/#case">Name a person' in operator.post(address).content.decode()
    assigned(check, people.operator, people.operator)
    after = operator.post(address).content.decode()
    assert "Name a person" not in after
    assert f'href="/integrity/{check.pk}/#what-now">How to correct it' in after


def test_every_cause_has_a_next_step() -> None:
    assert set(next_steps.AFTER) == set(Cause)


def test_people_without_the_right_see_why(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    seen = page(signed_in(people.auditor), check)
    assert "/values" not in seen
    assert 'action="/integrity' not in seen
    assert "You are not an operator." in seen
    assigned(check, people.operator, people.operator)
    assert "Only an operator or a reviewer may see values." in page(signed_in(people.auditor), check)
    assert "Both values of the first difference" in page(signed_in(people.reviewer), check)


def test_differences_are_filtered_by_kind_field_and_key(estate: make.Estate, people: make.People) -> None:
    check, client = failed(estate), signed_in(people.auditor)
    assert shown(client, check, "?kind=only_in_d1") == {"master:city:3"}
    assert shown(client, check, "?field=name") == {"master:city:2"}
    assert shown(client, check, "?key=ity:2") == {"master:city:2"}
    assert shown(client, check, "?key=ity:2&match=starts") == set()
    assert shown(client, check, "?key=master:city:1&match=starts") == {"master:city:1"}
    assert shown(client, check, "?field=nothing") == set()
    assert shown(client, check, "?key=%00") == set()
    assert "Nothing matches" in page(client, check, "?key=zzz")


def test_the_files_hold_all_differences_that_match(estate: make.Estate, people: make.People) -> None:
    check, client = failed(estate), signed_in(people.auditor)
    table = client.get(f"/integrity/{check.pk}/differences/?format=csv").getvalue().decode("utf-8-sig")
    assert sorted(csv.reader(StringIO(table))) == [
        ["key", "row", "difference", "field"],
        ["master:city:1", "", "missing_in_d1", ""],
        ["master:city:2", "", "field", "name"],
        ["master:city:3", "", "only_in_d1", ""],
    ]
    found = json.loads(client.get(f"/integrity/{check.pk}/differences/?format=json&kind=field").getvalue())
    assert (found["differences"], found["kept_by_name"], found["complete"]) == (3, 3, True)
    assert [row["key"] for row in found["rows"]] == ["master:city:2"]
    assert b"Nara" not in client.get(f"/integrity/{check.pk}/differences/?format=json").getvalue()


def test_the_files_say_when_more_were_found_than_kept(estate: make.Estate, people: make.People) -> None:
    check, client = failed(estate), signed_in(people.auditor)
    Difference.objects.filter(pk=only(check, "field").pk).delete()
    table = client.get(f"/integrity/{check.pk}/differences/").getvalue().decode("utf-8-sig")
    assert list(csv.reader(StringIO(table)))[-1] == [
        "1 more difference was counted and not kept by name.",
        "",
        "not_kept",
        "",
    ]
    assert json.loads(client.get(f"/integrity/{check.pk}/differences/?format=json").getvalue())["complete"] is False


def test_the_history_of_a_dataset_has_each_check(estate: make.Estate, people: make.People) -> None:
    check, client = failed(estate), signed_in(people.auditor)
    agree(estate)
    assert check.generation is not None
    passed = check_of(check.generation)
    answer = client.get("/integrity/datasets/masters/")
    assert [one.pk for one in answer.context["checks"]] == [passed.pk, check.pk]
    assert f'href="/integrity/{check.pk}/"' in answer.text
    assert client.get("/integrity/datasets/nothing/").status_code == 404
    assert "/integrity/datasets/masters/" in client.get("/integrity/").content.decode()


def test_a_dataset_without_a_check_says_so(estate: make.Estate, people: make.People) -> None:
    generation_helpers.dataset(name="others", prefix="other:")
    client = signed_in(people.auditor)
    assert "Never checked" in client.get("/integrity/datasets/others/").content.decode()


def test_a_form_with_a_mistake_shows_the_page_again(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    answer = signed_in(people.operator).post(
        f"/integrity/{check.pk}/case", {"owner": "0", "due": "soon", "note": "kept as agreed"}
    )
    assert answer.status_code == 422
    assert "kept" in answer.content.decode()
    assert cases.open_case(check) is None
