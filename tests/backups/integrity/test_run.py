"""Generations against D1, on a real SQLite behind the fake Cloudflare."""

import json
import tracemalloc
from dataclasses import replace
from typing import Any

import pytest
from django.db import connection
from django_q.models import OrmQ

from audit import log
from audit.models import Entry as AuditEntry
from backups.datasets import fields as dataset_fields, paging as dataset_paging
from backups.generations import start as generation_start
from backups.integrity import run as check_run, staging as check_staging
from backups.integrity.start import CheckRefused
from backups.models import Check, CheckRow, Dataset, Difference, Generation
from kvops import timing
from kvops.models import Run
from kvops.operations import registry
from kvops.runs import driver as run_driver
from tests import make
from tests.audit.make import triggers_off
from tests.backups.generations.helpers import backup_of, d1, dataset, entry, master, rows
from tests.backups.integrity import rechecking
from tests.fakes.http import Request

ACTOR = log.Actor(None, "cli:tests")
TOKYO = master("shop", "1", "東京", updated_at="2020")
OSAKA = master("shop", "2", "大阪")


@pytest.fixture(autouse=True)
def no_clean_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clean-up is tested elsewhere; here copies and checks are nobody's."""
    for kind in (Run.Kind.BACKUP, Run.Kind.CHECK):
        monkeypatch.setitem(registry.RUNS, kind, replace(registry.RUNS[kind], finished=()))


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataset_paging, "FIRST_ROWS", 3)
    monkeypatch.setattr(dataset_paging, "MOST_ROWS", 3)


def checked(generation: Generation) -> Check:
    check = make.check(generation, actor=ACTOR)
    make.work()
    check.refresh_from_db()
    check.run.refresh_from_db()
    return check


def differences(check: Check) -> list[tuple[str, str, str]]:
    return list(check.found.order_by("name", "kind", "field").values_list("name", "kind", "field"))


def statements(estate: make.Estate) -> list[str]:
    """Collect the SQL that reaches D1 from now on."""
    seen: list[str] = []

    def note(request: Request) -> None:
        seen.append(json.loads(request.body)["sql"])

    estate.cloudflare.hook("query", note)
    return seen


def test_a_backup_that_agrees_with_d1_passes(estate: make.Estate) -> None:
    dataset()
    rows(estate, ("shop", "1", "東京"), ("shop", "2", "大阪"))
    check = checked(backup_of(estate, TOKYO, OSAKA))
    assert (check.outcome, check.keys, check.rows, check.differences) == ("passed", 2, 2, 0)
    assert check.run.state == Run.State.SUCCEEDED


def test_the_order_of_fields_does_not_matter(estate: make.Estate) -> None:
    dataset()
    rows(estate, ("shop", "1", "東京"))
    value = '{"name":"東京", "id" : "1", "type":"shop"}'.encode()
    assert checked(backup_of(estate, entry("master:shop:1", value))).outcome == "passed"


def test_a_missing_row_an_extra_row_and_a_differing_field_are_named(estate: make.Estate) -> None:
    dataset()
    rows(estate, ("shop", "2", "おおさか"), ("shop", "3", "extra"))
    check = checked(backup_of(estate, TOKYO, OSAKA))
    assert check.outcome == "failed"
    assert differences(check) == [
        ("master:shop:1", "missing_in_d1", ""),
        ("master:shop:2", "field", "name"),
        ("master:shop:3", "only_in_d1", ""),
    ]


def test_unknown_fields_and_values_that_are_no_objects_are_named(estate: make.Estate) -> None:
    dataset()
    rows(estate, ("shop", "1", "a"), ("shop", "2", "b"))
    check = checked(backup_of(estate, master("shop", "1", "a", color="red"), entry("master:shop:2", b"\x00\x01")))
    assert differences(check) == [("master:shop:1", "unknown_field", "color"), ("master:shop:2", "not_an_object", "")]


