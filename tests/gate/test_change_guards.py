"""Before a change of a key is written: each thing that must be as approved, without a row or a call."""

import json
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backups import policy
from backups.changes import (
    before_write,
    evidence as change_evidence,
    proposal as proposals,
    requests as change_requests,
)
from backups.changes.moves import ChangeRefused
from backups.changes.proposal import Proposal, ProposalRefused
from backups.execution import presence
from backups.generations import encryption
from backups.generations.export import entry_digest
from backups.models import Generation, GenerationEntry, KeyChange
from kvops.approvals import evidence, gate as approval_gate
from kvops.cloudflare import KvEntry
from kvops.models import ApprovalRequest, Environment, Namespace, Run
from kvops.runs import emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import RunError, Stopped

BACKUP = {"id": 7, "manifest_sha256": "2" * 64}
SHOWN: dict[str, object] = {
    "account_id": "a" * 32,
    "namespace_id": "b" * 32,
    "namespace_title": "SETTINGS",
    "prefix": "mail:smtp",
    "proposal": {"object": "proposals/qa/x", "sha256": "1" * 64},
    "generation": BACKUP,
    "policy": {"digest": "3" * 64},
}
NOT_CARRIED = "The run does not carry the change's approval."
NOT_STARTED = "The run is not the one that was started with the approval."
OTHER = "The proposal is another object than the approved one."
OTHER_BACKUP = "The backup of the old value is another one than the approved one."
STALE = "The change differs from the approved one. Nothing is written: end it here and prepare it again."
NOTHING = "Nothing more is written."


def change_of(shown: dict[str, object] = SHOWN, **values: Any) -> KeyChange:
    """A change that is written, without rows."""
    environment = Environment(pk=1, account_id="a" * 32)
    found = KeyChange(
        pk=5,
        environment=environment,
        namespace=Namespace(pk=2, environment=environment, namespace_id="b" * 32, title="SETTINGS"),
        name="mail:smtp",
        object_key="proposals/qa/x",
        object_sha256="1" * 64,
        generation=Generation(pk=7, manifest_sha256="2" * 64),
        approval=ApprovalRequest(pk=3, digest="d" * 64, starter_id=9, evidence=json.dumps(shown)),
    )
    for name, value in values.items():
        setattr(found, name, value)
    return found


def lease_of(**values: object) -> Lease:
    """The run that was started with the approval of the change."""
    carried = {"approval_id": 3, "approval_digest": "d" * 64, "started_by_id": 9, "subject": "keychange:5"}
    return cast("Lease", SimpleNamespace(run=Run(**cast("Any", {**carried, **values}))))


def refused(act: Callable[..., object], *given: object) -> tuple[str, str]:
    """The code and the sentence with which it was refused."""
    with pytest.raises(RunError) as error:
        act(*given)
    return error.value.code, str(error.value)


def test_the_run_target_proposal_and_backup_that_were_approved_are_let_through() -> None:
    before_write.insist_target(change_of(), lease_of())
    before_write.insist_target(change_of({**SHOWN, "generation": None}, generation=None), lease_of())


RUNS: list[tuple[dict[str, object], str]] = [
    ({"approval_id": 4}, NOT_CARRIED),
    ({"approval_digest": "e" * 64}, NOT_CARRIED),
    ({"subject": "keychange:6"}, NOT_STARTED),
    ({"started_by_id": 10}, NOT_STARTED),
]


@pytest.mark.parametrize(("values", "sentence"), RUNS)
def test_another_run_writes_nothing(values: dict[str, object], sentence: str) -> None:
    assert refused(before_write.insist_target, change_of(), lease_of(**values)) == ("not_approved", sentence)


def test_a_run_of_an_approval_that_the_change_lost_writes_nothing() -> None:
    for lease in (lease_of(), lease_of(approval_id=None, approval_digest="")):
        assert refused(before_write.insist_target, change_of(approval=None), lease) == ("not_approved", NOT_CARRIED)


