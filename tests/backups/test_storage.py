"""The bucket compared with the copies: orphans, losses and changes are found, listed and never touched."""

import json
from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.test import Client

from audit.models import Entry as AuditEntry
from backups import generations, manifest, matching, reconciling
from backups.export import Export
from backups.models import Generation, StagedObject, StoredObject
from kvops import leases, runs, schedules, timing
from kvops.models import Environment, Firing, Run, Schedule
from tests import make
from tests.signing import said, signed_in

pytestmark = pytest.mark.usefixtures("not_read_back")


def back_up(estate: make.Estate, *names: str) -> Generation:
    for name in names or ("master:a", "master:b"):
        estate.put(estate.qa, name, name.encode())
    made = generations.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    return made


def listed(estate: make.Estate, environment: Environment | None = None) -> dict[str, object]:
    run = reconciling.start(environment or estate.qa.environment, actor=make.SETUP)
    make.work()
    run.refresh_from_db()
    assert run.state == "succeeded", run.error
    return dict(run.result)


def status(**counts: int) -> dict[str, object]:
    return {f"{name}_objects": counts.get(name, 0) for name in StoredObject.Status.values}


def of(key: str) -> StoredObject:
    return StoredObject.objects.get(key=key)


def test_what_a_copy_put_is_known_from_the_moment_it_was_put(estate: make.Estate) -> None:
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


def test_copies_made_before_the_table_was_there_are_known_by_their_parts(estate: make.Estate) -> None:
    back_up(estate)
    StoredObject.objects.all().delete()
    assert listed(estate) == status(known=4)
    assert set(StoredObject.objects.values_list("key", flat=True)) == set(estate.s3.objects)


def test_an_object_of_no_copy_is_listed_and_stays(estate: make.Estate) -> None:
    back_up(estate)
    estate.s3.objects["qa/backups/kv/left-behind.json"] = b"[]"
    assert listed(estate) == status(known=4, unknown=1)
    row = of("qa/backups/kv/left-behind.json")
    assert (row.status, row.size, row.generation) == ("unknown", 2, None)
    assert "qa/backups/kv/left-behind.json" in estate.s3.objects
    assert estate.s3.calls("DELETE") == []