def test_a_missing_field_equals_null_and_nothing_else(estate: make.Estate) -> None:
    dataset()
    rows(estate, ("shop", "1", None), ("shop", "2", ""), ("shop", "3", "x"))
    empty = [entry(f"master:shop:{n}", {"id": n, "type": "shop"}) for n in ("1", "2")]
    check = checked(backup_of(estate, *empty, master("shop", "3", None)))
    assert differences(check) == [("master:shop:2", "field", "name"), ("master:shop:3", "field", "name")]


def test_two_rows_of_one_name_are_a_difference(estate: make.Estate) -> None:
    dataset(key="master:{type}{id}", fields={}, ignore=["id", "type", "name", "updated_at"])
    rows(estate, ("sh", "op1", ""), ("shop", "1", ""))
    check = checked(backup_of(estate, entry("master:shop1", {})))
    assert differences(check) == [("master:shop1", "duplicate", "")]


def test_rows_of_one_key_are_found_across_pages(estate: make.Estate, small_pages: None) -> None:
    dataset(table="loose", key="master:{id}", fields={"id": "id"}, ignore=[])
    d1(estate).executescript(
        "CREATE TABLE loose (id TEXT); INSERT INTO loose VALUES ('a'), ('b'), ('c'), ('c'), ('d');"
    )
    check = checked(backup_of(estate, *(entry(f"master:{n}", {"id": n}) for n in "abcd")))
    assert (differences(check), check.rows) == ([("master:c", "duplicate", "")], 5)


def test_an_id_that_both_sides_have_twice_with_equal_rows_is_a_difference_of_each(estate: make.Estate) -> None:
    dataset(key="master:{type}", holds="array", row="{id}", table="doubled", fields={"id": "id", "name": "name"},
            ignore=["type"])  # fmt: skip
    found = [{"id": "1", "name": "a"}, {"id": "1", "name": "b"}, {"id": "2", "name": "c"}]
    d1(estate).execute("CREATE TABLE doubled (id TEXT, type TEXT, name TEXT)")
    rows(estate, *((one["id"], "list", one["name"]) for one in found), table="doubled (id, type, name)")
    check = checked(backup_of(estate, entry("master:list", found)))
    assert (check.outcome, check.differences) == ("failed", 2)
    assert differences(check) == [("master:list", "duplicate", "")] * 2


def test_a_row_with_a_null_in_its_key_is_a_difference(estate: make.Estate) -> None:
    dataset()
    rows(estate, ("shop", None, "?"), ("shop", "1", "東京"))
    check = checked(backup_of(estate, TOKYO))
    assert differences(check) == [("master:shop:", "only_in_d1", "id")]


def test_rows_only_in_d1_may_be_allowed_and_are_counted(estate: make.Estate) -> None:
    dataset(only_in_d1="allow")
    rows(estate, ("shop", "1", "東京"), ("shop", "9", "new"))
    check = checked(backup_of(estate, TOKYO))
    assert (check.outcome, check.differences, check.only_in_d1, differences(check)) == ("passed", 0, 1, [])


def test_an_empty_table_is_no_agreement(estate: make.Estate) -> None:
    dataset()
    check = checked(backup_of(estate, TOKYO, OSAKA))
    assert (check.outcome, check.differences, check.rows) == ("failed", 2, 0)


def test_many_rows_with_integer_keys_agree_over_many_pages(estate: make.Estate, small_pages: None) -> None:
    dataset(table="numbered", key="master:{id}", fields={"id": "id", "price": "price", "on": "is_on"}, ignore=[])
    d1(estate).execute("CREATE TABLE numbered (id INTEGER PRIMARY KEY, price REAL, is_on INTEGER)")
    ids = [1, 9, 10, 11, 99, 100, 101, 1000, 9007199254740993]
    rows(estate, *((n, 1.5, 1) for n in ids), table="numbered")
    seen = statements(estate)
    check = checked(backup_of(estate, *(entry(f"master:{n}", {"id": n, "price": 1.5, "on": True}) for n in ids)))
    assert (check.outcome, check.rows) == ("passed", len(ids))
    assert len(seen) > 4


