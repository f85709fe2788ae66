"""The D1 import file: complete, quoted for SQLite, run on a real one, and nothing for keys that are masked."""

import sqlite3

import pytest

from audit.models import Entry
from backups.datasets import sql_text
from backups.datasets.canonical import DECODER
from backups.datasets.sql_text import NoSqlForm
from backups.integrity import import_file
from backups.integrity.import_file import ImportRefused
from backups.models import Check
from kvops.models import Category
from tests import make
from tests.backups.generations import helpers as generation_helpers
from tests.backups.integrity.differing import agree, check_of, failed, put
from tests.backups.restores import helpers as restore_helpers
from tests.signing import said, signed_in

pytestmark = pytest.mark.django_db

ODD = 'O\'Hara "x"; DROP TABLE masters; -- /* \n\0\t京都\u202e'


def written(check: Check, people: make.People) -> str:
    return "".join(import_file.import_lines(check, by=people.operator))


def statements(text: str) -> list[str]:
    return [line for line in text.splitlines() if line and not line.startswith("--")]


def run(estate: make.Estate, text: str) -> None:
    """As wrangler does: all of it, or nothing."""
    database = generation_helpers.d1(estate)
    database.execute("PRAGMA query_only = 0")
    try:
        database.executescript(f"BEGIN;\n{text}\nCOMMIT;")
    except sqlite3.Error:
        database.rollback()
        raise


def names(estate: make.Estate) -> dict[str, object]:
    return dict(generation_helpers.d1(estate).execute("SELECT id, name FROM masters"))


