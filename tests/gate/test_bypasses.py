"""Ways around the gate that other products left open, tried on rows and code: every one ends at the same refusal."""

import ast
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from pathlib import Path
from threading import Barrier

import pytest
from django.db import IntegrityError, connection
from django.db.models.functions import Now
from django.db.transaction import atomic

from backups.cleanup import requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused
from backups.deletion import mandate as deletion_mandate
from backups.models import CleanupRequest, CleanupStage
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Family, PolicyVersion, Role, Run
from kvops.runs.outcomes import RunError
from tests import make
from tests.gate import world as gate
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db

ROOT = Path(__file__).parents[2]


# 4.2.5: other ways than the pages


CALLERS = {
    "kvops.approvals.gate.approve": {"kvops/approvals/views.py"},
    "kvops.approvals.gate.reject": {"kvops/approvals/views.py"},
    "kvops.approvals.gate.claim": {
        "backups/execution/lifecycle.py",
        "kvops/approvals/emergency_release.py",
        "kvops/approvals/prepared_changes.py",
        "kvops/roles/requests.py",
    },
    "backups.cleanup.stages.STAGES.start": {"backups/cleanup/requests.py"},
    "backups.restores.moves.RESTORES.start": {"backups/restores/requests.py"},
    "backups.restores.moves.BULK_CHANGES.start": {"backups/changes/bulk/requests.py"},
    "backups.changes.bulk.requests.start": {"backups/changes/bulk/views.py"},
    "backups.changes.moves.CHANGES.start": {"backups/changes/requests.py"},
    "backups.changes.requests.start": {"backups/changes/views.py"},
    "PRUNES.start": {"backups/retention/requests.py"},
    "kvops.approvals.standing.carry_in_force": {
        "backups/clearing/rounds.py",
        "backups/drills/requests.py",
        "backups/investigations/requests.py",
    },
    "backups.clearing.rounds.start": {"backups/clearing/views.py"},
    "backups.deletion.run.delete_under": {"backups/clearing/run.py"},
    "backups.retention.requests.start": {"backups/retention/request_views.py"},
    "backups.cleanup.requests.start_deletion": {"backups/cleanup/stage_views.py"},
    "backups.restores.requests.start": {"backups/restores/views.py"},
    "backups.restores.undo.start_undo": {"backups/restores/views.py"},
    "writer.bulk_delete": {"backups/deletion/send.py", "backups/drills/run.py"},
    "writer.bulk_put": {"backups/drills/run.py", "backups/restores/write.py"},
    "writer.put_value": {
        "backups/changes/run.py",
        "backups/drills/run.py",
        "backups/restores/write.py",
    },
}
"""A function by its whole name, or a method of an object: the files that call it. None is a command, task or form."""


def callers(call: str) -> set[str]:
    """The files that use `call`, under whatever name they import its module."""
    return {
        path.relative_to(ROOT).as_posix()
        for app in ("audit", "kvops", "backups")
        for path in (ROOT / app).rglob("*.py")
        if path.name != "urls.py" and call in used(path)  # urls.py names views
    }


@cache
def used(path: Path) -> set[str]:
    """What a file imports by name or takes out of a module, by the whole name."""
    tree = ast.parse(path.read_text("utf-8"))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules = {one.asname or one.name: f"{node.module}.{one.name}" for node in imports for one in node.names}
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    taken = [(ast.unparse(node.value).split(".")[-1], node.attr) for node in attributes]
    return set(modules.values()) | {f"{modules.get(of, of)}.{name}" for of, name in taken}


@pytest.mark.hazard("4.2.5")
@pytest.mark.parametrize("call", CALLERS)
def test_only_pages_decide_and_start_and_only_named_modules_write(call: str) -> None:
    assert callers(call) == CALLERS[call]


UNAPPROVED: dict[str, Callable[[GateWorld, CleanupRequest], CleanupStage]] = {
    "waiting": lambda _world, request: gate.stage_of(request),
    "frozen": lambda _world, request: gate.frozen(gate.stage_of(request)),
    "checked": lambda _world, request: gate.checked(request),
    "submitted": gate.submitted,
    "deleting": gate.started,
    "accepted": gate.accepted,
}


@pytest.mark.hazard("4.2.5", "4.2.11")
@pytest.mark.parametrize("state", UNAPPROVED)
def test_the_service_starts_only_what_is_approved(world: GateWorld, request_: CleanupRequest, state: str) -> None:
    stage = UNAPPROVED[state](world, request_)
    before = Run.objects.filter(kind="delete").count()
    with pytest.raises(CleanupRefused, match="The stage is not approved"):
        cleanup_requests.start_deletion(stage, by=world.people.operator)
    assert Run.objects.filter(kind="delete").count() == before


@pytest.mark.hazard("4.2.5", "4.2.11")
def test_the_database_moves_no_stage_to_deleting_without_a_run(world: GateWorld, request_: CleanupRequest) -> None:
    stage = gate.approved(world, request_)
    with pytest.raises(IntegrityError), atomic():
        CleanupStage.objects.filter(pk=stage.pk).update(state="deleting")


@pytest.mark.hazard("4.2.5")
def test_a_stage_that_sql_moved_carries_no_deletion(world: GateWorld, request_: CleanupRequest) -> None:
    stage = gate.submitted(world, request_)
    gate.tampered(stage, state="approved")
    with pytest.raises(approval_gate.ApprovalRefused, match="not approved"):
        cleanup_requests.start_deletion(stage, by=world.people.operator)