def test_only_rows_under_the_backed_up_prefix_are_compared(estate: make.Estate, small_pages: None) -> None:
    dataset()
    rows(estate, *(("clinic", str(n), "x") for n in range(7)), ("shop", "1", "東京"), (None, "5", "could be"))
    check = checked(backup_of(estate, TOKYO, prefixes=["master:shop:"]))
    assert (check.rows, differences(check)) == (2, [("master:", "only_in_d1", "type")])


def test_a_generation_of_several_parts_with_api_only_entries_is_read_whole(estate: make.Estate) -> None:
    dataset()
    entries = [master("shop", str(n), "x") for n in range(10)]
    odd = type(entries[0])(entries[4].name, entries[4].data, None, '"not an object"')
    rows(estate, *(("shop", str(n), "x") for n in range(10)))
    generation = backup_of(estate, *entries[:4], odd, *entries[5:], per_part=3)
    assert generation.parts.exclude(api_only_key="").count() == 1
    assert checked(generation).keys == 10


def test_a_real_backup_agrees_with_the_d1_it_came_from(estate: make.Estate) -> None:
    dataset()
    rows(estate, ("shop", "1", "東京"), ("shop", "2", "大阪"))
    for one in (TOKYO, OSAKA):
        estate.put(estate.qa, one.name, one.data, metadata='"text"' if one is OSAKA else {"a": 1})
    generation = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=ACTOR)
    make.work()
    generation.refresh_from_db()
    check = checked(generation)
    assert (generation.status, check.outcome, check.keys, check.rows) == ("complete", "passed", 2, 2)


def test_a_backup_whose_object_was_changed_is_not_compared(estate: make.Estate) -> None:
    dataset()
    rows(estate, ("shop", "1", "東京"))
    generation = backup_of(estate, TOKYO)
    key = generation.parts.get().object_key
    estate.s3.objects[key] = estate.s3.objects[key].replace("東京".encode(), "京都".encode())
    check = checked(generation)
    assert (check.outcome, check.run.state, check.run.error_code) == ("pending", "failed", "damaged")


def test_a_backup_that_lost_a_part_is_not_compared(estate: make.Estate) -> None:
    dataset()
    generation = backup_of(estate, TOKYO, OSAKA, per_part=1)
    with triggers_off("backups_generationpart"):
        generation.parts.get(number=2).delete()
    check = checked(generation)
    assert (check.outcome, check.run.error_code) == ("pending", "damaged")


@pytest.mark.parametrize("kind", ["429", "error", "html_524", "reset"])
def test_an_answer_d1_fails_to_give_is_asked_for_again(estate: make.Estate, kind: str) -> None:
    dataset()
    rows(estate, ("shop", "1", "東京"))
    estate.cloudflare.fault("query", kind, nth=2, seconds=0.01)
    check = checked(backup_of(estate, TOKYO))
    assert (check.outcome, len(estate.cloudflare.calls("query"))) == ("passed", 3)


def test_an_answer_that_is_too_large_is_asked_for_in_smaller_pages(estate: make.Estate) -> None:
    dataset()
    rows(estate, ("shop", "1", "東京"))
    estate.cloudflare.fault("query", "too_large", nth=2)
    seen = statements(estate)
    assert checked(backup_of(estate, TOKYO)).outcome == "passed"
    assert [sql.rpartition(" ")[2] for sql in seen[1:]] == ["500", "125"]


def test_a_table_that_is_not_there_fails_the_run_and_passes_nothing(estate: make.Estate) -> None:
    dataset(table="nowhere")
    check = checked(backup_of(estate, TOKYO))
    assert (check.outcome, check.run.state) == ("pending", "failed")
    assert "no such table" in check.run.error


@pytest.mark.parametrize("nth", [1, 2])
def test_the_requests_of_rows_that_did_not_come_are_counted(estate: make.Estate, nth: int) -> None:
    dataset()
    rows(estate, ("shop", "1", "東京"))
    estate.cloudflare.fault("query", "error", nth=nth, times=9)
    check = make.check(backup_of(estate, TOKYO), actor=ACTOR)
    run_driver.drive(check.run.pk)
    check.run.refresh_from_db()
    assert check.outcome == "pending"
    assert check.run.calls == len(estate.cloudflare.calls("query")) > 1


