"""Before a change is written: each thing that must be as approved, one by one, with the code and the reason."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from backups.bucket import access as bucket_access
from backups.changes import before_write
from backups.execution import presence
from backups.generations import encryption
from backups.models import Generation, GenerationEntry, KeyChange
from kvops.approvals.gate import ApprovalRefused
from kvops.models import Family, Role
from kvops.runs import emergency, lease as run_lease
from kvops.runs.lease import Lease
from kvops.runs.outcomes import RunError, Stopped
from tests import make
from tests.backups.changes import helpers as change_helpers
from tests.backups.changes.helpers import KEY
from tests.gate import world as gate

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting")]


@pytest.fixture(autouse=True)
def bucket() -> None:
    """The fake bucket over HTTP, in place of the one in memory that other tests of the gate use."""


@pytest.fixture
def change(estate: make.Estate, people: make.People) -> KeyChange:
    """A change in QA that is approved and started; no worker has taken its run."""
    change_helpers.ready(estate)
    change = change_helpers.proposed(estate.qa, people)
    change_helpers.started(change, people)
    return change_helpers.fresh(change)


@pytest.fixture
def lease(change: KeyChange) -> Lease:
    assert change.run is not None
    found = run_lease.take(change.run.pk)
    assert found is not None
    return found


def backup_of(change: KeyChange) -> Generation:
    assert change.generation is not None
    return change.generation


def like(backup: Generation) -> Generation:
    """Another backup whose manifest has the same digest."""
    return Generation(pk=0, manifest_sha256=backup.manifest_sha256)


NOT_CARRIED = "The run does not carry the change's approval."
NOT_STARTED = "The run is not the one that was started with the approval."
OTHER = "The proposal is another object than the approved one."
BACKUP = "The backup of the old value is another one than the approved one."
TARGETS: list[tuple[Callable[[KeyChange, Lease], object], str, str]] = [
    (lambda change, _: setattr(change, "approval", None), "not_approved", NOT_CARRIED),
    (lambda _, lease: setattr(lease.run, "approval_id", 0), "not_approved", NOT_CARRIED),
    (lambda _, lease: setattr(lease.run, "approval_digest", "0"), "not_approved", NOT_CARRIED),
    (lambda _, lease: setattr(lease.run, "subject", "keychange:0"), "not_approved", NOT_STARTED),
    (lambda _, lease: setattr(lease.run, "started_by_id", 0), "not_approved", NOT_STARTED),
    (lambda change, _: setattr(change.environment, "account_id", "c" * 32), "wrong_target", ""),
    (lambda change, _: setattr(change.namespace, "namespace_id", "9" * 32), "wrong_target", ""),
    (lambda change, _: setattr(change.namespace, "title", "another"), "wrong_target", ""),
    (lambda change, _: setattr(change, "name", "mail:other"), "wrong_target", ""),
    (lambda change, _: setattr(change, "object_key", "proposals/qa/x"), "wrong_proposal", OTHER),
    (lambda change, _: setattr(change, "object_sha256", "0" * 64), "wrong_proposal", OTHER),
    (lambda change, _: setattr(backup_of(change), "manifest_sha256", "0" * 64), "wrong_backup", BACKUP),
    (lambda change, _: setattr(change, "generation", like(backup_of(change))), "wrong_backup", BACKUP),
    (lambda change, _: setattr(change, "generation", None), "wrong_backup", BACKUP),
]


def test_only_the_approved_target_proposal_and_backup_are_let_through(change: KeyChange, lease: Lease) -> None:
    before_write.insist_target(change, lease)
    for break_, code, sentence in TARGETS:
        mine, run = change_helpers.fresh(change), change_helpers.fresh(change).run
        assert run is not None
        lease.run = run
        break_(mine, lease)
        with pytest.raises(RunError) as refused:
            before_write.insist_target(mine, lease)
        assert refused.value.code == code
        assert str(refused.value).startswith(sentence)


def test_the_evidence_is_derived_again(change: KeyChange, lease: Lease) -> None:
    before_write.insist_as_approved(change, lease)
    mine = change_helpers.fresh(change)
    mine.reason = "another"
    for other in (mine, change_helpers.fresh(change)):
        if other is not mine:
            other.approval = None
        with pytest.raises(RunError, match="The change differs from the approved one") as refused:
            before_write.insist_as_approved(other, lease)
        assert refused.value.code == "stale"


def test_the_backup_is_looked_at_and_verified_with_the_sentence_of_a_change(
    change: KeyChange, lease: Lease, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[object, ...]] = []

    def parts_are_left(*given: object) -> bool:
        asked.append(given)
        return False

    monkeypatch.setattr(presence, "insist_in_place", lambda *given: asked.append(given))
    monkeypatch.setattr(presence, "verify_if_needed", parts_are_left)
    before_write.insist_as_approved(change, lease)
    assert not before_write.backup_verified(change, lease)
    assert asked == [(change.generation, lease, "Nothing more is written.")] * 2
    change.generation = None
    assert before_write.backup_verified(change, lease)


def test_the_proposal_is_the_approved_object(change: KeyChange, estate: make.Estate) -> None:
    with bucket_access.store(change.environment) as store:
        proposal = before_write.proposal_of(change, store)
        assert (proposal.new.data, proposal.parts) == (change_helpers.NEW, ["value"])
        estate.s3.objects[change.object_key] = b"x"
        with pytest.raises(RunError, match="is another object than the one proposed") as refused:
            before_write.proposal_of(change, store)
    assert refused.value.code == "wrong_proposal"


def lost(change: KeyChange) -> None:
    GenerationEntry.objects.filter(generation=change.generation).delete()


def renamed(change: KeyChange) -> None:
    GenerationEntry.objects.filter(generation=change.generation).update(name="mail:other")


def not_kept(change: KeyChange) -> None:
    GenerationEntry.objects.filter(generation=change.generation).update(outcome="vanished", digest=None)


@pytest.mark.parametrize("break_", [lost, renamed, not_kept])
def test_the_backup_holds_the_old_value_of_the_proposal(change: KeyChange, break_: Callable[[KeyChange], None]) -> None:
    with bucket_access.store(change.environment) as store:
        proposal = before_write.proposal_of(change, store)
    before_write.insist_backed_up(change, proposal)
    assert proposal.old is not None
    other = replace(proposal, old=replace(proposal.old, data=b"another"))
    with pytest.raises(RunError, match=f"Backup {change.generation_id} does not hold the old value") as refused:
        before_write.insist_backed_up(change, other)
    assert refused.value.code == "wrong_backup"
    before_write.insist_backed_up(change, replace(other, old=None))
    with gate.past_the_triggers():
        break_(change)
    with pytest.raises(RunError, match="does not hold the old value"):
        before_write.insist_backed_up(change, proposal)
    change.generation = None
    before_write.insist_backed_up(change, proposal)
    assert encryption.identities()


def test_roles_stop_and_backup_are_looked_at_before_each_write(change: KeyChange, people: make.People) -> None:
    before_write.insist_rights(change)
    mine = change_helpers.fresh(change)
    mine.approval = None
    with pytest.raises(RunError, match=NOT_CARRIED) as refused:
        before_write.insist_rights(mine)
    assert refused.value.code == "not_approved"
    gate.tampered(backup_of(change), status="damaged")
    with pytest.raises(RunError, match="The old value is not in a verified backup") as refused:
        before_write.insist_rights(change)
    assert refused.value.code == "backup_damaged"


def test_a_removed_role_and_an_emergency_stop_are_told_apart(change: KeyChange, people: make.People) -> None:
    make.revoke(people.reviewer, Role.REVIEWER)
    with pytest.raises(RunError, match="is no longer a reviewer") as refused:
        before_write.insist_rights(change)
    assert refused.value.code == "rights_gone"
    assert isinstance(refused.value.__cause__, ApprovalRefused)
    emergency.press(change.environment, by=people.auditor)
    with pytest.raises(Stopped, match="emergency stop"):
        before_write.insist_rights(change)


def test_the_policy_in_force_is_the_one_that_was_shown(change: KeyChange) -> None:
    before_write.insist_in_force(change)
    Family.objects.filter(pattern="mail:").update(retain_days=15)
    with pytest.raises(RunError, match="Nobody approved this") as refused:
        before_write.insist_in_force(change)
    assert refused.value.code == "stale"
    Family.objects.filter(pattern="mail:").update(retain_days=30)
    make.change_families("mail:", retain_days=21)
    with pytest.raises(RunError, match="The change differs from the approved one") as refused:
        before_write.insist_in_force(change)
    assert (refused.value.code, change.name) == ("stale", KEY)
