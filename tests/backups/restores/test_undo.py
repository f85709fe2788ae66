"""Undoing a deletion under its own approval, within 72 hours."""

import json
import re

import pytest
from django.db import IntegrityError

from backups.cleanup import completion, evidence as cleanup_evidence, qa, requests as cleanup_requests
from backups.cleanup.pages.facts import StageFacts
from backups.cleanup.proofs import proofs
from backups.cleanup.stages import CleanupRefused
from backups.models import CleanupStage, Generation, Restore
from backups.restores import selection as restore_selection, undo as stage_undo
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.cloudflare import KvEntry
from kvops.inventory import families as key_families
from kvops.models import Key, Role, Run
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
NAMES = cleanup_helpers.NAMES


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


def deleted(estate: make.Estate, people: make.People) -> CleanupStage:
    """QA, cleaned and proven."""
    cleanup_helpers.estate_with_masters(estate)
    return cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)


def undone(stage: CleanupStage, people: make.People) -> Restore:
    """The undo, brought to its end."""
    stage_undo.start_undo(stage, by=people.operator2)
    make.work()
    return Restore.objects.get(stage=stage)


def test_exactly_what_was_deleted_is_restored(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    estate.put(estate.qa, NAMES[1], b"changed after the backup")
    before = restore_helpers.held(estate, estate.qa)
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    stage.refresh_from_db()
    assert set(restore_helpers.held(estate, estate.qa)) == {NAMES[1]}
    restore = undone(stage, people)
    assert restore_helpers.held(estate, estate.qa) == before
    assert restore_helpers.outcomes(restore) == {NAMES[0]: "written", NAMES[2]: "written"}


@pytest.mark.hazard("B16")
def test_a_key_that_was_written_again_meanwhile_stays(estate: make.Estate, people: make.People) -> None:
    stage = deleted(estate, people)
    restore_helpers.put(estate, estate.qa, KvEntry(NAMES[0], b"newer", None, None))
    restore = undone(stage, people)
    assert restore_helpers.held(estate, estate.qa)[NAMES[0]].data == b"newer"
    assert restore_helpers.outcomes(restore) == {NAMES[0]: "value", NAMES[1]: "written", NAMES[2]: "written"}


def test_the_reviewer_was_shown_that_the_approval_covers_it(estate: make.Estate, people: make.People) -> None:
    stage = deleted(estate, people)
    assert stage.approval is not None
    assert json.loads(stage.approval.evidence)["undo"] == {"hours": 72, "on_conflict": "skip"}
    run = stage_undo.start_undo(stage, by=people.operator)
    assert (run.kind, run.approval_id, run.approval_digest) == ("undo", stage.approval_id, stage.approval.digest)


def test_the_stage_stays_where_it_was_and_is_ended(estate: make.Estate, people: make.People) -> None:
    stage = deleted(estate, people)
    undone(stage, people)
    stage.refresh_from_db()
    assert stage.state == "confirmed"
    with pytest.raises(CleanupRefused, match="proves nothing"):
        completion.accept_stage(stage, note="put back, the pages needed them", by=people.operator)
    completion.end(stage.request, reason="put back, the pages needed them", by=people.operator)


def test_what_was_restored_in_qa_proves_nothing_for_production(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    stage = cleanup_helpers.accepted(request, people)
    production = cleanup_helpers.stage_of(request, "production")
    assert qa.missing_qa(production) == ""
    stage_undo.start_undo(stage, by=people.operator)
    assert "wrote deleted keys back in QA" in qa.missing_qa(production)


def test_an_undo_of_qa_stops_the_start_in_production(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    stage = cleanup_helpers.accepted(request, people)
    production = cleanup_helpers.approved(request, people, "production")
    undone(stage, people)
    with pytest.raises(CleanupRefused, match="wrote deleted keys back in QA"):
        cleanup_requests.start_deletion(production, by=people.operator)
    assert cleanup_helpers.journal(estate, "production") == {}


def test_only_once(estate: make.Estate, people: make.People) -> None:
    stage = deleted(estate, people)
    undone(stage, people)
    with pytest.raises(CleanupRefused, match="undone already"):
        stage_undo.start_undo(stage, by=people.operator)


def test_not_after_72_hours(estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch) -> None:
    stage = deleted(estate, people)
    monkeypatch.setattr(timing, "UNDO_WITHIN", 0.0)
    with pytest.raises(CleanupRefused, match=r"72 hours after the deletion are over.*Restore the keys from backup"):
        stage_undo.start_undo(stage, by=people.operator)


def test_an_undo_that_lay_still_too_long_writes_nothing_more(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = deleted(estate, people)
    run = stage_undo.start_undo(stage, by=people.operator)
    monkeypatch.setattr(timing, "UNDO_WITHIN", 0.0)
    make.work()
    run.refresh_from_db()
    assert (run.error_code, restore_helpers.held(estate, estate.qa)) == ("rights_gone", {})


def test_not_before_it_is_proven_that_the_keys_are_gone(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    cleanup_requests.start_deletion(stage, by=people.operator)
    with pytest.raises(CleanupRefused, match="Nothing was deleted"):
        stage_undo.start_undo(stage, by=people.operator)


def test_not_by_who_approved_the_deletion(estate: make.Estate, people: make.People) -> None:
    stage = deleted(estate, people)
    make.grant(people.reviewer, Role.OPERATOR)
    with pytest.raises(CleanupRefused, match="You approved this"):
        stage_undo.start_undo(stage, by=people.reviewer)


def test_not_by_somebody_who_is_no_operator(estate: make.Estate, people: make.People) -> None:
    with pytest.raises(CleanupRefused, match="Only an operator"):
        stage_undo.start_undo(deleted(estate, people), by=people.auditor)


def test_not_when_the_approver_is_no_reviewer_any_more(estate: make.Estate, people: make.People) -> None:
    stage = deleted(estate, people)
    make.revoke(people.reviewer, Role.REVIEWER)
    with pytest.raises(approval_gate.ApprovalRefused, match="no longer a reviewer"):
        stage_undo.start_undo(stage, by=people.operator)


def test_not_from_a_backup_that_was_found_damaged(estate: make.Estate, people: make.People) -> None:
    stage = deleted(estate, people)
    Generation.objects.filter(stages=stage).update(status="damaged")
    with pytest.raises(CleanupRefused, match="no longer verified"):
        stage_undo.start_undo(stage, by=people.operator)


def test_not_what_an_approval_without_an_undo_covered(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = cleanup_evidence.build
    monkeypatch.setattr(cleanup_evidence, "build", lambda stage: {k: v for k, v in real(stage).items() if k != "undo"})
    with pytest.raises(CleanupRefused, match="does not include an undo"):
        stage_undo.start_undo(deleted(estate, people), by=people.operator)


def test_the_database_refuses_one_name_too_many(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = deleted(estate, people)

    def one_more(restore: Restore) -> None:
        restore.entries.create(index=9, name="master:z:1", size=1)
        restore_selection.seal(restore)

    monkeypatch.setattr("backups.restores.undo.seal", one_more)
    with pytest.raises(IntegrityError, match="an undo is of what its deletion deleted"):
        stage_undo.start_undo(stage, by=people.operator)


def test_the_run_can_be_resumed_but_not_by_the_approver(estate: make.Estate, people: make.People) -> None:
    stage = deleted(estate, people)
    run = stage_undo.start_undo(stage, by=people.operator)
    run_driver.request_stop(run, actor=make.SETUP)
    make.work()
    with pytest.raises(run_driver.NotResumable, match="You approved this"):
        run_driver.resume(Run.objects.get(pk=run.pk), actor=people.reviewer.actor)
    run_driver.resume(Run.objects.get(pk=run.pk), actor=people.operator2.actor)
    make.work()
    assert set(restore_helpers.held(estate, estate.qa)) == set(NAMES)


def test_keys_that_were_restored_are_not_reported_as_having_come_back(estate: make.Estate, people: make.People) -> None:
    stage = deleted(estate, people)
    undone(stage, people)
    make.work()
    assert not stage.reappearances.exists()


# On the pages, and in the inventory


def shown(people: make.People, address: str) -> str:
    return signed_in(people.operator).get(address).content.decode()


def test_after_an_undo_the_clean_up_is_undone_everywhere(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    stage = cleanup_helpers.accepted(request, people)
    restore = undone(stage, people)
    step = proofs(StageFacts(stage))[-1]
    assert (step.title, step.note) == ("Undo of the deletion", "3 restored, 0 not")
    assert step.url == f"/restores/{restore.pk}/"
    assert stage.shown_state == "undone"
    found_by_name = "/keys/qa/SETTINGS/deleted/"
    for address in ("/cleanup/", f"/cleanup/{request.pk}/", f"/cleanup/stages/{stage.pk}/", found_by_name):
        page = shown(people, address)
        assert "Undone" in page
        assert "Accepted</" not in page
    assert "End this clean-up, then ask again" in shown(people, "/cleanup/")


def test_a_clean_up_that_is_done_and_undone_is_not_called_done(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    cleanup_helpers.accepted(request, people)
    undone(cleanup_helpers.accepted(request, people, "production"), people)
    listed = signed_in(people.operator).get("/cleanup/")
    [row] = listed.context["rows"]
    assert row.result.code == "undone"
    [after_the_badge] = re.findall(r"Undone</span>([^<]*</td>)", listed.content.decode())
    assert after_the_badge.split() == ["</td>"]  # the date of the completion is not that of the undo
    assert signed_in(people.operator).get(f"/cleanup/{request.pk}/").context["result"].code == "undone"


def test_while_an_undo_works_or_after_it_failed_the_clean_up_is_not_called_done(
    estate: make.Estate, people: make.People
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    cleanup_helpers.accepted(request, people)
    stage = cleanup_helpers.accepted(request, people, "production")
    stage_undo.start_undo(stage, by=people.operator2)
    assert stage.shown_state == "restoring"
    [row] = signed_in(people.operator).get("/cleanup/").context["rows"]
    assert row.result.code == "restoring"


def test_what_was_restored_is_in_the_inventory_again(estate: make.Estate, people: make.People) -> None:
    stage = deleted(estate, people)
    keys = Key.objects.filter(namespace=estate.qa).order_by("name")
    assert not keys.exists()
    undone(stage, people)
    assert list(keys.values_list("name", "family__pattern")) == [(name, "master:") for name in NAMES]
    assert [row.keys for row in key_families.keys_by_family(estate.qa)] == [3]