def test_only_select_statements_reach_d1(estate: make.Estate, small_pages: None) -> None:
    dataset()
    rows(estate, *(("shop", str(n), "x") for n in range(10)))
    seen = statements(estate)
    checked(backup_of(estate, TOKYO))
    assert len(seen) > 3
    assert all(sql.startswith("SELECT ") and ";" not in sql for sql in seen)
    assert estate.cloudflare.journal_routes() == {("POST", "query")}


def everything_in_postgres() -> str:
    """Every row of every table, as text."""
    with connection.cursor() as cursor:
        return "\n".join(
            str(row)
            for table in connection.introspection.table_names()
            for row in (cursor.execute(f'SELECT t::text FROM "{table}" t'), cursor.fetchall())[1]
        )


def test_no_value_is_ever_in_postgres(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset()
    rows(estate, ("shop", "1", "canary-in-d1"), ("shop", "2", "canary-in-both"))
    during: list[str] = []
    find = check_staging.find

    def spy(*args: object, **kwargs: object) -> check_staging.CheckCounts:
        during.append(everything_in_postgres())
        return find(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(check_staging, "find", spy)
    checked(backup_of(estate, master("shop", "1", "canary-in-kv"), master("shop", "2", "canary-in-both")))
    assert "master:shop:1" in during[0]
    assert "canary" not in during[0] + everything_in_postgres()


def test_more_differences_than_are_kept_are_counted(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset()
    monkeypatch.setattr(check_run, "MAX_STORED", 4)
    odd = [master("odd", str(n), "x", color=1) for n in range(3)]
    check = checked(backup_of(estate, *odd, *(master("shop", str(n), "x") for n in range(9))))
    assert (check.differences, check.found.count()) == (15, 4)


def test_memory_does_not_grow_with_the_table(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset()
    monkeypatch.setattr(dataset_paging, "MOST_ROWS", 100)
    monkeypatch.setattr(dataset_fields, "REMEMBERED", 500)
    monkeypatch.setattr(timing, "STEP", 600.0)  # each step leaves a client of boto3 to the garbage collector
    peaks = []
    for count in (1_000, 4_000):
        found = [("shop", f"{count}-{n}", "x" * 200) for n in range(count)]
        rows(estate, *found)
        generation = backup_of(
            estate, *(master(*row) for row in found), per_part=100, prefixes=[f"master:shop:{count}-"]
        )
        tracemalloc.start()
        assert checked(generation).outcome == "passed"
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    # The fake D1 builds its next answer in this process, at times while a page is kept; four times the rows stay less.
    assert peaks[1] < 1.5 * peaks[0]


def test_a_check_of_many_steps_goes_on_where_it_was(
    estate: make.Estate, small_pages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset()
    monkeypatch.setattr(timing, "STEP", 0.0)
    rows(estate, *(("shop", str(n), "x") for n in range(10)))
    generation = backup_of(estate, *(master("shop", str(n), "x") for n in range(10)), per_part=4)
    check = checked(generation)
    assert (check.outcome, check.keys, check.rows) == ("passed", 10, 10)
    assert len(estate.s3.calls("GET")) == 3


def test_a_check_that_lay_still_reads_everything_again(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset()
    rows(estate, ("shop", "1", "東京"))
    check = make.check(backup_of(estate, TOKYO, OSAKA), actor=ACTOR)
    monkeypatch.setattr(timing, "STEP", 0.0)
    for _ in range(3):
        run_driver.drive(check.run.pk)
    check.run.refresh_from_db()
    assert check.run.cursor["phase"] == "compare"
    rows(estate, ("shop", "2", "大阪"))
    monkeypatch.setattr(timing, "STEP", 60.0)
    monkeypatch.setattr(timing, "CHECK_PAUSE", 0.0)
    make.work()
    check.refresh_from_db()
    assert (check.outcome, check.keys) == ("passed", 2)


def test_rows_that_postgres_lost_are_read_again(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset()
    rows(estate, ("shop", "2", "大阪"))
    check = make.check(backup_of(estate, TOKYO, OSAKA), actor=ACTOR)
    monkeypatch.setattr(timing, "STEP", 0.0)
    run_driver.drive(check.run.pk)
    CheckRow.objects.all().delete()
    make.work()
    assert differences(check) == [("master:shop:1", "missing_in_d1", "")]


def test_a_changed_rule_does_not_reach_into_a_running_check(estate: make.Estate) -> None:
    made = dataset()
    rows(estate, ("shop", "1", "other"))
    check = make.check(backup_of(estate, TOKYO), actor=ACTOR)
    made.fields, made.ignore = {}, ["id", "type", "name", "updated_at"]
    made.save()
    make.work()
    check.refresh_from_db()
    assert check.outcome == "failed"


def test_start_and_outcome_are_in_the_audit_log_with_the_rule(estate: make.Estate) -> None:
    dataset()
    rows(estate, ("shop", "1", "東京"))
    check = checked(backup_of(estate, TOKYO, OSAKA))
    started, failed = AuditEntry.objects.filter(subject=f"check:{check.pk}").order_by("seq")
    assert (started.action, failed.action) == ("check.started", "check.failed")
    assert started.digest == failed.digest == check.definition_digest
    assert (failed.details["keys"], failed.details["rows"], failed.details["differences"]) == (2, 1, 1)
    assert failed.details["statement"].startswith("SELECT ")


def rows_digest(check: Check) -> str:
    return str(AuditEntry.objects.get(subject=f"check:{check.pk}", action="check.failed").details["rows_sha256"])


def test_the_digest_of_what_d1_held_follows_its_content_and_not_the_pages(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset()
    rows(estate, *(("shop", str(n), "x") for n in range(9)))
    generation = backup_of(estate, TOKYO)
    first = rows_digest(checked(generation))
    monkeypatch.setattr(dataset_paging, "MOST_ROWS", 3)
    assert rows_digest(checked(generation)) == first
    rows(estate, ("shop", "9", "y"))
    assert rows_digest(checked(generation)) != first


@pytest.mark.parametrize("status", ["partial", "damaged"])
def test_a_backup_that_is_not_whole_is_refused(estate: make.Estate, status: str) -> None:
    dataset()
    with pytest.raises(CheckRefused, match="only a complete backup can"):
        make.check(backup_of(estate, TOKYO, status=status), actor=ACTOR)


def test_a_backup_in_writing_is_refused(estate: make.Estate) -> None:
    dataset()
    generation = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=ACTOR)
    with pytest.raises(CheckRefused, match="only a complete backup can"):
        make.check(generation, actor=ACTOR)


def test_a_backup_no_dataset_covers_is_refused(estate: make.Estate) -> None:
    dataset()
    with pytest.raises(CheckRefused, match="No single dataset covers"):
        make.check(backup_of(estate, TOKYO, prefixes=["master:", "clinic:"]), actor=ACTOR)


def test_a_backup_whose_database_is_missing_is_refused(estate: make.Estate) -> None:
    dataset(database="STAFF_D1")
    with pytest.raises(CheckRefused, match="no D1 database bound as STAFF_D1"):
        make.check(backup_of(estate, TOKYO), actor=ACTOR)


def test_another_run_checks_again_step_by_step_and_keeps_its_own_place(
    estate: make.Estate, small_pages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset()
    monkeypatch.setattr(timing, "STEP", 0.0)
    rows(estate, *(("shop", str(n), "x") for n in range(7)))
    generation = backup_of(estate, *(master("shop", str(n), "x") for n in range(7)), per_part=3)
    run = rechecking.another_run(estate, monkeypatch, {"generation": generation.pk})
    make.work()
    run.refresh_from_db()
    check = Check.objects.get(run=run)
    assert (run.state, check.outcome, check.keys, check.rows) == ("succeeded", "passed", 7, 7)
    assert (run.cursor, run.result["steps"] > 3) == ({"generation": generation.pk, "steps": run.result["steps"]}, True)


def test_a_recheck_after_a_correction_is_a_new_one(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset()
    run = rechecking.another_run(estate, monkeypatch, {"generation": backup_of(estate, TOKYO).pk})
    make.work()
    rows(estate, ("shop", "1", "東京"))
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("failed", "differences")
    run_driver.resume(run, actor=ACTOR)
    make.work()
    assert list(Check.objects.order_by("pk").values_list("outcome", flat=True)) == ["failed", "passed"]


def test_a_foreground_check_queues_nothing(estate: make.Estate) -> None:
    dataset()
    rows(estate, ("shop", "1", "東京"))
    check = make.check(backup_of(estate, TOKYO), actor=ACTOR, foreground=True)
    assert [run.state for run in run_driver.drive_to_the_end(check.run)][-1] == "succeeded"
    assert not OrmQ.objects.exists()


def test_names_that_postgres_cannot_hold_are_differences(estate: make.Estate) -> None:
    dataset()
    rows(estate, ("shop", "a\0b", "x"))
    check = checked(backup_of(estate))
    assert (check.rows, differences(check)) == (1, [("master:shop:a\\0b", "only_in_d1", "")])


def test_differences_are_named_by_the_check_they_belong_to(estate: make.Estate) -> None:
    dataset()
    first, second = checked(backup_of(estate, TOKYO)), checked(backup_of(estate, OSAKA))
    assert (first.found.count(), second.found.count(), Difference.objects.count()) == (1, 1, 2)


NEWER: dict[str, Any] = {
    "migrated_at": {"qa": "2025-09-01T00:00:00Z"},
    "newer_by": {"qa": ["updated_at", "time", "UTC"]},
}
LATER, EARLIER = "2025-09-02T08:00:00Z", "2025-08-02T08:00:00Z"


def stamped(estate: make.Estate, *values: tuple[str, str, str | None]) -> None:
    """Rows of shops, each with the time of its last change."""
    rows(estate, *(("shop", id_, name) for id_, name, _at in values))
    database = d1(estate)
    database.execute("PRAGMA query_only = 0")
    database.executemany("UPDATE masters SET updated_at = ? WHERE id = ?", [(at, id_) for id_, _name, at in values])


def newer(check: Check) -> list[str]:
    return list(check.found.exclude(newer_at=None).order_by("name").values_list("name", flat=True))


def test_a_row_that_was_changed_after_the_move_is_newer_in_d1(estate: make.Estate) -> None:
    dataset(**NEWER)
    stamped(estate, ("1", "Edo", LATER), ("2", "Naniwa", EARLIER), ("3", "Kobe", LATER))
    check = checked(backup_of(estate, TOKYO, OSAKA))
    assert (check.outcome, check.differences, check.newer) == ("failed", 3, 2)
    assert newer(check) == ["master:shop:1", "master:shop:3"]


def test_without_a_time_stamp_or_for_another_environment_no_row_is_newer(estate: make.Estate) -> None:
    dataset(**NEWER)
    stamped(estate, ("1", "Edo", None), ("2", "大阪", LATER))
    assert checked(backup_of(estate, TOKYO, OSAKA)).newer == 0
    Dataset.objects.update(
        migrated_at={"production": "2025-09-01T00:00:00Z"}, newer_by={"production": NEWER["newer_by"]["qa"]}
    )
    stamped(estate, ("3", "Kobe", LATER))
    assert checked(backup_of(estate, TOKYO, OSAKA)).newer == 0


def test_a_key_without_a_row_is_never_newer_in_d1(estate: make.Estate) -> None:
    dataset(**NEWER)
    stamped(estate, ("2", "大阪", LATER))
    check = checked(backup_of(estate, TOKYO, OSAKA))
    assert (check.differences, check.newer, newer(check)) == (1, 0, [])


def test_a_key_that_the_dataset_names_needs_no_row(estate: make.Estate) -> None:
    dataset(orphans=[TOKYO.name])
    rows(estate, ("shop", "2", "大阪"))
    assert checked(backup_of(estate, TOKYO, OSAKA)).outcome == "passed"
    rows(estate, ("shop", "1", "Edo"))
    assert differences(checked(backup_of(estate, TOKYO, OSAKA))) == [(TOKYO.name, "field", "name")]
