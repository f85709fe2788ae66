"""Rows that are newer in D1: the one difference that a reviewer may accept. Every fact behind it is derived again."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models.functions import Now

from backups import archive
from backups.cleanup import evidence as cleanup_evidence, preparation, requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused
from backups.deletion import mandate
from backups.integrity.newer import rows as newer_rows
from backups.models import Check, CleanupRequest, CleanupStage, Difference, DifferenceCase, Generation
from kvops.approvals import gate as approval_gate
from kvops.approvals.gate import ApprovalRefused
from kvops.models import ApprovalRequest
from kvops.runs.outcomes import RunError
from tests.gate import world as gate
from tests.gate.executing import Kv, deletion_of
from tests.gate.test_after_check import masters
from tests.gate.world import GateWorld
from tests.prepared import Prepared

pytestmark = pytest.mark.django_db
State = CleanupStage.State
AT = datetime(2025, 10, 1, tzinfo=UTC)
ROWS = ("master:a:1", "master:a:2")


def failed(generation: Generation, *names: str, at: datetime | None = AT, **result: object) -> Check:
    """A check that found these rows, all newer in D1."""
    figures = {"outcome": "failed", "differences": len(names), "newer": len(names)}
    check = gate._check(generation, **{**figures, **result})
    for name in names:
        Difference.objects.create(check_run=check, name=name, kind="field", field="name", newer_at=at)
    return check


def checked(world: GateWorld, request: CleanupRequest) -> CleanupStage:
    """QA, whose two rows were found, explained and exported, and found again."""
    stage = gate.verified(request)
    assert stage.generation is not None
    first = failed(stage.generation, *ROWS)
    DifferenceCase.objects.create(
        environment=stage.environment, dataset=first.dataset, source="kv", failed=first, owner=world.people.operator,
        opened_by=world.people.operator, due=AT.date(), outcome="accepted", reason="edited in the new application",
        closed_by=world.people.operator, closed_at=Now(),
    )  # fmt: skip
    masters(stage.environment, source="d1", started_at=Now())
    return gate.go(stage, State.CHECKED, check_passed=failed(stage.generation, *ROWS))


@pytest.fixture
def approved(prepared: Prepared, world: GateWorld, request_: CleanupRequest) -> CleanupStage:
    """Submitted, and accepted by name."""
    return prepared.step("newer approved", lambda: _approved(world, request_))


def _approved(world: GateWorld, request: CleanupRequest) -> CleanupStage:
    cleanup_requests.submit(checked(world, request), by=world.people.operator)
    asked = gate.approval_of(gate.stage_of(request))
    approval_gate.approve(asked, by=world.people.reviewer, shown=asked.digest, accepted=["d1_newer"])
    return gate.stage_of(request)


def mine(stage: CleanupStage) -> tuple[CleanupStage, Check, ApprovalRequest]:
    """The stage as it is now, with what the reviewer accepted."""
    found = gate.stage_of(stage.request)
    assert found.check_passed
    assert found.approval
    return found, found.check_passed, found.approval


def test_the_evidence_names_the_rows_the_cause_and_the_export(approved: CleanupStage) -> None:
    stage, check, approval = mine(approved)
    shown = json.loads(approval.evidence)
    assert (shown["risks"], approval.accepted) == (["d1_newer"], ["d1_newer"])
    export = Generation.objects.get(purpose="masters")
    first = [
        {"id": one.pk, "name": one.name, "row": "", "fields": ["name"], "at": "2025-10-01T00:00:00+00:00"}
        for one in check.found.order_by("name")
    ]
    assert shown["check"]["newer"] == {
        "rows": 2, "sha256": newer_rows.digest_of(check), "only_newer": True, "moved": {"at": ""},
        "cause": "edited in the new application", "by": "Operator <operator@example.com>",
        "case": DifferenceCase.objects.get().pk, "export": export.pk, "export_manifest": "5" * 64, "first": first,
    }  # fmt: skip
    assert cleanup_evidence.evidence_digest(stage) == approval.digest


def test_it_is_not_approved_without_the_name_of_the_risk(world: GateWorld, request_: CleanupRequest) -> None:
    cleanup_requests.submit(checked(world, request_), by=world.people.operator)
    with pytest.raises(ApprovalRefused, match="names risks"):
        gate.approve(world, gate.approval_of(gate.stage_of(request_)))


def other_row(check: Check) -> None:
    gate.tampered(check.found.earliest("pk"), name="master:b:1")


def other_place(check: Check) -> None:
    check.found.filter(name=ROWS[0]).update(row="7")


def not_newer(check: Check) -> None:
    gate.tampered(check.found.earliest("pk"), newer_at=None)


def one_less(check: Check) -> None:
    check.found.earliest("pk").delete()


def one_more(check: Check) -> None:
    Difference.objects.create(check_run=check, name="master:b:1", kind="field", field="name", newer_at=AT)


def another_difference(check: Check) -> None:
    gate.tampered(check, differences=3)


def other_cause(_check: Check) -> None:
    gate.tampered(DifferenceCase.objects.get(), reason="another cause")


def no_cause(_check: Check) -> None:
    gate.tampered(DifferenceCase.objects.get(), outcome="d1")


def other_person(_check: Check) -> None:
    case = DifferenceCase.objects.get()
    gate.tampered(case, closed_by=ApprovalRequest.objects.latest("pk").approver)


def damaged_export(_check: Check) -> None:
    gate.tampered(Generation.objects.get(purpose="masters"), status="damaged")


def export_of_the_api(_check: Check) -> None:
    gate.tampered(Generation.objects.get(purpose="masters"), source="api:https://example.com")


def other_export(_check: Check) -> None:
    gate.tampered(Generation.objects.get(purpose="masters"), manifest_sha256="6" * 64)


def earlier_export(_check: Check) -> None:
    gate.tampered(Generation.objects.get(purpose="masters"), started_at=AT)


def never_seen_before(check: Check) -> None:
    Difference.objects.filter(check_run__lt=check.pk).delete()


SPOILT: list[Callable[[Check], None]] = [
    other_row, other_place, not_newer, one_less, one_more, another_difference, other_cause, no_cause, other_person,
    damaged_export, export_of_the_api, other_export, earlier_export, never_seen_before,
]  # fmt: skip


@pytest.mark.parametrize("spoil", SPOILT)
def test_nothing_begins_once_a_fact_is_another(
    world: GateWorld, approved: CleanupStage, spoil: Callable[[Check], None]
) -> None:
    spoil(mine(approved)[1])
    with pytest.raises(CleanupRefused, match="Prepare the stage again"):
        cleanup_requests.start_deletion(approved, by=world.people.operator)
    assert gate.stage_of(approved.request).state == State.FROZEN


@pytest.mark.parametrize("spoil", SPOILT)
def test_nothing_more_is_sent_once_a_fact_is_another(
    world: GateWorld, approved: CleanupStage, spoil: Callable[[Check], None]
) -> None:
    cleanup_requests.start_deletion(approved, by=world.people.operator)
    stage, check, _approval = mine(approved)
    spoil(check)
    with pytest.raises(RunError, match="Nothing more is sent"):
        mandate.insist_as_approved(stage, gate.lease_of(stage))


@pytest.mark.parametrize("spoil", [not_newer, no_cause, damaged_export, earlier_export, never_seen_before])
def test_nothing_is_submitted_without_its_grounds(
    world: GateWorld, request_: CleanupRequest, spoil: Callable[[Check], None]
) -> None:
    stage = checked(world, request_)
    spoil(mine_check(stage))
    with pytest.raises(CleanupRefused, match="differences that nobody may accept"):
        cleanup_requests.submit(stage, by=world.people.operator)


def mine_check(stage: CleanupStage) -> Check:
    assert stage.check_passed is not None
    return stage.check_passed


AGAIN: dict[str, tuple[Callable[[Generation], Check], bool]] = {
    "the same rows": (lambda of: failed(of, *ROWS), True),
    "fewer rows": (lambda of: failed(of, *ROWS[:1]), True),
    "no difference": (gate._check, True),
    "one more newer row": (lambda of: failed(of, *ROWS, "master:b:1"), False),
    "another newer row": (lambda of: failed(of, "master:b:1"), False),
    "rows that are not newer": (lambda of: failed(of, *ROWS, at=None), False),
    "another difference beside": (lambda of: failed(of, *ROWS, differences=3), False),
    "differences without names": (lambda of: failed(of, *ROWS, differences=3, newer=3), False),
    "another rule": (lambda of: failed(of, *ROWS, definition_digest="0" * 64), False),
    "no result": (lambda of: failed(of, *ROWS, outcome="pending", finished_at=None), False),
}


@pytest.mark.parametrize("what", AGAIN)
def test_the_last_check_accepts_what_the_reviewer_accepted(
    world: GateWorld, approved: CleanupStage, kv: Kv, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    cleanup_requests.start_deletion(approved, by=world.people.operator)
    stage, _check, _approval = mine(approved)
    deletion = deletion_of(stage, gate.lease_of(stage), kv)
    found, fits = AGAIN[what][0](deletion.generation), AGAIN[what][1]
    monkeypatch.setattr("backups.integrity.start.recheck", lambda *_: found)
    if fits:
        deletion.begin()
        assert deletion.lease.run.cursor["phase"] == "delete"
        return
    with pytest.raises(RunError) as refused:
        deletion.begin()
    assert refused.value.code == "differences"


def test_rows_that_were_not_accepted_by_name_stay_a_difference(approved: CleanupStage) -> None:
    _stage, check, approval = mine(approved)
    assert newer_rows.accepted_by(approval, check) == check
    assert newer_rows.accepted_by(None, check) is None
    assert newer_rows.accepted_by(approval, None) is None
    unnamed: Any = SimpleNamespace(accepted=[], evidence=approval.evidence)
    assert newer_rows.accepted_by(unnamed, check) is None
    assert check.generation is not None
    assert newer_rows.accepted_by(approval, failed(check.generation, *ROWS)) is None  # not the check that was shown
    one_less(check)
    assert newer_rows.accepted_by(approval, check) is None


def test_a_check_that_is_not_of_a_backup_has_no_grounds(approved: CleanupStage) -> None:
    _stage, check, _approval = mine(approved)
    assert newer_rows.grounds_of(check) is not None
    check.generation_id = None
    assert newer_rows.grounds_of(check) is None
    assert newer_rows.stated_cause(check, None) is None
    assert newer_rows.stated_cause(check, datetime.now(UTC) + timedelta(days=1)) is None


def other_left_out(stage: CleanupStage) -> None:
    gate.tampered(stage, left_out=["master:c:9"])


def none_left_out(stage: CleanupStage) -> None:
    gate.tampered(stage, left_out=[])


@pytest.mark.parametrize("spoil", [other_left_out, none_left_out])
def test_the_keys_that_are_left_out_are_a_part_of_the_approval(
    world: GateWorld, request_: CleanupRequest, spoil: Callable[[CleanupStage], None]
) -> None:
    stage = gate.checked(request_)
    gate.tampered(stage, left_out=["master:c:1"])
    cleanup_requests.submit(stage, by=world.people.operator)
    asked = gate.approval_of(stage)
    shown = {"count": 1, "sha256": archive.names_sha256(["master:c:1"]), "sample": ["master:c:1"]}
    assert json.loads(asked.evidence)["left_out"] == shown
    gate.approve(world, asked)
    spoil(stage)
    with pytest.raises(CleanupRefused, match="Prepare the stage again"):
        cleanup_requests.start_deletion(stage, by=world.people.operator)


DIFFER: dict[str, tuple[dict[str, datetime | None], int, str | list[str]]] = {
    "one other": ({"master:a:1": None, "master:a:2": AT}, 2, ["master:a:1"]),
    "only newer ones": ({"master:a:1": AT, "master:a:2": AT}, 2, ["master:a:1", "master:a:2"]),
    "a newer row without a key": ({"master:a:1": AT, "master:x:1": AT}, 2, ["master:a:1"]),
    "another row without a key": ({"master:a:1": None, "master:x:1": None}, 2, "no key can be left out for it"),
    "only newer rows without a key": ({"master:x:1": AT}, 1, "have no key that could be left out"),
    "every key": (dict.fromkeys(gate.NAMES), 3, "Every key differs"),
    "not all by name": ({"master:a:1": None}, 2, "known by name: 1 of 2"),
}


@pytest.mark.parametrize("what", DIFFER)
def test_which_keys_would_be_left_out(request_: CleanupRequest, what: str) -> None:
    found, differences, told = DIFFER[what]
    stage = gate.verified(request_)
    assert stage.generation is not None
    check = failed(stage.generation, differences=differences)
    for name, at in found.items():
        Difference.objects.create(check_run=check, name=name, kind="field", field="name", newer_at=at)
    result = preparation.differing(stage, check)
    if isinstance(told, str):
        assert told in result.why_not
    else:
        assert (result.keys, result.why_not) == (told, "")
