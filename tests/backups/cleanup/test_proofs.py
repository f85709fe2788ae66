"""The stepper of a stage and the one thing to do next, without a page."""

import re
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from audit import log
from backups.cleanup import completion, preparation, requests as cleanup_requests
from backups.cleanup.next_action import NextAction, next_action
from backups.cleanup.pages.facts import StageFacts
from backups.cleanup.proofs import proofs
from backups.cleanup.stages import CleanupRefused, send_back
from backups.deletion.chunks import end_early
from backups.generations import start as generation_start
from backups.models import Check, CleanupRequest, CleanupStage, Generation, Restore
from kvops import timing
from kvops.models import Environment, Person, Role, Run, Scan
from kvops.runs import driver as run_driver
from tests import make, searched
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers
from tests.gate.world import tampered
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
State = CleanupStage.State
TITLES = [
    "Fix the list of keys",
    "Back up",
    "Verify the backup",
    "Check against D1",
    "Answer the code references",
    "Share the backup with the team",
    "Submit",
    "Approval by another person",
    "Delete",
    "Prove that the keys are gone",
    "Test the application",
]
END = "End this clean-up, then ask again"


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def request_(estate: make.Estate, people: make.People) -> CleanupRequest:
    cleanup_helpers.estate_with_masters(estate)
    return cleanup_helpers.asked(people)


def marks(stage: CleanupStage) -> str:
    """A letter per step: done, current, todo, failed."""
    return "".join(step.state[0] for step in proofs(StageFacts(stage)))


def action(stage: CleanupStage, person: Person) -> NextAction:
    found = next_action(stage, person)
    assert found is not None
    return found


def offered(stage: CleanupStage, person: Person) -> tuple[str, str]:
    found = action(stage, person)
    return found.url_name.removeprefix("backups:"), found.disabled_reason


