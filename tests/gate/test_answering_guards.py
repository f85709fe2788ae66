"""What a refused answer to a code reference says, and the day and the label of one that is kept."""

# ruff: noqa: F811  # pytest gives the fixture by its name
from collections.abc import Callable
from datetime import date, timedelta

import pytest

from audit.models import Entry
from backups.cleanup import evidence as cleanup_evidence, references as code_references
from backups.cleanup.stages import CleanupRefused
from backups.models import CleanupStage
from kvops import clock
from tests import make
from tests.gate import world as gate
from tests.gate.test_answering import answered, follow_up, hits, over, stage, submitted, today  # noqa: F401
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db


def no_owner(world: GateWorld, stage: CleanupStage) -> None:
    make.deactivate(world.people.operator2)


def open_follow_up(world: GateWorld, stage: CleanupStage) -> None:
    answered(world, stage, "src/a.ts", **follow_up(world))


DAY = timedelta(days=1)
Before = Callable[[GateWorld, CleanupStage], None]
REFUSED: dict[str, tuple[Before | None, dict[str, object]]] = {
    "Give the reason for your answer: the reviewer reads it.": (None, {"reason": " "}),
    "The clean-up is over.": (over, {}),
    "A stage was already submitted with the earlier answers. Withdraw its request first.": (submitted, {}),
    "A follow-up needs the change to make, an owner and a due date.": (None, {"kind": "follow_up"}),
    "The owner of a follow-up needs an active account.": (
        no_owner, {"kind": "follow_up", "follow_up": "d1", "due": date(2099, 1, 1)},
    ),
    "src/a.ts:7 has an open follow-up, which only a later search without the place closes. Choose the other places, or "
    "give a new follow-up.": (open_follow_up, {}),
}  # fmt: skip


@pytest.mark.parametrize("told", REFUSED)
def test_an_answer_is_refused_in_a_full_sentence(world: GateWorld, stage: CleanupStage, told: str) -> None:
    before, given = REFUSED[told]
    if before:
        before(world, stage)
    with pytest.raises(CleanupRefused) as refused:
        answered(world, stage, **given)
    assert str(refused.value) == told


def test_a_stage_that_is_submitted_is_not_answered(world: GateWorld, stage: CleanupStage) -> None:
    answered(world, stage)
    found = gate.checked(stage.request)
    gate.tampered(found, state="confirmed", first_listing_at=clock.now() - DAY, second_listing_at=clock.now())
    with pytest.raises(CleanupRefused, match="A stage was already submitted"):
        answered(world, stage)


def test_places_of_other_keys_are_refused_in_a_full_sentence(world: GateWorld, stage: CleanupStage) -> None:
    with pytest.raises(CleanupRefused) as refused:
        code_references.answer(
            stage, hits=hits("src/c.ts"), kind="unrelated", reason="no longer needed", by=world.people.operator
        )
    told = "These hits are not of the newest search for these keys. Load the page again."
    assert str(refused.value) == told


def test_a_follow_up_is_due_by_the_clock(
    world: GateWorld, stage: CleanupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    due, now = today(), clock.now()
    monkeypatch.setattr(clock, "now", lambda: now + 2 * DAY)
    with pytest.raises(CleanupRefused) as refused:
        answered(world, stage, **follow_up(world, due=due))
    assert str(refused.value) == "The due date is in the past."


def test_a_long_name_is_cut_in_the_audit_log(world: GateWorld, stage: CleanupStage) -> None:
    gate.tampered(stage.request, prefix=f"master:{'x' * 300}")
    answered(world, gate.stage_of(stage.request), "src/a.ts")
    entry = Entry.objects.get(action="references.answered")
    assert entry.subject_label == str(gate.stage_of(stage.request))[:200] != entry.subject_label[:199]


def test_the_evidence_names_what_the_keys_have_in_common(
    request_: object, stage: CleanupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = gate.checked(stage.request)
    assert "only" not in cleanup_evidence.build(found)
    found.request.only = {"without_expiration": True}
    assert cleanup_evidence.build(found)["only"] == {"without_expiration": True}
