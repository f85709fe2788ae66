"""The five phases of a stage, and the time left."""

import pytest

from backups.cleanup import cards
from backups.cleanup.pages import presses
from backups.cleanup.pages.facts import StageFacts
from backups.cleanup.pages.phases import phases_of
from backups.cleanup.proofs import proofs
from backups.models import CleanupRequest, CleanupStage
from backups.templatetags.cleanup import time_left
from kvops import timing
from kvops.models import Run
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def request_(estate: make.Estate, people: make.People) -> CleanupRequest:
    cleanup_helpers.estate_with_masters(estate)
    return cleanup_helpers.asked(people)


def marks(stage: CleanupStage) -> str:
    """A letter per phase: done, current, todo, failed."""
    return "".join(phase.state[0] for phase in phases_of(stage, proofs(StageFacts(stage))))


@pytest.mark.parametrize(
    ("reached", "letters"),
    [
        ("stage_of", "ctttt"),
        ("prepared", "ctttt"),
        ("submitted", "dcttt"),
        ("approved", "ddctt"),
        ("confirmed", "ddddc"),
        ("accepted", "ddddd"),
    ],
)
def test_the_phases_follow_the_steps(request_: CleanupRequest, people: make.People, reached: str, letters: str) -> None:
    build = getattr(cleanup_helpers, reached)
    stage = build(request_) if reached == "stage_of" else build(request_, people)
    stage = cleanup_helpers.stage_of(stage.request)
    assert marks(stage) == letters


@pytest.mark.parametrize(("reached", "over"), [("submitted", 1), ("approved", 2), ("confirmed", 4), ("accepted", 5)])
def test_a_phase_says_that_it_was_done_only_when_it_was(
    request_: CleanupRequest, people: make.People, reached: str, over: int
) -> None:
    done = ["Prepared", "Approved", "Deleted", "Proven gone", "Application checked"]
    named = ["Preparation", "Approval", "Deletion", "Proof of absence", "Check of the application"]
    getattr(cleanup_helpers, reached)(request_, people)
    stage = cleanup_helpers.stage_of(request_)
    assert [phase.title for phase in phases_of(stage, proofs(StageFacts(stage)))] == done[:over] + named[over:]


def test_a_finished_phase_says_its_result_in_one_line(request_: CleanupRequest, people: make.People) -> None:
    stage = cleanup_helpers.accepted(request_, people)
    prepared, approved, deleted, _proven, checked = phases_of(stage, proofs(StageFacts(stage)))
    assert prepared.line == f"3 names · backup {stage.generation_id} verified · equals D1 · code searched · shared"
    assert (approved.line, deleted.title, deleted.line) == ("Reviewer", "Deleted", "3 deleted, 0 left out")
    assert "Opened the pages, all well" in checked.line


def test_a_round_of_a_clearing_does_not_claim_steps_that_it_does_not_take(
    request_: CleanupRequest, people: make.People
) -> None:
    stage = cleanup_helpers.accepted(request_, people)
    stage.scheduled = True
    steps = proofs(StageFacts(stage))
    assert not {"Answer the code references", "Share the backup with the team"} & {str(step.title) for step in steps}
    assert phases_of(stage, steps)[0].line == f"3 names · backup {stage.generation_id} verified · equals D1"


def test_a_phase_says_its_state_in_words_too(request_: CleanupRequest, people: make.People) -> None:
    cleanup_helpers.approved(request_, people)
    page = signed_in(people.auditor).get(f"/cleanup/{request_.pk}/").content.decode()
    for word in ("(Done)", "(Now)", "(Still to do)"):
        assert f'<span class="visually-hidden">{word}</span>' in page


def test_a_stage_that_is_done_is_one_folded_line(request_: CleanupRequest, people: make.People) -> None:
    cleanup_helpers.accepted(request_, people)
    page = signed_in(people.operator).get(f"/cleanup/{request_.pk}/").content.decode()
    assert "3 keys deleted" in page
    assert "All steps" in page
    assert page.index("All steps") < page.index("Prepare Production")


def test_a_card_that_was_read_before_its_run_ended_is_loaded_again(
    request_: CleanupRequest, people: make.People
) -> None:
    presses.begin(cleanup_helpers.stage_of(request_), by=people.operator)
    read_before = cards.stage_or_404(cleanup_helpers.stage_of(request_).pk)
    make.work()
    card = cards.card(StageFacts(read_before), people.operator, {})
    assert (card.run, card.moves) == (None, True)
    assert not cards.card(StageFacts(cards.stage_or_404(read_before.pk)), people.operator, {}).moves


def test_a_card_that_was_read_before_the_proof_offers_no_other_try(
    request_: CleanupRequest, people: make.People
) -> None:
    run = cleanup_helpers.started(request_, people)
    while run.is_open:
        Run.objects.open().update(wake_at=None)
        run_driver.drive(run.pk)
        run.refresh_from_db()
    read_before = cards.stage_or_404(cleanup_helpers.stage_of(request_).pk)
    make.work()
    card = cards.card(StageFacts(read_before, may_operate=True), people.operator, {})
    assert (read_before.state, card.stage.state) == ("deleted", "confirmed")
    assert card.action
    assert card.action.label == "Application works: record it"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(59, "less than a minute left"), (60, "about 1 minute left"), (3600, "about 60 minutes left"), (9000, "2 hours")],
)
def test_the_time_left_is_said_in_words(seconds: int, words: str) -> None:
    assert words in time_left(seconds)