def test_a_part_that_was_written_again_leaves_an_orphan_that_names_its_copy(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Export._commit

    def crash(self: Export, *args: object) -> None:
        monkeypatch.setattr(Export, "_commit", real)
        estate.put(estate.qa, "master:a", b"changed")
        raise leases.TryLater("The worker is gone.")

    monkeypatch.setattr(Export, "_commit", crash)
    made = back_up(estate)
    assert made.object_keys() == [f"{made.stem}.try-2.json"]
    assert listed(estate) == status(known=4, unknown=2)
    assert of(f"{made.stem}.json").generation == made
    assert of(f"{made.stem}.json.digests").status == "unknown"


def test_what_a_failed_copy_left_is_unknown_and_what_one_at_work_puts_is_not(estate: make.Estate) -> None:
    made = generations.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    estate.s3.objects[f"{made.stem}.json"] = b"torn"
    assert listed_only(estate) == status(known=1)
    runs.request_stop(made.run, actor=make.SETUP)
    make.work()
    assert listed(estate) == status(unknown=1)
    assert of(f"{made.stem}.json").generation == made


def listed_only(estate: make.Estate) -> dict[str, object]:
    """A listing while other runs stand still."""
    run = reconciling.start(estate.qa.environment, actor=make.SETUP)
    while run.is_open:
        runs.drive(run.pk)
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


def test_an_orphan_that_is_gone_is_forgotten(estate: make.Estate) -> None:
    back_up(estate)
    estate.s3.objects["qa/backups/x"] = b""
    listed(estate)
    del estate.s3.objects["qa/backups/x"]
    assert listed(estate) == status(known=4)
    assert not StoredObject.objects.filter(key="qa/backups/x").exists()


def test_only_what_is_under_the_environments_prefix_is_listed(estate: make.Estate) -> None:
    back_up(estate)
    estate.s3.objects |= {"production/backups/x": b"", "other": b"", "qa/backups": b"", "qa/backupsx/y": b""}
    assert listed(estate) == status(known=4)
    assert listed(estate, estate.production.environment) == status(unknown=1)


def test_copies_under_an_earlier_key_template_are_listed_too(estate: make.Estate) -> None:
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
    monkeypatch.setattr(reconciling, "PAGE", 2)
    back_up(estate)
    estate.s3.objects |= {f"qa/backups/x{number}": b"" for number in range(7)}
    run = reconciling.start(estate.qa.environment, actor=make.SETUP)
    estate.s3.fault("503", "GET", after=0, times=3)  # the first page, three times
    runs.drive(run.pk)
    monkeypatch.setattr(timing, "STEP", 0.0)
    make.work()
    run.refresh_from_db()
    assert run.result == status(known=4, unknown=7)
    pages = [call.query["start-after"] for call in estate.s3.calls("GET") if call.status == 200 and not call.key]
    assert len(pages) == len(set(pages)) == 6


def test_a_copy_finished_while_the_listing_ran_is_not_missing(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = generations.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    run = reconciling.start(estate.qa.environment, actor=make.SETUP)

    def finish_meanwhile() -> None:
        runs.drive(made.run.pk)
        StoredObject.objects.all().delete()

    monkeypatch.setattr(matching, "analyze", finish_meanwhile)
    runs.drive(run.pk)
    made.refresh_from_db()
    run.refresh_from_db()
    assert (made.status, run.result) == ("complete", status())


def test_a_row_written_while_the_listing_ran_stays(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    made = generations.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    run = reconciling.start(estate.qa.environment, actor=make.SETUP)
    monkeypatch.setattr(matching, "analyze", lambda: runs.drive(made.run.pk))
    runs.drive(run.pk)
    run.refresh_from_db()
    assert run.result == status(known=4)


def test_a_listing_begins_anew_by_itself_when_a_database_that_crashed_forgot_its_stage(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(estate)
    run = reconciling.start(estate.qa.environment, actor=make.SETUP)
    losses = iter([True, True])
    monkeypatch.setattr(matching, "analyze", lambda: next(losses, False) and StagedObject.objects.all().delete())
    make.work()
    run.refresh_from_db()
    assert (run.result, run.cursor["restarts"]) == (status(known=4), 2)


def test_a_stage_that_loses_rows_again_and_again_changes_nothing_and_is_tried_again_by_a_person(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    back_up(estate)
    run = reconciling.start(estate.qa.environment, actor=make.SETUP)
    monkeypatch.setattr(matching, "analyze", lambda: StagedObject.objects.filter(key__endswith=".json").delete())
    make.work()
    run.refresh_from_db()
    assert (run.error_code, run.cursor) == ("stage_mismatch", {})
    assert "4 objects were listed, but 2" in run.error
    assert StoredObject.objects.filter(status="known").count() == 4
    monkeypatch.undo()
    runs.resume(run, actor=make.SETUP)
    make.work()
    run.refresh_from_db()
    assert run.result == status(known=4)


def test_a_listing_of_another_bucket_begins_anew(estate: make.Estate) -> None:
    back_up(estate)
    run = reconciling.start(estate.qa.environment, actor=make.SETUP)
    Run.objects.filter(pk=run.pk).update(cursor={"roots": [], "bucket": "other", "after": "", "staged": 9})
    make.work()
    run.refresh_from_db()
    assert run.result == status(known=4)


def test_a_store_that_cannot_be_reached_only_delays_and_refused_credentials_fail_the_run(estate: make.Estate) -> None:
    run = reconciling.start(estate.qa.environment, actor=make.SETUP)
    estate.s3.fault("403", "GET")
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code) == ("failed", "store")
    assert "credentials" in run.error


# By the sweep, by command, on the pages


def test_a_schedule_lists_each_bucket_with_copies_once_a_day(estate: make.Estate) -> None:
    back_up(estate)
    schedules.provide()
    due = Schedule.objects.filter(job="reconcile").earliest("next_at").next_at
    for _ in range(2):
        schedules.fire_due(due)
    make.work()
    started = Run.objects.filter(kind="reconcile")
    assert [(run.subject, run.actor, run.state) for run in started] == [
        ("environment:qa", "system:schedule", "succeeded")
    ]
    schedules.fire_due(due + timedelta(days=1))
    schedules.fire_due(due + timedelta(days=2))
    assert started.all().count() == 2
    refused = Firing.objects.get(outcome="refused", schedule__job="reconcile", schedule__environment__slug="qa")
    assert "already running" in refused.reason


def test_one_listing_of_a_bucket_is_under_way_at_a_time(estate: make.Estate) -> None:
    reconciling.start(estate.qa.environment, actor=make.SETUP)
    with pytest.raises(runs.AlreadyOpen):
        reconciling.start(estate.qa.environment, actor=make.SETUP)


def command(*args: str) -> str:
    out = StringIO()
    call_command("reconcile", *args, stdout=out, stderr=StringIO(), skip_checks=True)
    return out.getvalue()


def test_the_command_says_what_is_in_the_bucket(estate: make.Estate) -> None:
    back_up(estate)
    assert command("qa") == "backups/qa/backups/: 4 known, 0 unknown, 0 missing, 0 changed\n"
    found = json.loads(command("qa", "--json"))
    assert found == {"environment": "qa", "ok": True, "known": 4, "unknown": 0, "missing": 0, "changed": 0}


def test_the_command_fails_on_a_difference_and_on_an_unknown_environment(estate: make.Estate) -> None:
    estate.s3.objects["qa/backups/x"] = b""
    with pytest.raises(CommandError, match="differs") as differs:
        command("qa")
    with pytest.raises(CommandError, match="no environment") as unknown:
        command("nowhere")
    assert (differs.value.returncode, unknown.value.returncode) == (1, 2)


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


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
        assert "The bucket of QA differs from its copies" in page
        assert "In no copy: 1 · Missing: 1" in page


def test_without_a_difference_there_is_no_alarm(estate: make.Estate, operator: Client) -> None:
    back_up(estate)
    listed(estate)
    assert "differs from its copies" not in operator.get("/backups/").content.decode()


def shown(operator: Client, query: str) -> list[str]:
    return [row.key for row in operator.get(f"/storage/{query}").context["objects"]]


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
    monkeypatch.setattr("backups.views.storage.PAGE", 3)
    estate.s3.objects = {f"qa/backups/{number}": b"" for number in range(7)}
    listed(estate)
    seen, query = [], ""
    while True:
        page = operator.get(f"/storage/{query}")
        seen += [row.key for row in page.context["objects"]]
        if page.context["after"] is None:
            break
        query = f"?after={page.context['after']}"
    assert seen == sorted(estate.s3.objects)


def test_the_manifest_knows_no_orphan(estate: make.Estate) -> None:
    made = back_up(estate)
    document = manifest.parse_manifest(estate.s3.objects[made.manifest_key])
    named = {document.key, document.restore_key, *(p.key for p in document.parts)}
    named |= {p.digests_key for p in document.parts}
    listed(estate)
    assert set(StoredObject.objects.filter(status="known").values_list("key", flat=True)) == named
