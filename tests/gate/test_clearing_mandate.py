"""The mandate of a scheduled round, check by check, without a row: which deletion a standing approval lets through."""

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backups.cleanup.stages import CleanupRefused
from backups.clearing import conditions, mandate, rules
from backups.clearing.mandate import StandingMandate
from backups.clearing.rules import ClearingRefused
from backups.models import CleanupStage, Clearing
from kvops.approvals import standing
from kvops.approvals.gate import ApprovalRefused
from kvops.models import ApprovalRequest, Environment
from kvops.references import look as code_look
from kvops.runs.outcomes import RunError

NOT_CARRIED = "The run does not carry the standing approval of the rule."
TARGET = {"account_id": "a" * 32, "namespace_id": "b" * 32}


@pytest.fixture(autouse=True)
def target(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """The target of the rule as it is now."""
    found = dict(TARGET)
    monkeypatch.setattr(code_look, "ask_when_due", lambda *_asked: True)
    monkeypatch.setattr(rules, "target", lambda clearing: found if clearing.pk == 4 else {})
    return found


def mandate_of() -> StandingMandate:
    return StandingMandate(Clearing(pk=4))


def stage_of(**values: Any) -> CleanupStage:
    """A stage of the rule that is deleting, without rows."""
    subject, shown = Clearing(pk=4).subject, json.dumps({**TARGET, "cap": 1_000})
    approval = ApprovalRequest(pk=3, digest="d" * 64, kind=rules.KIND, subject=subject, evidence=shown)
    found = CleanupStage(pk=8, environment=Environment(pk=1), state="deleting", names=1_000, approval=approval)
    for name, value in values.items():
        setattr(found, name, value)
    return found


def lease_of(**values: Any) -> Any:
    run = {"approval_id": 3, "approval_digest": "d" * 64, "subject": Clearing(pk=4).subject, "environment_id": 1}
    return SimpleNamespace(run=SimpleNamespace(**{**run, **values}), renew=lambda: None)


def refused(stage: CleanupStage, lease: Any) -> tuple[str, str]:
    with pytest.raises(RunError) as error:
        mandate_of().insist_target(stage, lease)
    return error.value.code, str(error.value)


def test_the_deletion_of_the_approved_rule_is_let_through() -> None:
    mandate_of().insist_target(stage_of(), lease_of())


@pytest.mark.parametrize("values", [{"approval_id": 4}, {"approval_digest": "e"}, {"environment_id": 2}])
def test_another_run_deletes_nothing(values: dict[str, object]) -> None:
    assert refused(stage_of(), lease_of(**values)) == ("not_approved", NOT_CARRIED)


def test_the_run_of_another_rule_deletes_nothing() -> None:
    sentence = "The run is not the one that was started with the approval."
    assert refused(stage_of(), lease_of(subject="clearing:5")) == ("not_approved", sentence)


def test_another_approval_or_state_of_the_stage_deletes_nothing() -> None:
    kind, subject = stage_of(), stage_of()
    assert kind.approval
    assert subject.approval
    kind.approval.kind, subject.approval.subject = "delete_keys", "clearing:5"
    for stage in (kind, subject, stage_of(state="deleted"), stage_of(environment=Environment(pk=2))):
        assert refused(stage, lease_of()) == ("not_approved", NOT_CARRIED)
    for lease in (lease_of(), lease_of(approval_id=None, approval_digest="")):
        assert refused(stage_of(approval=None), lease) == ("not_approved", NOT_CARRIED)


def test_another_target_or_more_keys_than_the_cap_are_not_deleted(target: dict[str, str]) -> None:
    over = "The rule takes at least 1,001 keys, more than its cap of 1,000. Nothing was deleted."
    assert refused(stage_of(names=1_001), lease_of()) == ("over_cap", over)
    target["namespace_id"] = "c"
    code, sentence = refused(stage_of(), lease_of())
    assert (code, sentence.startswith("namespace_id is c now, not bbb")) == ("wrong_target", True)


# The conditions


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was checked; a condition in `broken` refuses."""
    found: list[object] = []

    def check(name: str) -> Any:
        def insist(*given: object) -> None:
            found.append((name, *given))
            if name in broken:
                raise broken[name]

        return insist

    broken: dict[str, Exception] = {}
    monkeypatch.setattr(mandate, "insist_names", check("names"))
    monkeypatch.setattr(conditions, "insist_rule", check("rule"))
    monkeypatch.setattr(conditions, "insist_approved", check("approved"))
    monkeypatch.setattr(standing, "insist_standing", check("standing"))
    found.append(broken)
    return found


def test_the_names_and_every_condition_are_checked(asked: list[object]) -> None:
    mine, stage, broken, renewed = mandate_of(), stage_of(), cast("dict[str, Exception]", asked.pop()), list[int]()
    lease = SimpleNamespace(renew=lambda: renewed.append(1), keep=None)
    mine.insist_as_approved(stage, cast("Any", lease))
    every = [("names", stage), ("rule", mine.clearing), ("approved", mine.clearing, stage.approval)]
    assert (asked, renewed) == (every, [1])
    asked.clear()
    mine.insist_in_force(stage)
    assert asked == every[1:]
    for name, error, code in (
        ("approved", ClearingRefused("no"), "stale"), ("rule", ClearingRefused("no"), "stale"),
        ("names", CleanupRefused("no"), "wrong_set"),
    ):  # fmt: skip
        broken[name] = error
        with pytest.raises(RunError, match=r"^no$") as refusal:
            mine.insist_as_approved(stage, cast("Any", lease))
        assert refusal.value.code == code
    broken.clear()
    with pytest.raises(RunError, match=r"^The rule is not approved\. Ask for its approval\.$") as refusal:
        mine.insist_in_force(stage_of(approval=None))
    assert refusal.value.code == "stale"


def test_the_rights_are_checked_before_a_chunk_and_in_its_intent(
    asked: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, approval, broken = mandate_of(), ApprovalRequest(pk=3), cast("dict[str, Exception]", asked.pop())

    def locked(*, of: tuple[str], no_key: bool) -> SimpleNamespace:
        return SimpleNamespace(get=lambda pk: asked.append(("locked", pk, of, no_key)))

    monkeypatch.setattr(ApprovalRequest, "objects", SimpleNamespace(select_for_update=locked))
    mine.insist_rights(approval)
    mine.hold(approval)
    assert asked == [("standing", approval), ("locked", 3, ("self",), True), ("standing", approval)]
    broken["standing"] = ApprovalRefused("withdrawn")
    for check in (mine.insist_rights, mine.hold):
        with pytest.raises(ApprovalRefused):
            check(approval)
    assert mine.is_careful(stage_of()) is False
