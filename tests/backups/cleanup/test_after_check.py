"""After a clean-up the check against D1 is run again, by itself (policy 6a)."""

import pytest
from django.utils import translation

from audit.actions import Action
from audit.models import Entry
from backups.cleanup import after_check, completion, evidence as cleanup_evidence, requests as cleanup_requests
from backups.cleanup.next_action import next_action
from backups.cleanup.pages.facts import StageFacts
from backups.cleanup.proofs import proofs
from backups.cleanup.stages import CleanupRefused
from backups.masters import start as masters_start
from backups.models import Check, CleanupStage
from backups.restores import undo
from kvops import timing
from kvops.models import Notification, NotificationEvent, Run
from kvops.runs import driver as run_driver
from kvops.subjects import tree
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
State, Outcome = CleanupStage.State, Check.Outcome


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def deleting(estate: make.Estate, people: make.People) -> CleanupStage:
    """QA, with its deletion queued."""
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    cleanup_helpers.started(request, people)
    return cleanup_helpers.stage_of(request)


def worked(stage: CleanupStage) -> CleanupStage:
    make.work()
    return cleanup_helpers.stage_of(stage.request)


def rename_in_d1(estate: make.Estate, name: str) -> None:
    """Somebody edits a row of QA."""
    database = generation_helpers.d1(estate)
    database.execute("PRAGMA query_only = 0")
    database.execute("UPDATE masters SET name = ? WHERE type = 'a' AND id = '1'", [name])
    database.commit()


@pytest.fixture
def differing(estate: make.Estate, deleting: CleanupStage) -> CleanupStage:
    """QA, proven; a row of D1 changed while its keys were deleted."""
    estate.cloudflare.hook("bulk_delete", lambda _: rename_in_d1(estate, "renamed"))
    return worked(deleting)


def test_the_backup_is_compared_with_d1_again_when_the_keys_are_proven_gone(deleting: CleanupStage) -> None:
    stage = worked(deleting)
    assert stage.state == State.CONFIRMED
    assert stage.check_after is not None
    assert (stage.check_after.generation_id, stage.check_after.outcome) == (stage.generation_id, Outcome.PASSED)
    assert stage.second_listing_at is not None
    assert stage.check_after.started_at > stage.second_listing_at
    entry = Entry.objects.get(action=Action.STAGE_CHECKED_AGAIN)
    assert entry.subject == f"stage:{stage.pk}"
    assert entry.details == {"check": stage.check_after.pk, "of": "backup", "outcome": "passed", "differences": 0}
    assert f"run:{stage.check_after.run_id}" in tree.under(f"cleanup:{stage.request_id}").subjects


def test_without_a_backup_of_master_data_the_stage_says_so(deleting: CleanupStage) -> None:
    stage = worked(deleting)
    assert stage.dataset_check_after is None
    with translation.override("en"):
        steps = {step.title: step for step in proofs(StageFacts(stage))}
    assert steps["Compare the backup with D1 again"].state == "done"
    assert "There is no dataset file" in steps["Compare the dataset with D1 again"].note


