"""The bucket compared with the copies: orphans, losses and changes are found, listed and never touched."""

import csv
import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from audit.models import Entry as AuditEntry
from backups.bucket import listing as bucket_listing, reconcile as bucket_reconcile
from backups.bucket.views import COLUMNS
from backups.generations import start as generation_start
from backups.generations.export import Export
from backups.models import Generation, StagedObject, StoredObject
from kvops import timing
from kvops.models import Environment, Firing, Notification, Run, Schedule
from kvops.runs import driver as run_driver, outcomes
from kvops.schedules import jobs as schedule_jobs
from tests import make
from tests.fakes.s3 import FakeS3, S3Fault
from tests.signing import said, signed_in

pytestmark = pytest.mark.usefixtures("not_read_back")


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def back_up(estate: make.Estate, *names: str) -> Generation:
    for name in names or ("master:a", "master:b"):
        estate.put(estate.qa, name, name.encode())
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    return made


def listed(estate: make.Estate, environment: Environment | None = None) -> dict[str, object]:
    run = bucket_reconcile.start(environment or estate.qa.environment, actor=make.SETUP)
    make.work()
    run.refresh_from_db()
    assert run.state == "succeeded", run.error
    return dict(run.result)


def status(**counts: int) -> dict[str, object]:
    found = {f"{name}_objects": counts.get(name, 0) for name in StoredObject.Status.values}
    return {**found, "unfinished_uploads": counts.get("uploads", 0)}


def of(key: str) -> StoredObject:
    return StoredObject.objects.get(key=key)


def test_what_a_backup_put_is_known_from_the_moment_it_was_put(estate: make.Estate) -> None:
    made = back_up(estate)
    rows = StoredObject.objects.filter(generation=made, status="known")
    assert {row.key: (row.size, row.written_size) for row in rows} == {
        key: (len(body), len(body)) for key, body in estate.s3.objects.items()
    }
    assert all(row.etag == row.written_etag != "" for row in rows)


def test_a_bucket_as_it_was_written_is_all_known(estate: make.Estate) -> None:
    back_up(estate)
    assert listed(estate) == status(known=4)
    assert AuditEntry.objects.latest("seq").action == "run.finished"
    assert AuditEntry.objects.get(action="storage.reconciled").details == status(known=4)


def test_backups_made_before_the_table_was_there_are_known_by_their_parts(estate: make.Estate) -> None:
    back_up(estate)
    StoredObject.objects.all().delete()
    assert listed(estate) == status(known=4)
    assert set(StoredObject.objects.values_list("key", flat=True)) == set(estate.s3.objects)


@pytest.mark.parametrize("rows", ["none", "without an ETag"])
def test_a_listing_does_not_say_with_which_etag_an_object_was_written(estate: make.Estate, rows: str) -> None:
    made = back_up(estate)
    if rows == "none":
        StoredObject.objects.all().delete()
    StoredObject.objects.update(written_etag="")
    listed(estate)
    assert list(StoredObject.objects.values_list("status", "written_etag")) == [("known", "")] * len(
        made.every_object()
    )


def test_an_object_of_no_backup_is_listed_and_stays(estate: make.Estate) -> None:
    back_up(estate)
    estate.s3.objects["qa/backups/kv/left-behind.json"] = b"[]"
    assert listed(estate) == status(known=4, unknown=1)
    row = of("qa/backups/kv/left-behind.json")
    assert (row.status, row.size, row.generation) == ("unknown", 2, None)
    assert "qa/backups/kv/left-behind.json" in estate.s3.objects
    assert estate.s3.calls("DELETE") == []