def like(number: int, sha256: str) -> Generation:
    return Generation(pk=number, manifest_sha256=sha256 * 64)


TARGETS: dict[str, tuple[Callable[[KeyChange], object], str, str]] = {
    "account": (lambda one: setattr(one.environment, "account_id", "c"), "wrong_target", "account_id is c now"),
    "namespace": (lambda one: setattr(one.namespace, "namespace_id", "c"), "wrong_target", "namespace_id is c now"),
    "title": (lambda one: setattr(one.namespace, "title", "c"), "wrong_target", "namespace_title is c now"),
    "key": (lambda one: setattr(one, "name", "c"), "wrong_target", "prefix is c now"),
    "object": (lambda one: setattr(one, "object_key", "c"), "wrong_proposal", OTHER),
    "content": (lambda one: setattr(one, "object_sha256", "9" * 64), "wrong_proposal", OTHER),
    "backup": (lambda one: setattr(one, "generation", like(8, "2")), "wrong_backup", OTHER_BACKUP),
    "manifest": (lambda one: setattr(one, "generation", like(7, "9")), "wrong_backup", OTHER_BACKUP),
    "no backup": (lambda one: setattr(one, "generation", None), "wrong_backup", OTHER_BACKUP),
}


@pytest.mark.parametrize("what", TARGETS)
def test_another_target_proposal_or_backup_is_written_nothing(what: str) -> None:
    change, (break_, code, sentence) = change_of(), TARGETS[what]
    break_(change)
    found = refused(before_write.insist_target, change, lease_of())
    assert (found[0], found[1].startswith(sentence)) == (code, True)


def test_a_backup_that_nobody_was_shown_is_another_one() -> None:
    change = change_of({**SHOWN, "generation": None})
    assert refused(before_write.insist_target, change, lease_of()) == ("wrong_backup", OTHER_BACKUP)


# The evidence and the backup


def test_the_evidence_is_derived_again_and_then_the_backup_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    change, lease, asked = change_of(), lease_of(), list[object]()
    monkeypatch.setattr(change_evidence, "build", lambda of: {"of": of.pk})
    monkeypatch.setattr(presence, "insist_in_place", lambda *given: asked.append(given))
    assert refused(before_write.insist_as_approved, change, lease) == ("stale", STALE)
    assert change.approval
    assert asked == []
    change.approval.digest = evidence.digest_of(evidence.canonical_evidence({"of": 5}))
    before_write.insist_as_approved(change, lease)
    assert asked == [(change.generation, lease, NOTHING)]
    change.generation = None
    before_write.insist_as_approved(change, lease)
    assert len(asked) == 1
    change.approval = None
    assert refused(before_write.insist_as_approved, change, lease) == ("stale", STALE)


def test_a_backup_that_was_verified_long_ago_is_verified_again(monkeypatch: pytest.MonkeyPatch) -> None:
    change, lease, answers, asked = change_of(), lease_of(), [True, False], list[object]()

    def verify(*given: object) -> bool:
        asked.append(given)
        return answers.pop(0)

    monkeypatch.setattr(presence, "verify_if_needed", verify)
    assert [before_write.backup_verified(change, lease) for _ in range(2)] == [True, False]
    assert asked == [(change.generation, lease, NOTHING)] * 2
    assert before_write.backup_verified(change_of(generation=None), lease)


def test_the_proposal_is_the_approved_object(monkeypatch: pytest.MonkeyPatch) -> None:
    change, store, answers = change_of(), cast("Any", object()), list[Any]()

    def opened(*given: object) -> object:
        assert given == (change, store, ["identity"])
        if isinstance(answers[0], Exception):
            raise answers[0]
        return answers[0]

    monkeypatch.setattr(encryption, "identities", lambda: ["identity"])
    monkeypatch.setattr(proposals, "opened", opened)
    answers.append("proposal")
    assert before_write.proposal_of(change, store) == cast("Any", "proposal")
    answers[0] = ProposalRefused("another object")
    assert refused(before_write.proposal_of, change, store) == ("wrong_proposal", "another object")