@pytest.mark.parametrize("slug", ["qa", "production"])
def test_a_proof_that_would_be_missing_is_told_before_the_deletion_in_production(
    estate: make.Estate, people: make.People, slug: str
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.stage_of(cleanup_helpers.asked(people), slug)
    assert StageFacts(stage).lacks_dataset == (slug == "production")
    masters_start.start_export(masters_start.choose(stage.environment), actor=make.SETUP)
    make.work()
    assert not StageFacts(stage).lacks_dataset


def test_a_stage_without_keys_needs_no_dataset_file(deleting: CleanupStage) -> None:
    stage = worked(deleting)
    stage.names, stage.check_after = 0, None
    found = [(one.code, one.not_applicable) for one in after_check.results(stage)]
    assert found == [("backup", True), ("dataset", True)]


def test_a_difference_is_an_alarm_and_undoes_nothing(differing: CleanupStage, people: make.People) -> None:
    check = differing.check_after
    assert check is not None
    assert (differing.state, differing.deleted, check.outcome) == (State.CONFIRMED, 3, Outcome.FAILED)
    told = Notification.objects.filter(event=NotificationEvent.STAGE_DIFFERS, person=people.operator)
    assert told.get().title == f"{differing}: 1 difference with D1 after the clean-up"
    page = signed_in(people.operator).get(f"/cleanup/stages/{differing.pk}/").content.decode()
    assert "1 difference with D1. The keys stay deleted." in " ".join(page.split())
    assert f'href="/integrity/{check.pk}/"' in page
    assert "1 difference with D1 after a clean-up" in signed_in(people.operator).get("/").content.decode()


def test_the_acceptance_with_its_note_ends_the_alarm_and_production_is_warned(
    differing: CleanupStage, people: make.People
) -> None:
    completion.accept_stage(differing, note="a nurse renamed it", by=people.operator)
    assert Entry.objects.get(action=Action.STAGE_ACCEPTED).details["differences_after"] == 1
    assert "difference with D1 after a clean-up" not in signed_in(people.operator).get("/").content.decode()
    stage = cleanup_helpers.prepared(differing.request, people, "production")
    built = cleanup_evidence.build(stage)
    assert {"code": "qa_differs", "environment": "QA", "count": 1} in built["warnings"]  # type: ignore[operator]
    approval = cleanup_requests.submit(stage, by=people.operator)
    page = signed_in(people.reviewer).get(f"/approvals/{approval.pk}/").content.decode()
    assert "After the clean-up of QA, the check found 1 difference with D1." in " ".join(page.split())


def until(stage: CleanupStage, state: CleanupStage.State) -> CleanupStage:
    """Work only on the deletion and its proof, until the stage is so far."""
    while (now := cleanup_helpers.stage_of(stage.request)).state != state:
        Run.objects.open().update(wake_at=None)
        runs = list(Run.objects.open().filter(kind__in=[Run.Kind.DELETE, Run.Kind.CONFIRM]))
        assert runs, [(run.kind, run.state, run.error) for run in Run.objects.order_by("pk")]
        for run in runs:
            run_driver.drive(run.pk)
    return now


def until_confirmed(stage: CleanupStage) -> CleanupStage:
    """The keys are proven gone, and no other run worked."""
    return until(stage, State.CONFIRMED)


def test_the_acceptance_waits_for_the_result_but_the_undo_does_not(deleting: CleanupStage, people: make.People) -> None:
    stage = until_confirmed(deleting)
    with pytest.raises(CleanupRefused, match="Wait for the comparison with D1"):
        completion.accept_stage(stage, note="all went well", by=people.operator)
    action = next_action(stage, people.operator)
    assert action is not None
    assert "Wait for the comparison with D1" in action.disabled_reason
    assert undo.start_undo(stage, by=people.operator).kind == Run.Kind.UNDO


def test_a_check_that_cannot_finish_blocks_no_acceptance_and_is_a_warning(
    deleting: CleanupStage, people: make.People
) -> None:
    stage = until_confirmed(deleting)
    assert stage.check_after is not None
    run_driver.request_stop(stage.check_after.run, actor=people.operator.actor)
    stage = worked(stage)
    completion.accept_stage(stage, note="all went well", by=people.operator)
    built = cleanup_evidence.build(cleanup_helpers.prepared(stage.request, people, "production"))
    assert {"code": "qa_not_checked_again", "environment": "QA"} in built["warnings"]  # type: ignore[operator]


def test_a_proof_that_is_rolled_back_leaves_no_check(deleting: CleanupStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backups.deletion.proof.own_changes.remove", lambda *_: 1 / 0)
    stage = worked(deleting)
    assert stage.state == State.DELETED
    assert not Run.objects.filter(subject=f"stage:{stage.pk}/check").exists()