def test_a_new_stage_begins_with_its_names(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.stage_of(request_)
    assert [step.title for step in proofs(StageFacts(stage))] == TITLES
    assert marks(stage) == "ctttttttttt"
    assert offered(stage, people.operator) == ("stage_begin", "")


def test_production_waits_for_qa(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.stage_of(request_, "production")
    assert marks(stage) == "t" * 11
    assert offered(stage, people.operator)[1].startswith("Clean up QA first")


@pytest.mark.parametrize("who", ["reviewer", "auditor"])
def test_only_an_operator_gets_a_button(request_: CleanupRequest, people: make.People, who: str) -> None:
    assert offered(cleanup_helpers.stage_of(request_), getattr(people, who))[1] == "You are not an operator."


def test_names_need_a_scan_within_a_day(request_: CleanupRequest, people: make.People) -> None:
    Scan.objects.update(completed_at=Now() - timedelta(hours=25))
    assert "Scan it first" in offered(cleanup_helpers.stage_of(request_), people.operator)[1]


def test_frozen_names_are_backed_up_next(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.stage_of(request_)
    preparation.freeze_stage(stage, by=people.operator)
    assert marks(cleanup_helpers.stage_of(request_)) == "dcttttttttt"
    assert proofs(StageFacts(stage))[0].note == "3 names"
    assert offered(stage, people.operator) == ("stage_prepare", "")


def test_while_a_run_works_one_waits_for_it(request_: CleanupRequest, people: make.People) -> None:
    preparation.freeze_stage(cleanup_helpers.stage_of(request_), by=people.operator)
    run = preparation.prepare_stage(cleanup_helpers.stage_of(request_), by=people.operator)
    stage = cleanup_helpers.stage_of(request_)
    assert proofs(StageFacts(stage))[1].link == f"Run {run.pk}"
    assert offered(stage, people.operator)[1].startswith(f"Wait for run {run.pk} (backup)")


def test_a_failed_run_says_why_and_can_be_tried_again(
    request_: CleanupRequest, estate: make.Estate, people: make.People
) -> None:
    preparation.freeze_stage(cleanup_helpers.stage_of(request_), by=people.operator)
    estate.cloudflare.fault("bulk_get", "challenge")
    run = preparation.prepare_stage(cleanup_helpers.stage_of(request_), by=people.operator)
    make.work()
    run.refresh_from_db()
    stage = cleanup_helpers.stage_of(request_)
    assert marks(stage) == "dfttttttttt"
    assert proofs(StageFacts(stage))[1].note == run.error
    assert action(stage, people.operator).label == "Try again"


def differing(request: CleanupRequest, estate: make.Estate, people: make.People) -> CleanupStage:
    """Prepared, and the check found a row less in D1."""
    database = generation_helpers.d1(estate)
    database.execute("PRAGMA query_only = 0")
    database.execute("DELETE FROM masters WHERE type = 'b'")
    database.commit()
    return cleanup_helpers.prepared(request, people)


def test_a_difference_is_a_failed_step_that_leads_to_the_check(
    request_: CleanupRequest, estate: make.Estate, people: make.People
) -> None:
    stage = differing(request_, estate, people)
    assert marks(stage) == "dddfddttttt"
    assert proofs(StageFacts(stage))[3].note == "1 difference with D1."
    assert proofs(StageFacts(stage))[3].url.startswith("/integrity/")
    assert action(stage, people.operator).label == "Check again"


@pytest.mark.parametrize("who", ["operator", "auditor"])
def test_after_a_failed_check_the_differences_are_the_first_button(
    request_: CleanupRequest, estate: make.Estate, people: make.People, who: str
) -> None:
    stage = differing(request_, estate, people)
    page = signed_in(getattr(people, who)).get(f"/cleanup/{stage.request_id}/").content.decode()
    box = page[page.index("next-box") :]
    assert "Next: See each difference" in box
    button = f'<a class="btn btn-primary" href="/integrity/{Check.objects.get().pk}/">'
    again = re.search(r"Check again\s*</button>", box)
    assert again
    assert 0 < box.index(button) < again.start()


def test_a_checked_stage_needs_the_references_before_the_submit(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.prepared(request_, people)
    assert marks(stage) == "ddddddctttt"
    assert offered(stage, people.operator) == ("stage_submit", "")
    searched.search(stage.environment, hits=["src/a.ts:7 write certain SETTINGS master:*"])
    stage = cleanup_helpers.stage_of(request_)
    assert marks(stage) == "ddddcdttttt"
    assert proofs(StageFacts(stage))[4].note == "1 place has no answer"
    assert action(stage, people.operator).url == f"/cleanup/stages/{stage.pk}/references/"


def test_a_backup_that_was_verified_too_long_ago_is_verified_again(
    request_: CleanupRequest, people: make.People
) -> None:
    stage = cleanup_helpers.prepared(request_, people)
    Generation.objects.update(verified_at=Now() - timedelta(hours=25))
    assert action(stage, people.operator).label == "Verify the backup again"


def test_cache_has_no_step_for_d1(estate: make.Estate, people: make.People) -> None:
    estate.put(estate.qa, "mastercache:1")
    cleanup_helpers.scan(estate.qa, estate.production)
    stage = cleanup_helpers.prepared(cleanup_helpers.asked(people, "mastercache:"), people)
    assert "Check against D1" not in [step.title for step in proofs(StageFacts(stage))]
    assert offered(stage, people.operator) == ("stage_submit", "")


def test_a_submitted_stage_leads_everybody_to_the_request(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.submitted(request_, people)
    assert marks(stage) == "dddddddcttt"
    assert action(stage, people.auditor).url == f"/approvals/{stage.approval_id}/"


def test_an_approved_stage_is_started_by_whoever_did_not_approve(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.approved(request_, people)
    make.grant(people.reviewer, Role.OPERATOR)
    assert action(stage, people.operator).label == "Delete 3 keys"
    assert offered(stage, people.reviewer)[1] == "You approved this; another person must start it."


def test_an_approval_whose_time_is_over_is_no_button(
    request_: CleanupRequest, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "USE_WITHIN", 0)
    assert "deadline for using" in offered(cleanup_helpers.approved(request_, people), people.operator)[1]


def test_a_deletion_that_stopped_can_go_on(request_: CleanupRequest, people: make.People) -> None:
    run = cleanup_helpers.started(request_, people)
    Run.objects.filter(pk=run.pk).update(stop_requested_by="tests")
    make.work()
    stage = cleanup_helpers.stage_of(request_)
    assert marks(stage) == "ddddddddftt"
    assert offered(stage, people.operator) == ("stage_again", "")


def test_leftovers_are_explained_before_the_stage_is_accepted(
    request_: CleanupRequest, estate: make.Estate, people: make.People
) -> None:
    stage = cleanup_helpers.approved(request_, people)
    estate.put(estate.qa, cleanup_helpers.NAMES[0], b"new")
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    assert offered(cleanup_helpers.stage_of(request_), people.operator) == ("stage_leftovers", "")
    completion.explain_leftovers(cleanup_helpers.stage_of(request_), note="an old job", by=people.operator)
    assert offered(cleanup_helpers.stage_of(request_), people.operator) == ("stage_accept", "")


def test_an_accepted_stage_is_done(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.accepted(request_, people)
    assert marks(stage) == "ddddddddddd" + "dt"  # compared with D1 again; there is no dataset file
    assert next_action(stage, people.operator) is None
    assert proofs(StageFacts(stage))[8].note == "3 deleted, 0 left out"
    assert "No difference. Keys: 3, rows: 3" in [step.note for step in proofs(StageFacts(stage))]
    assert "Opened the pages, all well" in proofs(StageFacts(stage))[10].note


def test_a_backup_found_damaged_later_is_a_failed_step(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.accepted(request_, people)
    assert proofs(StageFacts(stage))[2].note == "Every entry equals what KV returned"
    Generation.objects.filter(stages=stage).update(status="damaged", problem="part 1 is gone")
    step = proofs(StageFacts(cleanup_helpers.stage_of(request_)))[2]
    assert (step.state, step.note) == ("failed", "The backup is damaged: part 1 is gone")


def test_a_newer_verification_that_is_under_way_or_stopped_is_said(
    request_: CleanupRequest, people: make.People
) -> None:
    stage = cleanup_helpers.accepted(request_, people)
    assert stage.generation is not None
    run = generation_start.start_verification(stage.generation, actor=make.SETUP)
    step = proofs(StageFacts(cleanup_helpers.stage_of(request_)))[2]
    assert (step.state, step.note, step.link) == (
        "done",
        "Verified before. It is being verified again",
        f"Run {run.pk}",
    )
    run_driver.request_stop(run, actor=make.SETUP)
    make.work()
    step = proofs(StageFacts(cleanup_helpers.stage_of(request_)))[2]
    assert (step.state, "did not finish" in step.note) == ("failed", True)


def test_a_stage_that_was_sent_back_shares_its_next_backup(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.submitted(request_, people)
    assert proofs(StageFacts(stage))[5].state == "done"
    with log.transaction():
        send_back(stage, people.operator.actor, "The code was searched again.")
    steps = proofs(StageFacts(cleanup_helpers.stage_of(request_)))
    assert (steps[1].state, steps[5].state) == ("current", "todo")


def test_a_deletion_that_deleted_nothing_proves_nothing(
    request_: CleanupRequest, estate: make.Estate, people: make.People
) -> None:
    run = cleanup_helpers.started(request_, people)
    Run.objects.filter(pk=run.pk).update(stop_requested_by="tests")
    make.work()
    end_early(cleanup_helpers.stage_of(request_), by=people.operator)
    make.work()
    stage = cleanup_helpers.stage_of(request_)
    assert (stage.state, stage.deleted, stage.shown_state) == (State.CONFIRMED, 0, "nothing_deleted")
    assert proofs(StageFacts(stage))[9].note == "Deleted: 0 of 3, so nothing is proven gone"


def test_a_deletion_of_some_says_how_many(request_: CleanupRequest, estate: make.Estate, people: make.People) -> None:
    stage = cleanup_helpers.approved(request_, people)
    estate.put(estate.qa, cleanup_helpers.NAMES[0], b"new")
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    stage = cleanup_helpers.stage_of(request_)
    assert proofs(StageFacts(stage))[9].note == "Deleted: 2 of 3, and gone from two listings"


def test_a_stage_without_names_has_three_steps(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.scan(estate.qa, estate.production)
    stage = cleanup_helpers.stage_of(cleanup_helpers.asked(people, "mastercache:"))
    preparation.freeze_stage(stage, by=people.operator)
    assert [step.state for step in proofs(StageFacts(stage))] == ["done", "current", "todo"]
    assert action(stage, people.operator).label == "Prove that there are no keys"
    estate.put(estate.qa, "mastercache:1")
    preparation.prepare_stage(stage, by=people.operator)
    make.work()
    assert offered(cleanup_helpers.stage_of(stage.request), people.operator) == ("stage_freeze", "")


def test_an_ended_stage_keeps_what_it_reached(request_: CleanupRequest, people: make.People) -> None:
    cleanup_helpers.prepared(request_, people)
    completion.end(request_, reason="a mistake of mine", by=people.operator)
    stage = cleanup_helpers.stage_of(request_)
    assert marks(stage) == "ddddddttttt"
    assert next_action(stage, people.operator) is None


def nothing_deleted(stage: CleanupStage) -> None:
    tampered(stage, deleted=0, skipped=stage.names)


def keys_written_back(stage: CleanupStage) -> None:
    assert stage.generation is not None
    Restore.objects.create(
        environment=stage.environment, namespace=stage.namespace, generation=stage.generation, stage=stage
    )


@pytest.mark.parametrize("spoil", [nothing_deleted, keys_written_back])
def test_every_place_says_to_end_a_clean_up_whose_qa_proves_nothing(
    request_: CleanupRequest, people: make.People, spoil: Callable[[CleanupStage], None]
) -> None:
    spoil(cleanup_helpers.accepted(request_, people))
    production = cleanup_helpers.stage_of(request_, "production")
    found = action(production, people.operator)
    assert (found.label, found.url) == (END, f"/cleanup/{request_.pk}/#end")
    assert "proves nothing" in found.because
    client = signed_in(people.operator)
    for address in ("/", "/cleanup/", f"/cleanup/{request_.pk}/", f"/cleanup/stages/{production.pk}/"):
        page = client.get(address).content.decode()
        assert END in page, address
        assert "Prepare Production" not in page, address


@pytest.mark.parametrize("spoil", [nothing_deleted, keys_written_back])
def test_a_stage_that_proves_nothing_is_ended_and_never_accepted(
    request_: CleanupRequest, people: make.People, spoil: Callable[[CleanupStage], None]
) -> None:
    stage = cleanup_helpers.confirmed(request_, people)
    spoil(stage)
    stage = cleanup_helpers.stage_of(request_)
    completion.explain_leftovers(stage, note="they were gone", by=people.operator)
    stage = cleanup_helpers.stage_of(request_)
    assert action(stage, people.operator).label == END
    with pytest.raises(CleanupRefused, match="proves nothing"):
        completion.accept_stage(stage, note="works as agreed", by=people.operator)
    assert 'id="end"' in signed_in(people.operator).get(f"/cleanup/{request_.pk}/").content.decode()
    completion.end(request_, reason="asked again", by=people.operator)
    assert not CleanupRequest.objects.get(pk=request_.pk).is_open


def test_no_delete_is_offered_while_the_backup_is_damaged_or_elsewhere(
    request_: CleanupRequest, people: make.People
) -> None:
    stage = cleanup_helpers.approved(request_, people)
    assert offered(stage, people.operator) == ("stage_start", "")
    bucket = stage.environment.r2_bucket
    Environment.objects.filter(slug="qa").update(r2_bucket="another")
    assert "not usable: in another bucket" in offered(cleanup_helpers.stage_of(request_), people.operator)[1]
    Environment.objects.filter(slug="qa").update(r2_bucket=bucket)
    Generation.objects.update(status="damaged")
    stage = cleanup_helpers.stage_of(request_)
    assert "not usable: damaged. Put it right and verify it, or withdraw" in offered(stage, people.operator)[1]
    page = signed_in(people.operator).get(f"/cleanup/stages/{stage.pk}/").content.decode()
    assert f"/cleanup/stages/{stage.pk}/start" not in page
