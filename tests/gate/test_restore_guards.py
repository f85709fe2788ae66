"""Before a restore is written: each thing that must be as approved, and which keys a chunk may write."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backups import policy
from backups.cleanup import stages
from backups.models import CleanupStage, Generation, Restore
from backups.restores import before_write
from backups.restores.moves import RestoreRefused
from kvops.approvals import evidence
from kvops.models import ApprovalRequest, Environment, Namespace, Run
from kvops.runs.lease import Lease
from kvops.runs.outcomes import RunError

SHOWN = {
    "account_id": "a" * 32,
    "namespace_id": "b" * 32,
    "namespace_title": "SETTINGS",
    "names": {"sha256": "1" * 64},
    "generation": {"id": 7, "manifest_sha256": "2" * 64},
    "policy": {"digest": "3" * 64},
}
NOT_CARRIED = "The run does not carry the restore's approval."
NOT_STARTED = "The run is not the one that was started with the approval."
OTHER_SET = "The list of keys or the backup differs from the approved one."
STALE = (
    "The keys to restore differ from the approved ones. Nothing more is written: end the restore early and prepare it "
    "again."
)


def restore_of(**values: Any) -> Restore:
    """A restore that is written, without rows."""
    environment = Environment(pk=1, account_id="a" * 32)
    found = Restore(
        pk=5,
        environment=environment,
        namespace=Namespace(pk=2, environment=environment, namespace_id="b" * 32, title="SETTINGS"),
        generation=Generation(pk=7, manifest_sha256="2" * 64),
        approval=ApprovalRequest(pk=3, digest="d" * 64, starter_id=9, evidence=json.dumps(SHOWN)),
        names_sha256="1" * 64,
    )
    for name, value in values.items():
        setattr(found, name, value)
    return found


def undo_of(**values: Any) -> Restore:
    """The undo of stage 8, under the approval of its deletion, which somebody else may have started."""
    return restore_of(stage=CleanupStage(pk=8, names_sha256="1" * 64), names_sha256="4" * 64, **values)


def lease_of(restore: Restore, **values: object) -> Lease:
    """The run that was started with the approval of the restore."""
    carried: dict[str, Any] = {"approval_id": 3, "approval_digest": "d" * 64, "started_by_id": 9}
    subject = "stage:8" if restore.stage_id else "bulkchange:5" if restore.operation else "restore:5"
    return cast("Lease", SimpleNamespace(run=Run(**carried | {"subject": subject} | values)))


def refused(act: Callable[[], object]) -> tuple[str, str]:
    """The code and the sentence with which it was refused."""
    with pytest.raises(RunError) as error:
        act()
    return error.value.code, str(error.value)


def test_the_run_and_the_target_that_were_approved_are_let_through() -> None:
    for restore in (restore_of(), restore_of(operation="mark"), undo_of()):
        before_write.insist_target(restore, lease_of(restore))
    before_write.insist_target(undo_of(), lease_of(undo_of(), started_by_id=10))


RUNS: list[tuple[dict[str, object], str]] = [
    ({"approval_id": 4}, NOT_CARRIED),
    ({"approval_digest": "e" * 64}, NOT_CARRIED),
    ({"approval_id": None}, NOT_CARRIED),
    ({"subject": "restore:6"}, NOT_STARTED),
    ({"started_by_id": 10}, NOT_STARTED),
]


@pytest.mark.parametrize(("values", "sentence"), RUNS)
def test_another_run_writes_nothing(values: dict[str, object], sentence: str) -> None:
    lease = lease_of(restore_of(), **values)
    assert refused(lambda: before_write.insist_target(restore_of(), lease)) == ("not_approved", sentence)


def test_a_run_of_an_approval_that_the_restore_lost_writes_nothing() -> None:
    lease = lease_of(restore_of())
    mine = restore_of(approval=None)
    assert refused(lambda: before_write.insist_target(mine, lease)) == ("not_approved", NOT_CARRIED)
    lease = lease_of(restore_of(), approval_id=None, approval_digest="")
    assert refused(lambda: before_write.insist_target(mine, lease)) == ("not_approved", NOT_CARRIED)


def test_the_run_of_a_restore_a_bulk_change_or_another_stage_is_not_that_of_an_undo() -> None:
    for subject in ("restore:5", "stage:5", "bulkchange:5"):
        lease = lease_of(undo_of(), subject=subject)
        assert refused(lambda lease=lease: before_write.insist_target(undo_of(), lease)) == (  # type: ignore[misc]
            "not_approved", NOT_STARTED,
        )  # fmt: skip


TARGETS: dict[str, tuple[Callable[[Restore], object], str]] = {
    "account": (lambda one: setattr(one.environment, "account_id", "c"), f"account_id is c now, not {'a' * 32} as"),
    "namespace": (lambda one: setattr(one.namespace, "namespace_id", "c"), f"namespace_id is c now, not {'b' * 32} as"),
    "title": (lambda one: setattr(one.namespace, "title", "c"), "namespace_title is c now, not SETTINGS as"),
    "names": (lambda one: setattr(one, "names_sha256", "9" * 64), OTHER_SET),
    "backup": (lambda one: setattr(one, "generation", Generation(pk=8, manifest_sha256="2" * 64)), OTHER_SET),
    "manifest": (lambda one: setattr(one.generation, "manifest_sha256", "9" * 64), OTHER_SET),
}


@pytest.mark.parametrize("what", TARGETS)
def test_another_target_is_written_nothing(what: str) -> None:
    restore, (break_, sentence) = restore_of(), TARGETS[what]
    break_(restore)
    code, said = refused(lambda: before_write.insist_target(restore, lease_of(restore)))
    assert code == ("wrong_set" if sentence == OTHER_SET else "wrong_target")
    assert said.startswith(sentence)


def test_the_names_of_an_undo_are_those_of_its_deletion() -> None:
    restore = undo_of()
    assert restore.stage
    restore.stage.names_sha256 = "9" * 64
    assert refused(lambda: before_write.insist_target(restore, lease_of(restore))) == ("wrong_set", OTHER_SET)


# The evidence


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The rows whose list of names was looked at; those that are no row refuse."""
    found: list[object] = []
    monkeypatch.setattr(before_write, "insist_names", found.append)
    monkeypatch.setattr(stages, "insist_names", found.append)
    return found


