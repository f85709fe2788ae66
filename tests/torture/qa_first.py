"""`qa_first` (A7): production is neither submitted nor started on any evidence of QA but a good one.

Every combination of where QA's clean-up stands, how old it is, what was left over, what came back, whether there were
keys at all and any was deleted, and whether it was of the same scope. Good evidence must be taken, or the row would
prove nothing.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import product

from django.db import IntegrityError
from django.db.models.functions import Now

from backups.cleanup import requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused
from backups.models import CleanupException, CleanupRequest, CleanupStage, Reappearance
from kvops import timing
from kvops.approvals import gate as approval_gate
from tests import make
from tests.audit import flush
from tests.gate import world as gate
from tests.torture.rows import Found, TortureFigure, TortureRow, total

type Change = Callable[[CleanupStage], object]


def values(**changed: object) -> Change:
    """Columns of QA's stage."""
    return lambda qa: CleanupStage.objects.filter(pk=qa.pk).update(**changed)


def nothing(_qa: CleanupStage) -> None:
    """As it was."""


def left_over(note: str) -> Change:
    """A name that was not deleted."""

    def change(qa: CleanupStage) -> None:
        CleanupException.objects.create(stage=qa, index=0, name=gate.NAMES[0], outcome="changed")
        values(skipped=1, leftovers_note=note)(qa)

    return change


def reappeared(note: str) -> Change:
    """A name that came back."""

    def change(qa: CleanupStage) -> None:
        seen = {"note": note, "acknowledged_by": qa.accepted_by, "acknowledged_at": Now()} if note else {}
        Reappearance.objects.create(stage=qa, index=1, name=gate.NAMES[1], same=True, **seen)

    return change


def another_policy(_qa: CleanupStage) -> None:
    """A newer version of the policy."""
    make.another_policy()


STATES: Mapping[str, Change] = {
    "accepted": nothing,
    "not accepted": values(state="confirmed"),
    "not proven": values(state="deleted"),
    "not finished": values(state="deleting"),
    "ended": values(state="ended"),
    "undone: frozen again": values(state="frozen"),
}
AGES: Mapping[str, Change] = {
    "fresh": nothing,
    "almost 7 days": values(accepted_at=Now() - timedelta(seconds=timing.QA_EVIDENCE - 600)),
    "7 days and more": values(accepted_at=Now() - timedelta(seconds=timing.QA_EVIDENCE + 600)),
}
LEFT: Mapping[str, Change] = {
    "nothing left": nothing,
    "leftovers explained": left_over("the old job"),
    "leftovers unexplained": left_over(""),
}
BACK: Mapping[str, Change] = {
    "nothing back": nothing,
    "back and noted": reappeared("a writer, stopped"),
    "back and unseen": reappeared(""),
}
KEYS: Mapping[str, Change] = {
    "keys": nothing,
    "keys, of which none was deleted": values(deleted=0),
    "no keys, with a reason": values(names=0, empty_reason="QA has none"),
    "no keys, without a reason": values(names=0, empty_reason=""),
}
SCOPES: Mapping[str, Change] = {
    "this scope": nothing,
    "another binding or prefix": values(scope_digest="9" * 64),
    "no scope": values(scope_digest=""),
    "another policy": another_policy,
    "other rules of the dataset": lambda _: make.change_datasets(ignore=[]),
    "other rules of the family": lambda _: make.change_families("master:", read="exact"),
    "a later environment": lambda qa: gate.tampered(qa.environment, order=9),
    "production itself": lambda qa: gate.tampered(qa.environment, production=True),
}
GOOD = ("accepted", "fresh", "almost 7 days", "nothing left", "leftovers explained", "nothing back", "back and noted")
GOOD_TOO = ("keys", "no keys, with a reason", "this scope")
COMBINATIONS = list(product(STATES, AGES, LEFT, BACK, KEYS, SCOPES))
CHANGES = {**STATES, **AGES, **LEFT, **BACK, **KEYS, **SCOPES}


def _trial(world: gate.GateWorld, request: CleanupRequest, number: int) -> Found:
    # Spread, so that a short run meets all of them; the first is all good.
    combination = COMBINATIONS[number * 1009 % len(COMBINATIONS)]
    good = all(part in GOOD + GOOD_TOO for part in combination)
    found: Found = {"good": good}
    with gate.undone():
        try:
            with gate.past_the_triggers():
                for part in combination:
                    CHANGES[part](gate.stage_of(request))
        except IntegrityError:
            found["by_the_database"] = 1
            return found
        found["submitted"] = _submits(world, request)
        found["started"] = _starts(world, request)
        found["carried_on"] = good and _starts_anew(world, request)
    if not good and (found["submitted"] or found["started"]):
        print(f"trial {number}: taken in spite of: {combination}")
    return found


def _submits(world: gate.GateWorld, request: CleanupRequest) -> bool:
    """The stage is prepared anew, with everything but QA's evidence as it must be."""
    with gate.undone():
        approval_gate.withdraw(gate.approval_of(gate.stage_of(request, "production")), by=world.people.operator)
        try:
            cleanup_requests.submit(gate.checked(request, "production"), by=world.people.operator, ticked=True)
        except (CleanupRefused, approval_gate.ApprovalRefused):
            return False
        return True


def _starts(world: gate.GateWorld, request: CleanupRequest) -> bool:
    """The approval was given while the evidence was good."""
    stage = gate.stage_of(request, "production")
    with gate.undone():
        try:
            cleanup_requests.start_deletion(stage, by=world.people.operator)
        except (CleanupRefused, approval_gate.ApprovalRefused):
            return False
        return True


def _starts_anew(world: gate.GateWorld, request: CleanupRequest) -> bool:
    """Approved once more, with QA's evidence as it is now."""
    approval_gate.withdraw(gate.approval_of(gate.stage_of(request, "production")), by=world.people.operator)
    try:
        gate.approved(world, request, "production")
    except (CleanupRefused, approval_gate.ApprovalRefused):
        return False
    return _starts(world, request)


def _qa_first(_seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    flush.empty_the_database()
    with gate.undone():
        world = gate.world()
        request = gate.asked(world)
        gate.accepted(world, request)
        gate.approved(world, request, "production")
        for number in numbers:
            yield number, _trial(world, request, number)


def _figures(found: Sequence[Found]) -> list[TortureFigure]:
    good = [one for one in found if one["good"]]
    bad = [one for one in found if not one["good"]]
    return [
        TortureFigure("combinations that are not good", len(bad)),
        TortureFigure("production submitted on one of them", total(bad, "submitted"), "==", 0),
        TortureFigure("production started on one of them", total(bad, "started"), "==", 0),
        TortureFigure("good ones", len(good), ">=", 1),
        TortureFigure("good ones that were not submitted", len(good) - total(good, "submitted"), "==", 0),
        TortureFigure("good ones that were not started once approved", len(good) - total(good, "carried_on"), "==", 0),
        TortureFigure("good ones that started by the approval of before", total(good, "started"), ">=", 1),
    ]


ROWS = (TortureRow("qa_first", "A7", n=len(COMBINATIONS), slice=18, trials=_qa_first, figures=_figures),)