# 4.2.7: acting before the claim


@pytest.mark.hazard("4.2.7")
def test_a_start_that_does_not_come_to_its_end_claimed_nothing(
    world: GateWorld, request_: CleanupRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = gate.approved(world, request_)
    monkeypatch.setattr("backups.execution.lifecycle.run_driver.create", partial(int, "crash"))
    with pytest.raises(TypeError):
        cleanup_requests.start_deletion(stage, by=world.people.operator)
    assert gate.approval_of(stage).state == "approved"
    monkeypatch.undo()
    assert cleanup_requests.start_deletion(stage, by=world.people.operator).approval == gate.approval_of(stage)


# 4.2.8 and 4.2.9: what changes between the decision and the execution


def replace_the_policy() -> None:
    make.another_policy()


def remove_the_policy() -> None:
    PolicyVersion.objects.all().delete()


def replace_the_rule() -> None:
    make.change_datasets(only_in_d1="allow")


def remove_the_rule() -> None:
    make.change_datasets(prefix="other:")


def edit_a_row() -> None:
    Family.objects.filter(pattern="mastercache:").update(note="past everybody")


CHANGED = "The policy changed from version 2 to version 3 after the approval. Prepare the stage again."
RULES: dict[str, tuple[Callable[[], None], str]] = {
    "replaced policy": (replace_the_policy, CHANGED),
    "no policy": (remove_the_policy, "no policy in force"),
    "replaced rule": (replace_the_rule, CHANGED),
    "edited row": (edit_a_row, "mastercache:.*: Note – → past everybody. Nobody approved this"),
    "no rule": (remove_the_rule, CHANGED),
}


@pytest.mark.hazard("4.2.9")
@pytest.mark.parametrize("change", RULES)
def test_an_approval_is_good_for_the_rules_that_it_was_given_under(
    world: GateWorld, request_: CleanupRequest, change: str
) -> None:
    stage = gate.approved(world, request_)
    do, why = RULES[change]
    with gate.past_the_triggers():
        do()
    with pytest.raises(CleanupRefused, match=why):
        cleanup_requests.start_deletion(stage, by=world.people.operator)
    assert not Run.objects.filter(kind="delete").exists()


@pytest.mark.hazard("4.2.8", "4.2.9")
@pytest.mark.parametrize("change", RULES)
def test_and_is_looked_at_once_more_before_anything_is_sent(
    world: GateWorld, request_: CleanupRequest, change: str
) -> None:
    stage = gate.started(world, request_)
    with gate.past_the_triggers():
        RULES[change][0]()
    with pytest.raises(RunError) as refused:
        deletion_mandate.insist_as_approved(stage, gate.lease_of(stage))
    assert refused.value.code in {"stale", "wrong_set"}


@pytest.mark.hazard("4.2.8")
@pytest.mark.django_db(transaction=True)
def test_an_edit_at_the_same_moment_as_the_start_is_noticed_whichever_comes_first() -> None:
    world = gate.world()
    request_ = gate.asked(world)
    for _ in range(8):
        stage = gate.approved(world, request_)
        start = partial(cleanup_requests.start_deletion, stage, by=world.people.operator)
        edited, started = at_once(replace_the_policy, start)
        assert edited
        stage = gate.stage_of(request_)
        if started:
            with pytest.raises(RunError, match="The policy changed from version"):
                deletion_mandate.insist_as_approved(stage, gate.lease_of(stage))
            return
        assert stage.state == "frozen"


def at_once(*acts: Callable[[], object]) -> list[bool]:
    """Whether each was done when they start together."""
    start = Barrier(len(acts))

    def attempt(act: Callable[[], object]) -> bool:
        try:
            start.wait(10)
            act()
        except (CleanupRefused, approval_gate.ApprovalRefused):
            return False
        else:
            return True
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(attempt, acts))


# 4.2.6: two at once


@pytest.mark.hazard("4.2.6", "B26")
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("second", ["approve", "reject"])
def test_of_two_decisions_on_a_stage_at_once_one_is_made(second: str) -> None:
    world = gate.world()
    other = make.person("reviewer2", Role.REVIEWER)
    request_ = gate.asked(world)
    for _ in range(5):
        asked = gate.approval_of(gate.submitted(world, request_))
        decide = getattr(approval_gate, second)
        won = at_once(
            partial(approval_gate.approve, asked, by=world.people.reviewer, shown=asked.digest),
            partial(decide, asked, by=other, shown=asked.digest, reason="not like this"),
        )
        asked.refresh_from_db()
        assert sum(won) == 1
        assert asked.approver == (world.people.reviewer if won[0] else other)
        assert asked.state == ("approved" if won[0] else f"{second.rstrip('e')}ed")
        if asked.state == "approved":
            approval_gate.withdraw(asked, by=world.people.operator)


@pytest.mark.hazard("4.2.14")
def test_an_approval_of_before_says_nothing_for_the_same_stage_prepared_again(
    world: GateWorld, request_: CleanupRequest
) -> None:
    stage = gate.approved(world, request_)
    first = gate.approval_of(stage)
    approval_gate.withdraw(first, by=world.people.operator)
    gate.submitted(world, request_)
    with pytest.raises(CleanupRefused, match="not approved"):
        cleanup_requests.start_deletion(stage, by=world.people.operator)
    assert ApprovalRequest.objects.filter(pk=first.pk, used_at=None, decide_by__gt=Now()).exists()