def test_a_part_that_was_written_again_leaves_an_orphan_that_names_its_backup(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Export._commit

    def crash(self: Export, *args: object) -> None:
        monkeypatch.setattr(Export, "_commit", real)
        estate.put(estate.qa, "master:a", b"changed")
        raise outcomes.TryLater("The worker is gone.")

    monkeypatch.setattr(Export, "_commit", crash)
    made = back_up(estate)
    assert made.object_keys() == [f"{made.stem}.try-2.json"]
    assert listed(estate) == status(known=4, unknown=2)
    assert of(f"{made.stem}.json").generation == made
    assert of(f"{made.stem}.json.digests").status == "unknown"


def test_what_a_failed_backup_left_is_unknown_and_what_one_at_work_puts_is_not(estate: make.Estate) -> None:
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    estate.s3.objects[f"{made.stem}.json"] = b"torn"
    assert listed_only(estate) == status(known=1)
    run_driver.request_stop(made.run, actor=make.SETUP)
    make.work()
    assert listed(estate) == status(unknown=1)
    assert of(f"{made.stem}.json").generation == made


def listed_only(estate: make.Estate) -> dict[str, object]:
    """A listing while other runs stand still."""
    run = bucket_reconcile.start(estate.qa.environment, actor=make.SETUP)
    while run.is_open:
        run_driver.drive(run.pk)
        run.refresh_from_db()
    return dict(run.result)


def test_a_missing_object_is_missing_and_found_again(estate: make.Estate) -> None:
    made = back_up(estate)
    body = estate.s3.objects.pop(made.manifest_key)
    assert listed(estate) == status(known=3, missing=1)
    assert (of(made.manifest_key).status, of(made.manifest_key).size) == ("missing", len(body))
    estate.s3.objects[made.manifest_key] = body
    assert listed(estate) == status(known=4)


def test_an_object_that_was_never_seen_can_be_missing(estate: make.Estate) -> None:
    made = back_up(estate)
    StoredObject.objects.all().delete()
    estate.s3.objects.clear()
    assert listed(estate) == status(missing=4)
    assert of(made.manifest_key).seen_at is None


@pytest.mark.parametrize("body", [b"[\n]\n", None])
def test_another_size_or_another_etag_is_a_change_until_it_is_as_before(
    estate: make.Estate, body: bytes | None
) -> None:
    made = back_up(estate)
    key = made.object_keys()[0]
    before = estate.s3.objects[key]
    estate.s3.objects[key] = before.swapcase() if body is None else body
    for _ in range(2):
        assert listed(estate) == status(known=3, changed=1)
    assert of(key).written_size == len(before)
    estate.s3.objects[key] = before
    assert listed(estate) == status(known=4)


def test_a_part_of_another_size_is_a_change_even_when_it_was_never_seen_before(estate: make.Estate) -> None:
    made = back_up(estate)
    StoredObject.objects.all().delete()
    estate.s3.objects[made.object_keys()[0]] = b"[\n]\n"
    assert listed(estate) == status(known=3, changed=1)


def test_an_orphan_that_somebody_deleted_stays_on_the_list_as_gone(estate: make.Estate) -> None:
    back_up(estate)
    estate.s3.objects["qa/backups/x"] = b""
    listed(estate)
    del estate.s3.objects["qa/backups/x"]
    for _ in range(2):
        assert listed(estate) == status(known=4, gone=1)
    estate.s3.objects["qa/backups/x"] = b"again"
    assert listed(estate) == status(known=4, unknown=1)


def test_a_part_that_a_failed_backup_never_put_is_forgotten(estate: make.Estate) -> None:
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    StoredObject.objects.create(
        environment=estate.qa.environment, key=f"{made.stem}.json", status="missing", generation=made
    )
    run_driver.request_stop(made.run, actor=make.SETUP)
    make.work()
    assert listed(estate) == status()


def test_a_listing_that_finds_everything_as_it_was_writes_no_row(estate: make.Estate) -> None:
    def rows() -> list[tuple[object, ...]]:
        return list(StoredObject.objects.order_by("pk").values_list("pk", "seen_at", "status_at", "modified_at"))

    back_up(estate)
    estate.s3.objects["qa/backups/x"] = b""
    listed(estate)
    before = rows()
    listed(estate)
    assert rows() == before
    assert all(modified for *_, modified in before)


def test_the_record_names_what_was_found_wrong_and_only_what_is_new(estate: make.Estate) -> None:
    made = back_up(estate)
    estate.s3.objects["qa/backups/x"] = b""
    listed(estate)
    del estate.s3.objects[made.manifest_key]
    listed(estate)
    first, second = AuditEntry.objects.filter(action="storage.differs").order_by("seq")
    assert first.details["new"] == ["unknown: qa/backups/x"]
    assert second.details["new"] == [f"missing: {made.manifest_key}"]


def test_what_is_gone_was_there_at_the_listing_before(estate: make.Estate) -> None:
    made = back_up(estate)
    listed(estate)
    before = Run.objects.filter(kind="reconcile").latest("pk").created_at
    del estate.s3.objects[made.manifest_key]
    listed(estate)
    assert of(made.manifest_key).seen_at == before


# Uploads that nobody finished


def test_uploads_nobody_finished_are_told(estate: make.Estate, operator: Client) -> None:
    back_up(estate)
    begun = timezone.now() - timedelta(days=2)
    estate.s3.uploads = [("qa/backups/big", "u1", begun), ("qa/backups/big", "u2", begun), ("other/x", "u3", begun)]
    assert listed(estate) == status(known=4, uploads=2)
    assert AuditEntry.objects.filter(action="storage.differs").count() == 1
    assert "The bucket of QA holds unfinished uploads" in operator.get("/backups/").content.decode()
    assert "qa/backups/big" in operator.get("/storage/").content.decode()
    estate.s3.uploads = []
    assert listed(estate) == status(known=4)
    assert "unfinished uploads" not in operator.get("/backups/").content.decode()


def test_a_store_that_lists_no_uploads_is_said_not_to_know(
    estate: make.Estate, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(estate)
    run = bucket_reconcile.start(estate.qa.environment, actor=make.SETUP)
    faults = iter([None, None, S3Fault("501", "GET", None, 0, 1)])  # two listings come first
    monkeypatch.setattr(estate.s3, "take_fault", lambda *_: next(faults, None))
    make.work()
    run.refresh_from_db()
    assert "unfinished_uploads" not in run.result
    assert "are unknown: this store does not list them" in operator.get("/storage/").content.decode()


# What people say


def note(browser: Client, address: str, text: str = "Left by the old export; harmless.") -> list[str]:
    return said(browser.post(address, {"note": text}, follow=True))


def test_a_note_silences_the_alarm_and_stays_with_the_row_and_the_record(
    estate: make.Estate, operator: Client, people: make.People
) -> None:
    back_up(estate)
    estate.s3.objects["qa/backups/x"] = b""
    listed(estate)
    row = of("qa/backups/x")
    assert note(operator, f"/storage/objects/{row.pk}/note") == ["Your note is on 1 object."]
    assert listed(estate) == status(known=4, unknown=1)
    row.refresh_from_db()
    assert (row.note, row.noted_by, row.status) == ("Left by the old export; harmless.", people.operator, "unknown")
    assert "differs from its backups" not in operator.get("/backups/").content.decode()
    entry = AuditEntry.objects.get(action="objects.noted")
    assert (entry.subject, entry.details["names"]) == (f"object:{row.pk}", ["qa/backups/x"])
    page = operator.get(f"/storage/objects/{row.pk}/").content.decode()
    assert "Left by the old export; harmless." in page
    assert "Objects in a bucket explained" in page


def test_a_note_is_about_the_object_as_it_was_and_falls_when_that_changes(
    estate: make.Estate, operator: Client
) -> None:
    estate.s3.objects["qa/backups/x"] = b""
    listed(estate)
    row = of("qa/backups/x")
    note(operator, f"/storage/objects/{row.pk}/note")
    estate.s3.objects["qa/backups/x"] = b"other"
    listed(estate)
    row.refresh_from_db()
    assert (row.note, row.noted_by, row.noted_at) == ("", None, None)
    assert "differs from its backups" in operator.get("/backups/").content.decode()


def test_what_was_explained_and_then_deleted_by_hand_is_no_alarm(estate: make.Estate, operator: Client) -> None:
    estate.s3.objects |= {"qa/backups/x": b"", "qa/backups/y": b""}
    listed(estate)
    note(operator, f"/storage/objects/{of('qa/backups/x').pk}/note")
    estate.s3.objects.clear()
    assert listed(estate) == status(gone=2)
    assert shown(operator, "?status=wrong") == ["qa/backups/y"]
    assert of("qa/backups/x").note


def test_many_are_explained_at_once_by_the_filter(estate: make.Estate, operator: Client) -> None:
    made = back_up(estate)
    del estate.s3.objects[made.manifest_key]
    estate.s3.objects |= {f"qa/backups/old/{number}": b"" for number in range(60)} | {"qa/backups/x": b""}
    listed(estate)
    address = "/storage/note?environment=qa&status=unknown&prefix=qa/backups/old/"
    assert note(operator, address) == ["Your note is on 60 objects."]
    assert shown(operator, "?status=wrong") == [made.manifest_key, "qa/backups/x"]
    entry = AuditEntry.objects.get(action="objects.noted")
    assert (entry.subject, entry.details["objects"], len(entry.details["names"])) == ("environment:qa", 60, 20)


@pytest.mark.parametrize("query", ["", "?environment=qa", "?status=unknown", "?environment=qa&status=known"])
def test_without_a_narrow_filter_nothing_is_explained_at_once(
    estate: make.Estate, operator: Client, query: str
) -> None:
    estate.s3.objects["qa/backups/x"] = b""
    listed(estate)
    assert operator.post(f"/storage/note{query}", {"note": "no longer needed"}).status_code == 422
    assert of("qa/backups/x").note == ""


def test_an_empty_note_and_one_on_a_part_of_a_backup_are_refused(estate: make.Estate, operator: Client) -> None:
    row = of(back_up(estate).manifest_key)
    assert operator.post(f"/storage/objects/{row.pk}/note", {"note": " "}).status_code == 422
    assert "None of these objects needs a note" in note(operator, f"/storage/objects/{row.pk}/note")[0]
    assert AuditEntry.objects.latest("seq").action == "refused"


@pytest.mark.parametrize("found", ["known", "unknown", "missing", "changed", "gone"])
def test_the_page_of_an_object_says_what_to_do(estate: make.Estate, operator: Client, found: str) -> None:
    made = back_up(estate)
    estate.s3.objects["qa/backups/x"] = b""
    listed(estate)
    keys = {"known": made.manifest_key, "missing": f"{made.stem}.RESTORE.md", "changed": made.object_keys()[0]}
    del estate.s3.objects[keys["missing"]]
    estate.s3.objects[keys["changed"]] = b"[]"
    if found == "gone":
        del estate.s3.objects["qa/backups/x"]
    listed(estate)
    row = of(keys.get(found, "qa/backups/x"))
    page = operator.get(f"/storage/objects/{row.pk}/").content.decode()
    assert row.status == found
    assert ("Instructions" in page) == (found != "known")


def test_the_view_is_downloaded_as_it_is_filtered(estate: make.Estate, operator: Client) -> None:
    back_up(estate)
    estate.s3.objects["qa/backups/x,y"] = b"12"
    listed(estate)
    answer = operator.get("/storage/csv?status=unknown")
    lines = b"".join(answer.streaming_content).decode("utf-8-sig").splitlines()  # type: ignore[attr-defined]
    head, row = csv.DictReader(lines).fieldnames, list(csv.DictReader(lines))
    assert head == list(COLUMNS)
    assert [(one["key"], one["size"], one["status"]) for one in row] == [("qa/backups/x,y", "2", "unknown")]


def test_more_than_an_alarm_counts_is_said_so(
    estate: make.Estate, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_reconcile, "COUNTED", 3)
    estate.s3.objects = {f"qa/backups/{number}": b"" for number in range(5)}
    listed(estate)
    assert "In no backup: more than 3" in operator.get("/backups/").content.decode()


def test_only_what_is_under_the_environments_prefix_is_listed(estate: make.Estate) -> None:
    back_up(estate)
    estate.s3.objects |= {"production/backups/x": b"", "other": b"", "qa/backups": b"", "qa/backupsx/y": b""}
    assert listed(estate) == status(known=4)
    assert listed(estate, estate.production.environment) == status(unknown=1)


def test_backups_under_an_earlier_key_template_are_listed_too(estate: make.Estate) -> None:
    back_up(estate)
    Environment.objects.filter(slug="qa").update(key_template="{environment}/elsewhere")
    estate.s3.objects["qa/elsewhere/x"] = b""
    assert listed(estate, Environment.objects.get(slug="qa")) == status(known=4, unknown=1)


def test_names_with_everything_in_them_are_listed_as_they_are(estate: make.Estate) -> None:
    odd = ["qa/backups/日本 +&?%2F", "qa/backups/😀", "qa/backups/\\\t", "qa/backups/20261125.part"]
    estate.s3.objects = dict.fromkeys(odd, b"x")
    assert listed(estate) == status(unknown=4)
    assert set(StoredObject.objects.values_list("key", flat=True)) == set(odd)


def test_a_long_listing_goes_on_where_it_was_after_a_crash(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bucket_reconcile, "PAGE", 2)
    back_up(estate)
    estate.s3.objects |= {f"qa/backups/x{number}": b"" for number in range(7)}
    before = len(estate.s3.calls("GET"))
    run = bucket_reconcile.start(estate.qa.environment, actor=make.SETUP)
    estate.s3.fault("503", "GET", after=0, times=3)  # the first page, three times
    run_driver.drive(run.pk)
    monkeypatch.setattr(timing, "STEP", 0.0)
    make.work()
    run.refresh_from_db()
    assert run.result == status(known=4, unknown=7)
    calls = estate.s3.calls("GET")[before:]
    listings = [call for call in calls if call.status == 200 and "list-type" in call.query]
    pages = [call.query["start-after"] for call in listings if call.query["prefix"] == "qa/backups/"]
    assert len(pages) == len(set(pages)) == 6


def test_a_backup_finished_while_the_listing_ran_is_not_missing(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "STEP", 60.0)
    estate.put(estate.qa, "master:a:1")
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    run = bucket_reconcile.start(estate.qa.environment, actor=make.SETUP)

    def finish_meanwhile() -> None:
        run_driver.drive(made.run.pk)
        StoredObject.objects.all().delete()

    monkeypatch.setattr(bucket_listing, "analyze", finish_meanwhile)
    run_driver.drive(run.pk)
    made.refresh_from_db()
    run.refresh_from_db()
    assert (made.status, run.result) == ("complete", status())


def test_a_row_written_while_the_listing_ran_stays(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "STEP", 60.0)
    estate.put(estate.qa, "master:a:1")
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    run = bucket_reconcile.start(estate.qa.environment, actor=make.SETUP)
    monkeypatch.setattr(bucket_listing, "analyze", lambda: run_driver.drive(made.run.pk))
    run_driver.drive(run.pk)
    run.refresh_from_db()
    assert run.result == status(known=4)


def test_a_listing_begins_anew_by_itself_when_a_database_that_crashed_forgot_its_stage(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(estate)
    run = bucket_reconcile.start(estate.qa.environment, actor=make.SETUP)
    losses = iter([True, True])
    monkeypatch.setattr(bucket_listing, "analyze", lambda: next(losses, False) and StagedObject.objects.all().delete())
    make.work()
    run.refresh_from_db()
    assert (run.result, run.cursor["restarts"]) == (status(known=4), 2)


def test_a_stage_that_loses_rows_again_and_again_changes_nothing_and_is_tried_again_by_a_person(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(estate)
    run = bucket_reconcile.start(estate.qa.environment, actor=make.SETUP)
    monkeypatch.setattr(bucket_listing, "analyze", lambda: StagedObject.objects.filter(key__endswith=".json").delete())
    make.work()
    run.refresh_from_db()
    assert (run.error_code, run.cursor) == ("stage_mismatch", {})
    assert "Objects that were listed: 4, on the stage: 2" in run.error
    assert StoredObject.objects.filter(status="known").count() == 4
    monkeypatch.undo()
    run_driver.resume(run, actor=make.SETUP)
    make.work()
    run.refresh_from_db()
    assert run.result == status(known=4)


def test_a_listing_of_another_bucket_begins_anew(estate: make.Estate) -> None:
    back_up(estate)
    run = bucket_reconcile.start(estate.qa.environment, actor=make.SETUP)
    Run.objects.filter(pk=run.pk).update(cursor={"roots": [], "bucket": "other", "after": "", "staged": 9})
    make.work()
    run.refresh_from_db()
    assert run.result == status(known=4)


def test_a_store_that_cannot_be_reached_only_delays_and_refused_credentials_fail_the_run(estate: make.Estate) -> None:
    run = bucket_reconcile.start(estate.qa.environment, actor=make.SETUP)
    estate.s3.fault("403", "GET")
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("failed", "store")
    assert "credentials" in run.error


# By the sweep, by command, on the pages


def test_a_schedule_lists_each_bucket_with_backups_once_a_day(estate: make.Estate) -> None:
    back_up(estate)
    schedule_jobs.provide()
    due = Schedule.objects.filter(job="reconcile").earliest("next_at").next_at
    for _ in range(2):
        schedule_jobs.fire_due(due)
    make.work()
    started = Run.objects.filter(kind="reconcile")
    assert [(run.subject, run.actor, run.state) for run in started] == [
        ("environment:qa", "system:schedule", "succeeded")
    ]
    schedule_jobs.fire_due(due + timedelta(days=1))
    schedule_jobs.fire_due(due + timedelta(days=2))
    assert started.all().count() == 2
    refused = Firing.objects.get(outcome="refused", schedule__job="reconcile", schedule__environment__slug="qa")
    assert "already running" in refused.reason


def command(*args: str) -> str:
    out = StringIO()
    call_command("reconcile", *args, stdout=out, stderr=StringIO(), skip_checks=True)
    return out.getvalue()


def test_the_command_says_what_is_in_the_bucket(estate: make.Estate) -> None:
    back_up(estate)
    assert command("qa") == "backups/qa/backups/: 4 known, 0 unknown, 0 missing, 0 changed, 0 gone\n"
    found = json.loads(command("qa", "--json"))
    counts = {"known": 4, "unknown": 0, "missing": 0, "changed": 0, "gone": 0, "unfinished_uploads": 0}
    assert found == {"environment": "qa", "ok": True, **counts}


def test_the_command_fails_on_a_difference_and_on_an_unknown_environment(estate: make.Estate) -> None:
    estate.s3.objects["qa/backups/x"] = b""
    with pytest.raises(CommandError, match="differs") as differs:
        command("qa")
    with pytest.raises(CommandError, match="no environment") as unknown:
        command("nowhere")
    assert (differs.value.returncode, unknown.value.returncode) == (1, 2)


def test_the_button_starts_a_listing_and_a_second_click_says_so(estate: make.Estate, operator: Client) -> None:
    first = operator.post("/storage/qa/reconcile", follow=True)
    assert said(first) == ["The bucket is being listed."]
    assert first.redirect_chain[0][0] == f"/runs/{Run.objects.get(kind='reconcile').pk}/"
    assert "already running" in said(operator.post("/storage/qa/reconcile", follow=True))[0]
    assert "Listing under way" in operator.get("/storage/").content.decode()


def test_the_pages_raise_an_alarm_with_the_counts(estate: make.Estate, operator: Client) -> None:
    made = back_up(estate)
    del estate.s3.objects[made.manifest_key]
    estate.s3.objects["qa/backups/x"] = b""
    listed(estate)
    for address in ("/", "/backups/"):
        page = operator.get(address).content.decode()
        assert "The bucket of QA differs from its backups" in page
        assert "In no backup: 1 · Missing: 1" in page


def shown(operator: Client, query: str) -> list[str]:
    return [row.key for line in operator.get(f"/storage/{query}").context["lines"] for row in line.rows]


def test_the_list_is_filtered_by_environment_status_and_name(estate: make.Estate, operator: Client) -> None:
    made = back_up(estate)
    del estate.s3.objects[made.manifest_key]
    estate.s3.objects |= {"qa/backups/x": b"", "production/backups/y": b""}
    listed(estate)
    listed(estate, estate.production.environment)
    assert shown(operator, "?status=wrong") == ["production/backups/y", made.manifest_key, "qa/backups/x"]
    assert shown(operator, "?status=missing") == [made.manifest_key]
    assert shown(operator, "?environment=production") == ["production/backups/y"]
    assert shown(operator, "?prefix=qa/backups/x") == ["qa/backups/x"]
    assert shown(operator, "?status=nonsense") == shown(operator, "?prefix=%00") == shown(operator, "?after=999") == []


def test_the_list_goes_on_page_by_page(estate: make.Estate, operator: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backups.bucket.views.PAGE", 3)
    estate.s3.objects = {f"qa/backups/{number}": b"" for number in range(7)}
    listed(estate)
    seen, query = [], ""
    while True:
        page = operator.get(f"/storage/{query}")
        seen += [row.key for line in page.context["lines"] for row in line.rows]
        if page.context["after"] is None:
            break
        query = f"?after={page.context['after']}"
    assert seen == sorted(estate.s3.objects)


def test_the_objects_of_a_backup_share_a_line_and_one_that_is_wrong_has_its_own(
    estate: make.Estate, operator: Client
) -> None:
    made = back_up(estate)
    del estate.s3.objects[made.manifest_key]
    listed(estate)
    answer = operator.get("/storage/")
    folded = {line.rows[0].key: len(line.rows) for line in answer.context["lines"]}
    assert folded.pop(made.manifest_key) == 1
    assert list(folded.values()) == [3]
    page = " ".join(answer.content.decode().split())
    assert f"<summary> 3 objects of backup {made.pk} </summary>" in page


def test_folded_objects_are_on_one_page_each(
    estate: make.Estate, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.bucket.views.READ", 2)
    back_up(estate)
    seen, query = [], ""
    while True:
        page = operator.get(f"/storage/{query}")
        seen += [row.key for line in page.context["lines"] for row in line.rows]
        if page.context["after"] is None:
            break
        query = f"?after={page.context['after']}"
    assert seen == sorted(estate.s3.objects)


def test_people_are_told_once_of_what_is_found_wrong(estate: make.Estate, people: make.People) -> None:
    made = back_up(estate)
    del estate.s3.objects[made.manifest_key]
    estate.s3.objects["qa/backups/x"] = b""
    for _ in range(2):
        listed(estate)
    told = Notification.objects.filter(event__startswith="object.").order_by("event", "person")
    assert {(one.event, one.title, one.lines[0]) for one in told} == {
        ("object.missing", "Objects of backups missing from the bucket of QA: 1", made.manifest_key),
        ("object.unknown", "Objects of no backup in the bucket of QA: 1", "qa/backups/x"),
    }
    assert people.operator in {one.person for one in told}


@pytest.mark.parametrize("place", ["r2_endpoint", "account_id"])
def test_a_bucket_of_the_same_name_elsewhere_misses_nothing(estate: make.Estate, place: str) -> None:
    back_up(estate)
    with FakeS3(estate.s3.bucket) as another:
        other = another.endpoint if place == "r2_endpoint" else "c" * 32
        estate.s3.objects.clear()
        Environment.objects.filter(slug="qa").update(**{place: other})
        assert listed(estate, Environment.objects.get(slug="qa")) == status(known=4)