def derived(restore: Restore) -> dict[str, object]:
    return {"of": restore.pk}


def test_the_evidence_is_derived_again(looked: list[object]) -> None:
    restore = restore_of()
    assert restore.approval
    restore.approval.digest = evidence.digest_of(evidence.canonical_evidence({"of": 5}))
    before_write.insist_as_approved(restore, derived)
    assert looked == [restore]
    restore.approval.digest = "e" * 64
    assert refused(lambda: before_write.insist_as_approved(restore, derived)) == ("stale", STALE)
    assert refused(lambda: before_write.insist_as_approved(restore, derived, "other"))[1] == "other"
    restore.approval = None
    assert refused(lambda: before_write.insist_as_approved(restore, derived)) == ("stale", STALE)


def test_an_undo_needs_the_names_of_both_and_no_evidence_of_its_own(looked: list[object]) -> None:
    restore = undo_of()
    before_write.insist_as_approved(restore, lambda _: pytest.fail("derived"))
    assert looked == [restore, restore.stage]


@pytest.mark.parametrize("error", [RestoreRefused("not the names"), stages.CleanupRefused("not the names")])
def test_names_that_were_tampered_with_stop_it(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def refuse(_: object) -> None:
        raise error

    monkeypatch.setattr(before_write, "insist_names", refuse)
    assert refused(lambda: before_write.insist_as_approved(undo_of())) == ("wrong_set", "not the names")


# The policy


def test_the_policy_in_force_is_the_one_that_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    in_force = {"digest": "3" * 64}
    monkeypatch.setattr(policy, "shown", lambda: in_force)
    before_write.insist_in_force(restore_of())
    in_force["digest"] = "4" * 64
    assert refused(lambda: before_write.insist_in_force(restore_of())) == ("stale", STALE)
    assert refused(lambda: before_write.insist_in_force(restore_of(), "other")) == ("stale", "other")
    with pytest.raises(KeyError):
        before_write.insist_in_force(restore_of(approval=None))
    before_write.insist_in_force(undo_of())


def test_an_edited_policy_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def edited() -> None:
        raise policy.PolicyEdited("somebody edited it")

    monkeypatch.setattr(policy, "shown", edited)
    assert refused(lambda: before_write.insist_in_force(restore_of())) == ("stale", "somebody edited it")