OLD = KvEntry("mail:smtp", b"old", None, '{"v":1}')
KEY = b"k" * 32
NOT_HELD = (
    "Backup 7 does not hold the old value that the change was made from. Nothing more is written. End the change "
    "here and prepare it again."
)


def test_the_backup_holds_the_old_value_of_the_proposal(monkeypatch: pytest.MonkeyPatch) -> None:
    change, kept = change_of(), [GenerationEntry(digest=entry_digest(OLD, KEY))]

    def filtered(**of: object) -> SimpleNamespace:
        assert of == {"generation": change.generation, "name": "mail:smtp", "outcome": "kept"}
        return SimpleNamespace(first=lambda: kept[0] if kept else None)

    monkeypatch.setattr(GenerationEntry, "objects", SimpleNamespace(filter=filtered))
    monkeypatch.setattr(encryption, "digest_key", lambda backup: KEY if backup is change.generation else None)
    proposal = cast("Proposal", SimpleNamespace(old=OLD))
    before_write.insist_backed_up(change, proposal)
    other = cast("Proposal", SimpleNamespace(old=KvEntry("mail:smtp", b"other", None, '{"v":1}')))
    assert refused(before_write.insist_backed_up, change, other) == ("wrong_backup", NOT_HELD)
    kept[0].digest = None
    assert refused(before_write.insist_backed_up, change, proposal) == ("wrong_backup", NOT_HELD)
    kept.clear()
    assert refused(before_write.insist_backed_up, change, proposal) == ("wrong_backup", NOT_HELD)
    before_write.insist_backed_up(change, cast("Proposal", SimpleNamespace(old=None)))
    before_write.insist_backed_up(change_of(generation=None), proposal)


# Rights and policy


def test_roles_stop_and_backup_are_looked_at_before_each_write(monkeypatch: pytest.MonkeyPatch) -> None:
    change, broken, stopped = change_of(), list[str](), list[Environment]()

    def still_valid(approval: object) -> None:
        assert approval is change.approval
        if "rights" in broken:
            raise approval_gate.ApprovalRefused("no right")

    def insist_prepared(of: object) -> None:
        assert of is change
        if "backup" in broken:
            raise ChangeRefused("no backup")

    def insist_none(environment: Environment) -> None:
        if environment in stopped:
            raise Stopped(emergency.CODE, "stopped")

    monkeypatch.setattr(approval_gate, "still_valid", still_valid)
    monkeypatch.setattr(change_requests, "insist_prepared", insist_prepared)
    monkeypatch.setattr(emergency, "insist_none", insist_none)
    before_write.insist_rights(change)
    broken.append("backup")
    assert refused(before_write.insist_rights, change) == ("backup_damaged", "no backup")
    broken.append("rights")
    assert refused(before_write.insist_rights, change) == ("rights_gone", "no right")
    stopped.append(change.environment)
    with pytest.raises(Stopped):
        before_write.insist_rights(change)
    assert refused(before_write.insist_rights, change_of(approval=None)) == ("not_approved", NOT_CARRIED)


def test_the_policy_in_force_is_the_one_that_was_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    in_force = {"digest": "3" * 64}
    monkeypatch.setattr(policy, "shown", lambda: in_force)
    before_write.insist_in_force(change_of())
    in_force["digest"] = "4" * 64
    assert refused(before_write.insist_in_force, change_of()) == ("stale", STALE)
    with pytest.raises(KeyError, match="policy"):
        before_write.insist_in_force(change_of(approval=None))

    def edited() -> None:
        raise policy.PolicyEdited("somebody edited it")

    monkeypatch.setattr(policy, "shown", edited)
    assert refused(before_write.insist_in_force, change_of()) == ("stale", "somebody edited it")
