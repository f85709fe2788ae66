"""A key whose row was changed in D1 after the move is accepted by name. Any other difference leaves its key out."""

import json
import re

import pytest
from django.urls import reverse

from audit import log
from backups.cleanup import after_check, certificate, completion, preparation, requests as cleanup_requests
from backups.cleanup.pages import presses
from backups.cleanup.stages import CleanupRefused
from backups.integrity import cases, start as check_start
from backups.integrity.of_key.newest import newest_check
from backups.masters import start as masters_start
from backups.models import Check, CleanupStage, Generation
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.approvals.gate import ApprovalRefused
from kvops.models import ApprovalRequest, Notification, NotificationEvent, Run
from kvops.runbook import todo
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
State = CleanupStage.State
ACCEPTED = "only rows newer in D1, accepted by name"
NEWER = {
    "migrated_at": {"qa": "2025-09-01T00:00:00Z", "production": "2025-09-01T00:00:00Z"},
    "newer_by": {"qa": ["updated_at", "time", "UTC"], "production": ["updated_at", "time", "UTC"]},
}
CAUSE = "Edited in the new application, which writes only D1."


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    monkeypatch.setattr(timing, "STALE", 0.0)


def in_d1(estate: make.Estate, sql: str, *values: object) -> None:
    """The application writes to D1 of QA."""
    database = generation_helpers.d1(estate)
    database.execute("PRAGMA query_only = 0")
    database.execute(sql, values)
    database.commit()


def change_row(estate: make.Estate, id_: str, name: str, at: str | None = "2025-10-01T08:00:00Z") -> None:
    in_d1(estate, "UPDATE masters SET name = ?, updated_at = ? WHERE type = 'a' AND id = ?", name, at, id_)


def add_row(estate: make.Estate, at: str | None) -> None:
    """A row that has no key, because the application no longer writes KV."""
    in_d1(estate, "INSERT INTO masters (type, id, name, updated_at) VALUES ('c', '1', 'new', ?)", at)


@pytest.fixture
def stage(estate: make.Estate, people: make.People) -> CleanupStage:
    """QA, whose check found one row that is newer in D1."""
    cleanup_helpers.estate_with_masters(estate)
    make.change_datasets(**NEWER)
    change_row(estate, "1", "renamed")
    return cleanup_helpers.prepared(cleanup_helpers.asked(people), people)


def now(stage: CleanupStage) -> CleanupStage:
    return cleanup_helpers.stage_of(stage.request)


def check_of(stage: CleanupStage) -> Check:
    return Check.objects.filter(generation=now(stage).generation_id).latest("pk")


def state_cause(stage: CleanupStage, people: make.People) -> None:
    cases.assign(check_of(stage), owner=people.operator, due=todo.today(), note="", by=people.operator)
    cases.settle(check_of(stage), outcome="accepted", reason=CAUSE, by=people.operator)


