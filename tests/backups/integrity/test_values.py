"""Both values of a difference on request, and the likely causes: read now, masked as elsewhere, stored nowhere."""

import json
from typing import Any

import pytest

from audit.models import Entry
from backups.datasets.mapping import Correspondence
from backups.integrity import causes, d1_rows, import_file, live, values as check_values
from backups.integrity.causes import Cause
from backups.integrity.import_file import ImportRefused
from backups.integrity.values import BothValues
from backups.models import Check, Difference, GenerationEntry
from kvops.models import Category, Person
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers
from tests.backups.integrity.differing import agree, check_of, failed, only, put
from tests.backups.restores import helpers as restore_helpers
from tests.signing import said, signed_in

pytestmark = pytest.mark.django_db

SECRET = "canary-5f2d81"


def seen(difference: Difference, by: Person) -> BothValues:
    return check_values.view_values(difference, by=by)


def texts(found: BothValues, name: str) -> list[str | None]:
    [line] = [line for line in found.lines if line.name == name]
    return [cell.text for cell in line.cells]


def asked(check: Check, difference: Difference, who: Person) -> Any:
    return signed_in(who).post(f"/integrity/{check.pk}/differences/{difference.pk}/values")


def correct(estate: make.Estate, statement: str, *params: object) -> None:
    """Change D1 of QA past the product."""
    database = generation_helpers.d1(estate)
    database.execute("PRAGMA query_only = 0")
    database.execute(statement, params)
    database.commit()


def cause_of(check: Check, kind: str) -> tuple[Cause, str]:
    found = causes.by_name(check, [only(check, kind)])[only(check, kind).pk]
    return found.cause, str(found.reason)