def test_the_file_inserts_what_is_missing_and_updates_what_differs(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    text = written(check, people)
    insert, update = statements(text)
    there = """(SELECT 1 FROM "masters" AS t WHERE t."type" IN ('city') AND t."id" IN ('1', 1))"""
    assert (
        insert
        == f"""INSERT INTO "masters" ("type", "id", "name") SELECT 'city', '1', 'Kyoto' WHERE NOT EXISTS {there};"""
    )
    assert update == """UPDATE "masters" AS t SET "name" = 'Nara' WHERE t."type" IN ('city') AND t."id" IN ('2', 2);"""
    run(estate, text)
    assert names(estate) == {"1": "Kyoto", "2": "Nara", "3": "Kobe", "4": "Otsu"}
    run(estate, text)  # a second time changes nothing
    assert check.generation is not None
    assert check_of(check.generation).differences == 1  # the row without a key stays


def test_an_older_value_is_never_set_over_a_newer_row(estate: make.Estate, people: make.People) -> None:
    generation_helpers.dataset(
        migrated_at={"qa": "2025-09-01T00:00:00Z"}, newer_by={"qa": ["updated_at", "time", "UTC"]}
    )
    database = generation_helpers.d1(estate)
    generation_helpers.rows(estate, ("city", "1", "Osaka"), ("city", "2", "Nara"))
    database.execute("PRAGMA query_only = 0")
    database.execute("UPDATE masters SET updated_at = iif(id = '1', '2025-09-02T00:00:00Z', NULL)")
    for id_, name in (("1", "Kyoto"), ("2", "Otsu")):
        put(estate, id_, name)
    text = written(check_of(restore_helpers.verified_backup(estate.qa)), people)
    assert "-- Rows left out, because they are newer in D1: 1." in text
    assert len(statements(text)) == 1
    database.execute("PRAGMA query_only = 0")
    database.execute("UPDATE masters SET updated_at = '2025-09-02T00:00:00Z'")  # before the file runs
    run(estate, text)
    assert names(estate) == {"1": "Osaka", "2": "Nara"}


def test_without_such_a_rule_a_row_changed_after_the_backup_is_left_as_it_is(
    estate: make.Estate, people: make.People
) -> None:
    check = failed(estate)
    generation_helpers.d1(estate).execute("PRAGMA query_only = 0")
    generation_helpers.d1(estate).execute("UPDATE masters SET updated_at = '2999-01-01T00:00:00Z'")
    assert [line[:6] for line in statements(written(check, people))] == ["INSERT"]


def test_its_head_says_what_it_is_how_to_run_it_and_how_to_undo_it(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    text = written(check, people)
    for part in (
        "-- D1 import for MASTERS_D1.masters, to be run by hand",
        f"backup {check.generation_id}",
        make.DATABASES["qa"],
        f"npx wrangler d1 execute MASTERS_D1 --remote --file check-{check.pk}.import.sql",
        "time-travel restore MASTERS_D1 --bookmark BOOKMARK",
        "It deletes no row",
        f"/integrity/{check.pk}/",
    ):
        assert part in text
    assert text.splitlines()[-1] == "-- Complete. Inserts: 1, updates: 1, left out: 0."


def test_odd_values_are_quoted_and_arrive_unchanged(estate: make.Estate, people: make.People) -> None:
    generation_helpers.dataset(fields={"id": "id", "type": "type", "name": "name", "more": "updated_at"}, ignore=[])
    odd = {"1": ODD, "2": {"a": [1, None]}, "3": True, "4": 2**53 + 1, "5": None, "6": 1.5}
    for id_, value in odd.items():
        put(estate, id_, value, more="x'y")
    check = check_of(restore_helpers.verified_backup(estate.qa))
    text = written(check, people)
    assert len(statements(text)) == len(odd)
    assert "\u202e" not in text
    run(estate, text)
    assert check.generation is not None
    found = check_of(check.generation).found.values_list("name", "field")
    # The column is TEXT, so a number becomes a text there; nothing else differs.
    assert {name for name, _ in found} <= {"master:city:3", "master:city:4", "master:city:6"}
    assert names(estate)["1"] == ODD
    assert names(estate)["4"] == str(2**53 + 1)


def test_a_file_that_breaks_off_fails_as_a_whole(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = failed(estate)
    for key in list(estate.s3.objects):
        estate.s3.objects[key] = estate.s3.objects[key].replace(b"Nara", b"Fake")
    text = written(check, people)
    assert "NOT COMPLETE" in text
    with pytest.raises(sqlite3.Error, match="the_file_is_not_complete"):
        run(estate, text)
    assert "1" not in names(estate)


def test_what_cannot_be_written_is_named_and_left_out(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sql_text, "MOST_BYTES", 150)
    text = written(failed(estate), people)
    assert "-- Left out: master:city:1: its statement is longer than the 100,000 bytes that D1 takes" in text
    assert text.splitlines()[-1] == "-- Complete. Inserts: 0, updates: 1, left out: 1."


def test_it_says_when_not_every_difference_was_kept(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.integrity.staging.MAX_STORED", 2)
    monkeypatch.setattr("backups.integrity.run.MAX_STORED", 2)
    assert "Only the first 2 of 3 differences are kept by name" in written(failed(estate), people)


def test_the_file_is_for_operators_recorded_and_not_cached(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    answer = signed_in(people.operator).post(f"/integrity/{check.pk}/import.sql")
    assert answer["Content-Disposition"] == f'attachment; filename="check-{check.pk}.import.sql"'
    assert "no-store" in answer["Cache-Control"]
    assert b"Kyoto" in answer.getvalue()
    entry = Entry.objects.get(action="check.import_made")
    assert (entry.details["inserts"], entry.details["updates"]) == (1, 1)
    assert signed_in(people.reviewer).post(f"/integrity/{check.pk}/import.sql").status_code == 403
    with pytest.raises(ImportRefused, match="Only an operator"):
        import_file.import_lines(check, by=people.reviewer)


def test_masked_keys_are_in_no_plain_file(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    make.family("master:city:1", Category.SETTINGS, exact=True)
    text = written(check, people)
    assert "Kyoto" not in text
    assert "Keys left out, because they are settings or unclassified: 1." in text
    make.change_families("master:", category=Category.SETTINGS)
    with pytest.raises(ImportRefused, match="never in a plain file"):
        written(check, people)
    answer = signed_in(people.operator).post(f"/integrity/{check.pk}/import.sql", follow=True)
    assert "never in a plain file" in said(answer)[0]


def test_a_check_without_anything_to_import_is_refused(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    agree(estate)
    assert check.generation is not None
    with pytest.raises(ImportRefused, match="Only a check with differences"):
        written(check_of(check.generation), people)
    check.found.exclude(kind="only_in_d1").delete()
    with pytest.raises(ImportRefused, match="would change nothing"):
        written(check, people)
    assert not import_file.importable(check)


@pytest.mark.parametrize(
    ("json", "sql"),
    [
        ("null", "NULL"),
        ("true", "1"),
        ("1e2", "100"),
        ("9223372036854775807", "9223372036854775807"),
        ('"it\'s"', "'it''s'"),
        ('"a\\nb"', "CAST(X'610a62' AS TEXT)"),
        ('{"b": 1, "a": "x"}', """'{"a":"x","b":1}'"""),
    ],
)
def test_a_value_in_sql(json: str, sql: str) -> None:
    assert sql_text.sql_value(DECODER.decode(json)) == sql


@pytest.mark.parametrize("json", ["1e999", '"\\ud800"'])
def test_a_value_without_a_form_in_sql_is_refused(json: str) -> None:
    with pytest.raises(NoSqlForm):
        sql_text.sql_value(DECODER.decode(json))


def test_a_name_in_sql() -> None:
    assert sql_text.sql_name('a"b') == '"a""b"'