def export_again(estate: make.Estate) -> Generation:
    """The master data of QA from D1, verified by itself."""
    with log.transaction():
        made = masters_start.create_export(masters_start.choose(estate.qa.environment), actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    return made


def check_again(stage: CleanupStage, people: make.People) -> CleanupStage:
    preparation.prepare_stage(now(stage), by=people.operator)
    make.work()
    return now(stage)


@pytest.fixture
def checked(estate: make.Estate, people: make.People, stage: CleanupStage) -> CleanupStage:
    """The cause is stated, the export made again, and the check repeated."""
    state_cause(stage, people)
    export_again(estate)
    return check_again(stage, people)


def submitted(stage: CleanupStage, people: make.People) -> ApprovalRequest:
    cleanup_helpers.share(now(stage), people)
    cleanup_requests.submit(now(stage), by=people.operator)
    return ApprovalRequest.objects.get(cleanupstage=stage)


def started(stage: CleanupStage, people: make.People) -> CleanupStage:
    """Approved with each of its risks, and begun."""
    request = submitted(stage, people)
    named = json.loads(request.evidence)["risks"]
    approval_gate.approve(request, by=people.reviewer, shown=request.digest, accepted=named)
    cleanup_requests.start_deletion(now(stage), by=people.operator)
    return now(stage)


def test_without_a_cause_and_a_new_export_it_stays_where_it_is(
    estate: make.Estate, people: make.People, stage: CleanupStage
) -> None:
    export_again(estate)
    assert (stage.state, check_of(stage).newer) == (State.VERIFIED, 1)
    assert "State the cause" in stage.returned_because
    state_cause(stage, people)
    assert check_again(stage, people).state == State.CHECKED


def test_an_export_from_before_the_difference_was_seen_is_none(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    make.change_datasets(**NEWER)
    change_row(estate, "1", "renamed")
    export_again(estate)
    stage = cleanup_helpers.prepared(cleanup_helpers.asked(people), people)
    state_cause(stage, people)
    blocked = check_again(stage, people)
    assert (blocked.state, "Export the master data" in blocked.returned_because) == (State.VERIFIED, True)
    export_again(estate)
    assert check_again(stage, people).state == State.CHECKED


def test_a_cause_that_was_stated_for_other_rows_is_none(
    estate: make.Estate, people: make.People, stage: CleanupStage
) -> None:
    state_cause(stage, people)
    export_again(estate)
    change_row(estate, "2", "renamed too")
    blocked = check_again(stage, people)
    assert (blocked.state, check_of(stage).newer) == (State.VERIFIED, 2)
    assert "State the cause" in blocked.returned_because


@pytest.mark.parametrize("at", [None, "2025-08-31T23:59:59Z"])
def test_another_difference_beside_it_is_never_accepted(
    estate: make.Estate, people: make.People, stage: CleanupStage, at: str | None
) -> None:
    state_cause(stage, people)
    export_again(estate)
    change_row(estate, "2", "other", at)
    assert check_again(stage, people).state == State.VERIFIED


def test_a_newer_row_without_a_key_is_accepted_with_the_others(
    estate: make.Estate, people: make.People, stage: CleanupStage
) -> None:
    add_row(estate, "2025-10-02T08:00:00Z")
    check_again(stage, people)
    state_cause(stage, people)
    export_again(estate)
    assert check_again(stage, people).state == State.CHECKED
    shown = json.loads(submitted(stage, people).evidence)["check"]["newer"]
    assert [one["name"] for one in shown["first"]] == ["master:a:1", "master:c:1"]


def test_the_reviewer_accepts_the_rows_by_name(people: make.People, checked: CleanupStage) -> None:
    request = submitted(checked, people)
    assert json.loads(request.evidence)["risks"] == ["d1_newer"]
    page = " ".join(signed_in(people.reviewer).get(f"/approvals/{request.pk}/").content.decode().split())
    assert "I accept that 1 row is newer in D1" in page
    assert CAUSE in page
    difference = check_of(checked).found.get()
    assert f'hx-post="/integrity/{check_of(checked).pk}/differences/{difference.pk}/values"' in page
    with pytest.raises(ApprovalRefused, match="names risks"):
        approval_gate.approve(request, by=people.reviewer, shown=request.digest)


def test_its_key_is_deleted_and_the_check_after_it_accepts_what_the_reviewer_accepted(
    estate: make.Estate, people: make.People, checked: CleanupStage
) -> None:
    started(checked, people)
    make.work()
    done = now(checked)
    assert (done.state, done.deleted, done.after_accepted) == (State.CONFIRMED, 3, True)
    assert "master:a:1" in cleanup_helpers.journal(estate)
    assert [(one.check.outcome if one.check else "", one.differs) for one in after_check.results(done)] == [
        ("failed", False), ("passed", False),
    ]  # fmt: skip
    assert not Notification.objects.filter(event=NotificationEvent.STAGE_DIFFERS).exists()
    overview = signed_in(people.operator).get("/").content.decode()
    assert ("after a clean-up" in overview, "Nobody looks into" in overview) == (False, False)


def test_certificate_and_production_name_what_was_accepted(people: make.People, checked: CleanupStage) -> None:
    started(checked, people)
    make.work()
    completion.accept_stage(now(checked), note="Opened the pages, all well", by=people.operator)
    said = str(certificate.in_english(checked.request))
    assert "1 row is newer in D1, nothing else differs" in said
    assert CAUSE.removesuffix(".") in said
    assert "The reviewer accepted these rows by name." in said
    production = cleanup_helpers.submitted(checked.request, people, "production")
    assert production.approval is not None
    assert ACCEPTED in signed_in(people.reviewer).get(f"/approvals/{production.approval_id}/").content.decode()
    assert "qa_differs" not in production.approval.evidence


def test_a_row_that_changed_after_the_approval_stops_the_deletion(
    estate: make.Estate, people: make.People, checked: CleanupStage
) -> None:
    stage = started(checked, people)
    change_row(estate, "2", "renamed too")
    make.work()
    assert stage.run is not None
    assert Run.objects.get(pk=stage.run.pk).error_code == "differences"
    assert cleanup_helpers.journal(estate) == {}


def test_an_accepted_row_that_is_gone_from_d1_stops_the_deletion(
    estate: make.Estate, people: make.People, checked: CleanupStage
) -> None:
    stage = started(checked, people)
    in_d1(estate, "DELETE FROM masters WHERE type = 'a' AND id = '1'")
    make.work()
    assert stage.run is not None
    assert Run.objects.get(pk=stage.run.pk).error_code == "differences"
    assert cleanup_helpers.journal(estate) == {}


def test_another_row_that_changed_while_the_keys_were_deleted_is_an_alarm(
    estate: make.Estate, people: make.People, checked: CleanupStage
) -> None:
    started(checked, people)
    estate.cloudflare.hook("bulk_delete", lambda _: change_row(estate, "2", "renamed too"))
    make.work()
    done = now(checked)
    assert (done.state, done.after_accepted) == (State.CONFIRMED, False)
    assert Notification.objects.filter(event=NotificationEvent.STAGE_DIFFERS, person=people.operator).exists()


def test_a_rule_that_changed_since_stops_the_submit(people: make.People, checked: CleanupStage) -> None:
    make.change_datasets(migrated_at={"qa": "2024-01-01T00:00:00Z"}, newer_by={"qa": ["updated_at", "time", "UTC"]})
    with pytest.raises(CleanupRefused, match="rules changed after the check"):
        cleanup_requests.submit(checked, by=people.operator)


def test_the_page_of_the_check_says_the_way_step_by_step(people: make.People, stage: CleanupStage) -> None:
    reader, address = signed_in(people.operator), f"/integrity/{check_of(stage).pk}/"
    assert "Name a person who states the cause." in reader.get(address).content.decode()
    cases.assign(check_of(stage), owner=people.operator, due=todo.today(), note="", by=people.operator)
    assert "then record the outcome “accepted as it is” with the cause." in reader.get(address).content.decode()
    cases.settle(check_of(stage), outcome="accepted", reason=CAUSE, by=people.operator)
    assert "Export the master data from D1 again, then check again" in reader.get(address).content.decode()


def leave_out(stage: CleanupStage, people: make.People) -> CleanupStage:
    """One press, then the backup, its verification and the check."""
    presses.begin(now(stage), by=people.operator, leave_out=True)
    make.work()
    return now(stage)


def test_one_press_leaves_the_differing_keys_out_and_the_others_go_on(
    estate: make.Estate, people: make.People, stage: CleanupStage
) -> None:
    change_row(estate, "2", "other", at=None)
    check_again(stage, people)
    browser = signed_in(people.operator)
    assert "Leave the 1 differing key out" in browser.get(f"/cleanup/{stage.request_id}/").content.decode()
    earlier = now(stage).generation_id
    browser.post(f"/cleanup/stages/{stage.pk}/begin", {"leave_out": "on"})
    make.work()
    found = now(stage)
    assert (found.names, found.left_out, found.state) == (2, ["master:a:2"], State.VERIFIED)
    assert (found.generation_id != earlier, check_of(stage).differences) == (True, 1)  # the newer row
    assert leave_out(stage, people).left_out == ["master:a:1", "master:a:2"]
    assert (now(stage).names, now(stage).state, check_of(stage).outcome) == (1, State.CHECKED, "passed")
    page = browser.get(f"/cleanup/stages/{stage.pk}/?show=left_out").content.decode()
    assert "Left out, because they differ from D1 (2): master:a:1, master:a:2" in page


def test_keys_left_out_beside_newer_rows_that_are_accepted(
    estate: make.Estate, people: make.People, stage: CleanupStage
) -> None:
    change_row(estate, "2", "other", at=None)
    check_again(stage, people)
    leave_out(stage, people)
    state_cause(stage, people)
    export_again(estate)
    assert check_again(stage, people).state == State.CHECKED
    started(stage, people)
    make.work()
    assert sorted(cleanup_helpers.journal(estate)) == ["master:a:1", "master:b:1"]


def test_the_kept_keys_stay_and_request_and_certificate_name_them(
    estate: make.Estate, people: make.People, stage: CleanupStage
) -> None:
    leave_out(stage, people)
    request = submitted(stage, people)
    assert json.loads(request.evidence)["left_out"]["sample"] == ["master:a:1"]
    page = " ".join(signed_in(people.reviewer).get(f"/approvals/{request.pk}/").content.decode().split())
    assert "1 key differs from D1 and was left out: it stays." in page
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    cleanup_requests.start_deletion(now(stage), by=people.operator)
    make.work()
    assert sorted(cleanup_helpers.journal(estate)) == ["master:a:2", "master:b:1"]
    completion.explain_others(now(stage), note="It differs from D1, so it stays", by=people.operator)
    completion.accept_stage(now(stage), note="Opened the pages, all well", by=people.operator)
    assert [found.differs for found in after_check.results(now(stage))] == [False, False]
    said = str(certificate.in_english(stage.request))
    assert "Left out, because they differ from D1 (1): master:a:1" in said


@pytest.mark.parametrize("at", [None, "2025-08-31T23:59:59Z"])
def test_a_row_without_a_key_that_is_not_newer_stops_the_whole(
    estate: make.Estate, people: make.People, stage: CleanupStage, at: str | None
) -> None:
    add_row(estate, at)
    check_again(stage, people)
    with pytest.raises(CleanupRefused, match="no key can be left out for it"):
        preparation.freeze_stage(now(stage), by=people.operator, leave_out=True)
    page = signed_in(people.operator).get(f"/cleanup/{stage.request_id}/").content.decode()
    assert "It stops the whole clean-up" in page
    assert ("Leave the" in page, now(stage).names, now(stage).left_out) == (False, 3, [])


def test_a_list_that_is_fixed_again_has_all_keys_again(
    estate: make.Estate, people: make.People, stage: CleanupStage
) -> None:
    leave_out(stage, people)
    assert preparation.freeze_stage(now(stage), by=people.operator) == 3
    assert now(stage).left_out == []


def test_a_key_that_is_gone_is_not_said_to_be_left(
    estate: make.Estate, people: make.People, stage: CleanupStage
) -> None:
    leave_out(stage, people)
    estate.cloudflare.remove(make.NAMESPACES["qa"], "master:a:1")
    cleanup_helpers._scan(estate.qa)
    change_row(estate, "2", "other", at=None)
    generation = now(stage).generation
    assert generation is not None
    check_start.start_checks(generation, actor=make.SETUP)
    make.work()
    leave_out(stage, people)
    assert now(stage).left_out == ["master:a:2"]


def test_no_key_is_left_out_without_differences_and_not_every_key(
    estate: make.Estate, people: make.People, stage: CleanupStage
) -> None:
    change_row(estate, "2", "other", at=None)
    in_d1(estate, "UPDATE masters SET name = 'x', updated_at = NULL")
    check_again(stage, people)
    with pytest.raises(CleanupRefused, match="Every key differs"):
        preparation.freeze_stage(now(stage), by=people.operator, leave_out=True)
    in_d1(estate, "UPDATE masters SET name = 'No. ' || id")
    assert check_again(stage, people).state == State.CHECKED
    with pytest.raises(CleanupRefused, match="found no differences"):
        preparation.freeze_stage(now(stage), by=people.operator, leave_out=True)


def test_a_check_that_left_keys_out_does_not_say_that_they_agree(people: make.People, stage: CleanupStage) -> None:
    failed = check_of(stage)
    cases.assign(failed, owner=people.operator, due=todo.today(), note="", by=people.operator)
    leave_out(stage, people)
    assert check_of(stage).outcome == "passed"
    assert not cases.covers(check_of(stage), failed)
    assert cases.open_case(failed) is not None
    assert list(Check.objects.of_kv()) == [failed]
    kept = newest_check(stage.namespace, "master:a:1")
    assert kept is not None
    assert (kept.check, [one.name for one in kept.differences]) == (failed, ["master:a:1"])
    differs = rf'class="text-danger"\s+href="{reverse("backups:check", args=[failed.pk])}"'
    assert re.search(differs, signed_in(people.auditor).get("/").content.decode())