def test_a_field_is_shown_in_the_backup_in_kv_and_in_d1(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    put(estate, "2", "Uji")
    found = seen(only(check, "field"), people.operator)
    assert [str(side.title) for side in found.sides] == [f"Backup {check.generation_id}", "KV now", "D1 now"]
    assert texts(found, "name") == ['"Nara"', '"Uji"', '"Osaka"']
    assert [line.name for line in found.lines if line.differs] == ["name"]
    assert found.differs is True


def test_what_no_longer_differs_says_so(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    agree(estate)
    for kind in ("field", "missing_in_d1", "only_in_d1"):
        assert seen(only(check, kind), people.operator).differs is False, kind
    page = asked(check, only(check, "field"), people.operator).content.decode()
    assert "They no longer differ. Check again to prove it." in page
    assert f'action="/integrity/{check.pk}/again"' in page


def test_a_missing_row_and_a_missing_key_still_differ(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    missing = seen(only(check, "missing_in_d1"), people.operator)
    assert ([side.there for side in missing.sides], missing.differs) == ([True, True, False], True)
    alone = seen(only(check, "only_in_d1"), people.operator)
    assert ([side.there for side in alone.sides], alone.differs) == ([False, False, True], True)


def test_the_view_is_recorded_before_and_never_stored(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    put(estate, "2", SECRET)
    answer = asked(check, only(check, "field"), people.reviewer)
    assert SECRET in answer.content.decode()
    assert answer["Cache-Control"] == "max-age=0, no-cache, no-store, must-revalidate, private"
    entry = Entry.objects.get(action="value.viewed")
    assert (entry.subject, entry.details["key"]) == (f"check:{check.pk}", "master:city:2")
    assert SECRET not in json.dumps(entry.details)
    assert asked(check, only(check, "field"), people.auditor).status_code == 403


def test_a_masked_family_is_not_read(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    make.change_families("master:", category=Category.SETTINGS)
    calls: list[bool] = []
    estate.cloudflare.hook("query", lambda _request: calls.append(True))
    found = seen(only(check, "field"), people.operator)
    assert "Masked" in str(found.hidden)
    assert (found.sides, calls) == ((), [])
    page = asked(check, only(check, "field"), people.operator).content.decode()
    assert "Nara" not in page
    assert "Osaka" not in page


def test_a_side_that_cannot_be_read_says_why(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    estate.s3.objects.clear()
    estate.cloudflare.fault("query", "error", times=20)
    found = seen(only(check, "field"), people.operator)
    assert found.differs is None
    assert all(side.problem for side in (found.sides[0], found.sides[2]))
    assert texts(found, "name") == [None, '"Nara"', None]


def test_the_difference_of_another_check_is_not_found(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    answer = signed_in(people.operator).post(f"/integrity/{check.pk + 1}/differences/{only(check, 'field').pk}/values")
    assert answer.status_code == 404


def test_rows_are_looked_up_by_index_and_number(estate: make.Estate, people: make.People) -> None:
    database = generation_helpers.d1(estate)
    database.execute("PRAGMA query_only = 0")
    database.execute("CREATE TABLE shops (id, name TEXT)")
    database.executemany("INSERT INTO shops VALUES (?, ?)", [(7, "x"), ("8", "x"), (9.5, "x")])
    generation_helpers.dataset(
        name="shops", prefix="shop:", table="shops", key="shop:{id}", fields={"name": "name"}, ignore=[]
    )
    make.family("shop:", Category.LEGACY)
    for name in ("7", "8", "9.5"):
        estate.put(estate.qa, f"shop:{name}", b'{"name": "y"}')
    check = check_of(restore_helpers.verified_backup(estate.qa, "shop:"))
    for difference in check.found.filter(kind="field"):
        assert texts(seen(difference, people.operator), "name")[-1] == '"x"'
    assert check.differences == 3


# Likely causes


@pytest.mark.parametrize(
    ("kv", "d1", "reason"),
    [
        ("Nara ", "Nara", "Only this differs: spaces."),
        ("nara", "Nara", "Only this differs: upper and lower case."),
        ("12", "12.0", "Only this differs: number or text."),
    ],
)
def test_values_equal_but_for_their_form_are_formatting(
    estate: make.Estate, people: make.People, kv: str, d1: str, reason: str
) -> None:
    check = failed(estate)
    put(estate, "2", kv)
    correct(estate, "UPDATE masters SET name = ? WHERE id = '2'", d1)
    again = check_of(restore_helpers.verified_backup(estate.qa))
    likely = seen(only(again, "field"), people.operator).likely
    assert (likely.cause, str(likely.reason)) == (Cause.FORMATTING, reason)
    assert check.pk != again.pk


def test_a_row_changed_after_the_backup_is_newer(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    assert seen(only(check, "field"), people.operator).likely.cause == Cause.UNKNOWN
    correct(estate, "UPDATE masters SET updated_at = '2099-01-01T00:00:00Z' WHERE id = '2'")
    likely = seen(only(check, "field"), people.operator).likely
    assert likely.cause == Cause.D1_NEWER
    assert str(likely.reason).startswith("updated_at of the row is 2099-01-01")
    found = check_values.likely_causes(check, list(check.found.all()))
    assert found[only(check, "field").pk] == likely


def test_an_older_date_in_kv_makes_d1_newer(estate: make.Estate, people: make.People) -> None:
    failed(estate)
    put(estate, "2", "Nara", updated_at="2020-01-01")
    correct(estate, "UPDATE masters SET updated_at = '2021-01-01 00:00:00' WHERE id = '2'")
    check = check_of(restore_helpers.verified_backup(estate.qa))
    likely = seen(only(check, "field"), people.operator).likely
    assert likely.cause == Cause.D1_NEWER
    assert "2020-01-01" in str(likely.reason)


def test_a_table_without_such_a_column_is_read_all_the_same(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    correct(estate, "ALTER TABLE masters DROP COLUMN updated_at")
    found = seen(only(check, "field"), people.operator)
    assert (texts(found, "name")[-1], found.likely.cause) == ('"Osaka"', Cause.UNKNOWN)


def test_a_key_that_nobody_ever_saw_was_never_loaded(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    assert cause_of(check, "only_in_d1")[0] == Cause.UNKNOWN  # there was no scan
    cleanup_helpers.scan(estate.qa)
    assert cause_of(check, "only_in_d1") == (Cause.NEVER_LOADED, "No scan and no backup ever held the key.")


def test_a_key_of_an_earlier_backup_was_deleted(estate: make.Estate, people: make.People) -> None:
    put(estate, "3", "Kobe")
    earlier = restore_helpers.verified_backup(estate.qa)
    restore_helpers.wipe(estate, estate.qa, "master:city:3")
    check = failed(estate)
    assert cause_of(check, "only_in_d1") == (Cause.DELETED, f"Backup {earlier.pk} still held the key.")
    assert GenerationEntry.objects.filter(generation=earlier, name="master:city:3").exists()


def test_a_key_that_a_scan_found_gone_was_deleted(estate: make.Estate, people: make.People) -> None:
    put(estate, "3", "Kobe")
    cleanup_helpers.scan(estate.qa)
    restore_helpers.wipe(estate, estate.qa, "master:city:3")
    cleanup_helpers.scan(estate.qa)
    cause, reason = cause_of(failed(estate), "only_in_d1")
    assert cause == Cause.DELETED
    assert "found it gone without an explanation" in reason


def test_a_key_that_a_later_scan_lists_is_newer_than_the_backup(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    put(estate, "3", "Kobe")
    cleanup_helpers.scan(estate.qa)
    assert cause_of(check, "only_in_d1")[0] == Cause.KV_NEWER


def test_a_row_was_never_loaded_or_it_was_deleted_since_a_check_passed(
    estate: make.Estate, people: make.People
) -> None:
    check = failed(estate)
    assert cause_of(check, "missing_in_d1")[0] == Cause.ROW_NOT_LOADED
    agree(estate)
    assert check.generation is not None
    passed = check_of(check.generation)
    correct(estate, "DELETE FROM masters WHERE id = '1'")
    cause, reason = cause_of(check_of(check.generation), "missing_in_d1")
    assert cause == Cause.ROW_DELETED
    assert reason.startswith(f"Check {passed.pk} ")


def test_a_key_that_no_check_compared_had_no_row_that_was_deleted(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    agree(estate)
    assert check.generation is not None
    check_of(check.generation)
    put(estate, "9", "Uji")
    later = check_of(restore_helpers.verified_backup(estate.qa))
    found = cause_of(later, "missing_in_d1")
    assert found[0] == Cause.ROW_NOT_LOADED
    assert "it did not compare this key" in found[1]
    page = asked(later, only(later, "missing_in_d1"), people.operator).content.decode()
    assert "Likely: the row was never loaded" in page
    assert "load the key again" not in page


def test_names_that_differ_only_in_form_find_each_other(estate: make.Estate, people: make.People) -> None:
    generation_helpers.dataset()
    generation_helpers.rows(estate, ("City", "1", "Kyoto"))
    put(estate, "1", "Kyoto")
    check = check_of(restore_helpers.verified_backup(estate.qa))
    for kind, other in (("missing_in_d1", "master:City:1"), ("only_in_d1", "master:city:1")):
        cause, reason = cause_of(check, kind)
        assert (cause, reason) == (
            Cause.FORMATTING,
            f"{other} stands on the other side, and only this differs: upper and lower case.",
        )


def test_a_field_that_the_dataset_does_not_name_is_its_mistake(estate: make.Estate, people: make.People) -> None:
    generation_helpers.dataset()
    generation_helpers.rows(estate, ("city", "1", "Kyoto"))
    put(estate, "1", "Kyoto", zip="600")
    check = check_of(restore_helpers.verified_backup(estate.qa))
    assert cause_of(check, "unknown_field")[0] == Cause.DATASET
    found = seen(only(check, "unknown_field"), people.operator)
    assert (texts(found, "zip"), found.differs) == (['"600"', '"600"', None], True)


def test_the_causes_of_a_page_are_found_on_request(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    correct(estate, "UPDATE masters SET name = 'nara' WHERE id = '2'")
    answer = signed_in(people.reviewer).post(f"/integrity/{check.pk}/causes?kind=field")
    page = answer.content.decode()
    assert "Only this differs: upper and lower case." in page
    assert "master:city:1" not in page  # the filter holds
    assert "Nara" not in page
    estate.s3.objects.clear()
    refused = signed_in(people.reviewer).post(f"/integrity/{check.pk}/causes", follow=True)
    assert len(said(refused)) == 1


def test_one_template_may_fit_a_name_in_several_ways() -> None:
    rule = Correspondence.of(
        {
            "name": "x",
            "prefix": "a:",
            "table": "t",
            "key": "a:{p}:{q}",
            "only_in_d1": "block",
            "fields": {},
            "ignore": [],
        }
    )
    assert d1_rows.readings(rule, ("a:1:2:3", "")) == [{"p": "1", "q": "2:3"}, {"p": "1:2", "q": "3"}]
    assert d1_rows.readings(rule, ("b:1", "")) == []
    assert len(d1_rows.readings(rule, (f"a:{':' * 500}", ""))) == d1_rows.MOST_READINGS


# Many rows in a key


def cities(estate: make.Estate) -> Check:
    """One key holds cities 1 and 2. D1 lacks city 1, has another name for city 2, and city 3 besides."""
    make.family("cities", Category.LEGACY, exact=True)
    shape = {"holds": "array", "row": "{id}", "fields": {"id": "id", "name": "name"}}
    generation_helpers.dataset(name="cities", prefix="cities", key="cities", ignore=[], **shape)
    generation_helpers.rows(estate, ("city", "2", "Osaka"), ("city", "3", "Kobe"))
    estate.put(estate.qa, "cities", b'[{"id": "1", "name": "Kyoto"}, {"id": "2", "name": "Nara"}]')
    return check_of(restore_helpers.verified_backup(estate.qa, "cities"))


def test_a_row_of_a_key_is_shown_beside_its_row_in_d1(estate: make.Estate, people: make.People) -> None:
    check = cities(estate)
    found = seen(only(check, "field"), people.operator)
    assert (found.difference.row, texts(found, "name")) == ("2", ['"Nara"', '"Nara"', '"Osaka"'])
    assert [line.name for line in found.lines if line.differs] == ["name"]
    missing = seen(only(check, "missing_in_d1"), people.operator)
    assert ([side.there for side in missing.sides], missing.differs) == ([True, True, False], True)
    alone = seen(only(check, "only_in_d1"), people.operator)
    assert ([side.there for side in alone.sides], alone.differs) == ([False, False, True], True)
    correct(estate, "UPDATE masters SET name = 'Nara' WHERE id = '2'")
    assert seen(only(check, "field"), people.operator).differs is False


def test_rows_of_a_key_are_imported_each_by_its_id(estate: make.Estate, people: make.People) -> None:
    check = cities(estate)
    text = "".join(import_file.import_lines(check, by=people.operator))
    found = [line for line in text.splitlines() if not line.startswith("--")]
    there = """SELECT 1 FROM "masters" AS t WHERE t."id" IN ('1', 1)"""
    assert found == [
        f"""INSERT INTO "masters" ("id", "name") SELECT '1', 'Kyoto' WHERE NOT EXISTS ({there});""",
        """UPDATE "masters" AS t SET "name" = 'Nara' WHERE t."id" IN ('2', 2);""",
    ]


def test_a_check_of_kv_as_it_is_now_has_two_sides_and_no_import(estate: make.Estate, people: make.People) -> None:
    made = generation_helpers.dataset()
    generation_helpers.rows(estate, ("city", "1", "Nara"))
    put(estate, "1", "Kyoto")
    started = live.start_live_check(made, estate.qa, actor=make.SETUP, person=None)
    make.work()
    check = Check.objects.get(pk=started.pk)
    found = seen(only(check, "field"), people.operator)
    assert [str(side.title) for side in found.sides] == ["KV now", "D1 now"]
    assert found.differs
    assert f'href="/integrity/{check.pk}/"' in signed_in(people.operator).get("/").text
    page = signed_in(people.operator).get(f"/integrity/{check.pk}/").content.decode()
    assert 'href="/integrity/masters/qa/"' in page
    assert "/import.sql" not in page
    assert "This check compared no backup. Take a new backup, and check that." in page
    with pytest.raises(ImportRefused, match="compared no backup"):
        import_file.import_lines(check, by=people.operator)
