"""Each constraint and each rule of a trigger of our tables, broken once; the audit log's own are in tests/audit.

The catalog says what must be in the table. Exempt by kind: primary keys, NOT NULL, Django's own foreign keys,
and the `>= 0` Django writes for positive integers.
"""

import re
from collections.abc import Callable
from contextlib import suppress
from itertools import pairwise, permutations, product

import pytest
from django.db import IntegrityError, connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Field, Model
from django.db.transaction import atomic
from psycopg import Error

from audit import log
from backups.models import (
    BulkChange,
    Check,
    CleanupChunk,
    CleanupRequest,
    CleanupStage,
    DifferenceCase,
    Generation,
    Investigation,
    KeyChange,
    OutsideSearch,
    Pin,
    PruneEntry,
    PruneRequest,
    Reappearance,
    Restore,
    RestoreChunk,
)
from kvops.models import (
    ApprovalRequest,
    DatabaseRollback,
    ReferenceAnswer,
    ReviewerRecovery,
    RoleGrant,
    Run,
    RunbookNote,
    RunbookTodo,
    StatedOperation,
)
from kvops.operations import registry
from kvops.operations.parts import RunKind
from kvops.runs import driver as run_driver, lease as run_lease, outcomes
from tests.constraints import (
    bulk_rows,
    cases_rows,
    changes_rows,
    clearing_rows,
    comparisons_rows,
    deployed_rows,
    drills_rows,
    investigations_rows,
    outside_rows,
    people_rows,
    references_rows,
    restores_rows,
    retention_rows,
    runbook_rows,
    vault_rows,
)
from tests.constraints.backups_rows import (
    ACKNOWLEDGED,
    CHUNKS,
    CLEANUP_FROZEN,
    GENERATION_FROZEN,
    GENERATIONS,
    PIN_FROZEN,
    PIN_REMOVED,
    PINS,
    REAPPEARANCES,
    REAPPEARED,
    SHARES,
    STAGES,
)
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import change, sql
from tests.constraints.kvops_rows import (
    APPROVALS,
    ENVIRONMENTS,
    REQUEST_DECIDED,
    REQUEST_FROZEN,
    ROLLBACK_ACCEPTED,
    ROLLBACK_FROZEN,
    ROLLBACKS,
    RUNS,
    STOPS,
)
from tests.constraints.rows import RowAttempt

pytestmark = pytest.mark.django_db

OURS = "conrelid::regclass::text ~ '^(kvops|backups)_'"
CONSTRAINTS = f"""
SELECT conname FROM pg_constraint WHERE {OURS} AND (
  contype IN ('u', 'x')
  OR (contype = 'c' AND NOT (conname ~ '^(kvops|backups)_.*_check$'
                             AND pg_get_constraintdef(oid) ~ '^CHECK \\(\\(\\S+ >= 0\\)\\)$'))
  OR (contype = 'f' AND NOT condeferrable))
"""
UNIQUE_INDEXES = """
SELECT indexrelid::regclass::text FROM pg_index
WHERE indisunique AND indrelid::regclass::text ~ '^(kvops|backups)_'
  AND NOT EXISTS (SELECT FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
"""
TRIGGERS = """
SELECT tgrelid::regclass::text, tgname, tgtype & 32 <> 0, prosrc
FROM pg_trigger JOIN pg_proc p ON p.oid = tgfoid
WHERE NOT tgisinternal AND tgrelid::regclass::text ~ '^(kvops|backups)_'
"""
NOT_TO_BE_BROKEN = {"approval_and_digest"}
"""Only there for a foreign key to point at: the primary key always refuses first."""
GENERATED = {
    "an approval request cannot go from % to %",
    "a run cannot go from % to %",
    "a stage cannot go from % to %",
    "a chunk cannot go from % to %",
    "a backup cannot go from % to %",
    "a check cannot go from % to %",
    "a restore cannot go from % to %",
    "a chunk of a restore cannot go from % to %",
    "a prune request cannot go from % to %",
    "a change of a key cannot go from % to %",
    "the runs are never truncated",
    "the clean-ups are never truncated",
    "backups and checks are never truncated",
    "restores are never truncated",
    "the scratch namespaces are never truncated",
}
"""Rules broken below, for all pairs of states and for all guarded tables."""


TABLE = [
    *APPROVALS,
    *RUNS,
    *STOPS,
    *ROLLBACKS,
    *ENVIRONMENTS,
    *GENERATIONS,
    *STAGES,
    *SHARES,
    *CHUNKS,
    *REAPPEARANCES,
    *PINS,
    *restores_rows.RESTORES,
    *retention_rows.PRUNES,
    *bulk_rows.BULK_CHANGES,
    *cases_rows.CASES,
    *changes_rows.CHANGES,
    *clearing_rows.CLEARINGS,
    *vault_rows.VAULT,
    *comparisons_rows.COMPARISONS,
    *deployed_rows.DEPLOYED,
    *drills_rows.DRILLS,
    *investigations_rows.INVESTIGATIONS,
    *outside_rows.OUTSIDE,
    *people_rows.PEOPLE,
    *references_rows.REFERENCES,
    *runbook_rows.RUNBOOK,
]
FROZEN = [
    (
        ApprovalRequest,
        {*REQUEST_FROZEN, "standing_until"},
        {"state", "reason", "reason_sentence", "accepted", "starter_id", "used_at", *REQUEST_DECIDED},
    ),
    (DatabaseRollback, {*ROLLBACK_FROZEN}, {*ROLLBACK_ACCEPTED}),
    (
        CleanupRequest,
        {*CLEANUP_FROZEN},
        {"ended_at", "ended_by", "completed_at", "ticket", "frozen_until", "frozen_by"},
    ),
    (Restore, {*restores_rows.FROZEN, *restores_rows.APPROVED_FOR, "operation"}, restores_rows.MOVED),
    (BulkChange, {*bulk_rows.FROZEN}, bulk_rows.MOVED),
    (
        Generation,
        {*GENERATION_FROZEN},
        {"status", "verify_run_id", "verified_at", "problem", "problem_sentence", "retain_until", "deleted_at"},
    ),
    (KeyChange, {*changes_rows.FROZEN, *changes_rows.APPROVED_FOR}, changes_rows.MOVED),
    (OutsideSearch, {*outside_rows.FROZEN}, outside_rows.MOVED),
    (DifferenceCase, {*cases_rows.FROZEN}, cases_rows.MOVED),
    (PruneRequest, {*retention_rows.FROZEN}, retention_rows.MOVED),
    (PruneEntry, {*retention_rows.ENTRY_FROZEN}, retention_rows.ENTRY_MOVED),
    (Pin, {*PIN_FROZEN}, {*PIN_REMOVED}),
    (Investigation, {*investigations_rows.FROZEN}, investigations_rows.MOVED),
    (Reappearance, {*REAPPEARED}, {*ACKNOWLEDGED}),
    (ReferenceAnswer, {*references_rows.ANSWER_FROZEN}, {*references_rows.ANSWER_CLOSED}),
    (RunbookNote, {*runbook_rows.NOTE}, set()),
    (RoleGrant, {*people_rows.GRANT_FROZEN}, people_rows.GRANT_MOVED),
    (ReviewerRecovery, {*people_rows.RECOVERY_FROZEN}, people_rows.RECOVERY_MOVED),
    (StatedOperation, {*runbook_rows.STATED}, set()),
    (RunbookTodo, {*runbook_rows.TODO}, runbook_rows.DONE),
]


def rows(query: str) -> list[tuple[str, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def raised(source: str) -> set[str]:
    return set(re.findall(r"RAISE EXCEPTION '([^']+)'", source))


def refusal(error: IntegrityError) -> str:
    """The name of the constraint, or the words of the trigger."""
    assert isinstance(error.__cause__, Error)
    said = error.__cause__.diag
    return said.constraint_name or said.message_primary or ""


def refused(rule: str, error: IntegrityError) -> bool:
    return re.fullmatch(re.escape(rule).replace("%", "(.+)"), refusal(error)) is not None


@pytest.fixture
def world() -> BackupsWorld:
    return BackupsWorld()


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_the_database_refuses_what_breaks_a_rule(world: BackupsWorld, row: RowAttempt) -> None:
    with pytest.raises(IntegrityError) as error, atomic():
        row.attempt(world)
    assert refused(row.rule, error.value), refusal(error.value)


def test_every_rule_of_the_database_is_in_the_table_and_no_other() -> None:
    named = {name for query in (CONSTRAINTS, UNIQUE_INDEXES) for (name,) in rows(query)} - NOT_TO_BE_BROKEN
    worded = {rule for *_, source in rows(TRIGGERS) for rule in raised(source)}
    assert {row.rule for row in TABLE} | GENERATED == named | worded


def test_every_trigger_of_ours_says_what_it_refuses() -> None:
    assert [name for _, name, _, source in rows(TRIGGERS) if not raised(source)] == []


def test_no_guarded_table_can_be_truncated() -> None:
    for table in {table for table, *_ in rows(TRIGGERS)}:
        with pytest.raises(IntegrityError, match=r"never (truncated|deleted)"), atomic():
            sql(f"TRUNCATE {table} CASCADE")


@pytest.mark.parametrize(("model", "frozen", "moved"), FROZEN)
def test_every_column_that_no_move_sets_is_frozen(model: type[Model], frozen: set[str], moved: set[str]) -> None:
    assert {field.attname for field in model._meta.concrete_fields} == frozen | moved


def test_a_request_needs_a_requester(world: BackupsWorld) -> None:
    with pytest.raises(IntegrityError, match='"requester_id"'), atomic():
        world.approval(requester=None)


def test_a_leftover_that_is_still_alive_may_be_sent_again(world: BackupsWorld) -> None:
    assert world.exception("alive").delete()[0] == 1


def drawn(model: type[Model]) -> set[tuple[str, str]]:
    """The arrows of a model's docstring: `a -> b -> c`, `a | b -> c`, `a .. c -> d`, with remarks in brackets."""

    def several(words: str) -> list[str]:
        if ".." in words:
            first, last = (states(model).index(word.strip()) for word in words.split(".."))
            return states(model)[first : last + 1]
        return [word.strip() for word in words.split("|")]

    lines = [re.sub(r"\([^)]*\)?", "", line) for line in (model.__doc__ or "").splitlines() if "->" in line]
    chains = [[several(part) for part in line.split("->")] for line in lines]
    pairs = {pair for chain in chains for before, after in pairwise(chain) for pair in product(before, after)}
    assert {state for pair in pairs for state in pair} == set(states(model))
    return {(before, after) for before, after in pairs if before != after}


STATE: dict[type[Model], str] = {Generation: "status", Check: "outcome"}
"""The column the arrows are of, where it is not `state`."""


def states(model: type[Model]) -> list[str]:
    field = model._meta.get_field(STATE.get(model, "state"))
    assert isinstance(field, Field)
    return [str(value) for value, _ in field.flatchoices]


MODELS: dict[str, type[Model]] = {
    "an approval request": ApprovalRequest,
    "a run": Run,
    "a stage": CleanupStage,
    "a chunk": CleanupChunk,
    "a backup": Generation,
    "a check": Check,
    "a restore": Restore,
    "a chunk of a restore": RestoreChunk,
    "a prune request": PruneRequest,
    "a change of a key": KeyChange,
}


def moves(*, allowed: bool) -> list[tuple[str, str, str]]:
    """Every ordered pair of two states of each model that is, or is not, drawn in its docstring."""
    return [
        (name, *pair)
        for name, model in MODELS.items()
        for pair in permutations(states(model), 2)
        if (pair in drawn(model)) == allowed
    ]


def made(world: BackupsWorld, name: str, before: str, after: str) -> Model:
    if name == "a stage" and (before, after) == ("verified", "deleting"):
        return clearing_rows.stage(world)
    if name == "a stage":
        only_cache, no_names = (before, after) == ("verified", "submitted"), (before, after) == ("frozen", "confirmed")
        return world.stage(before, category="cache" if only_cache else "legacy", names=0 if no_names else 1)
    if name == "a restore":
        is_undo = (before, after) == ("preparing", "writing")
        return restores_rows.undo(world) if is_undo else restores_rows.restore(world, before)
    if name == "a backup" and before in Generation.GOING:
        return world.going(before)
    if name == "a backup" and after == "deleting":
        backup = world.expired(before)
        world.prune("deleting", of=backup)
        return backup
    kinds: dict[str, Callable[[str], Model]] = {
        "an approval request": world.approval,
        "a run": world.run,
        "a chunk": world.chunk,
        "a backup": world.generation,
        "a check": world.check,
        "a prune request": world.prune,
        "a chunk of a restore": lambda state: restores_rows.chunk(world, state),
        "a change of a key": lambda state: changes_rows.key_change(world, state),
    }
    return kinds[name](before)


@pytest.mark.parametrize(("name", "before", "after"), moves(allowed=True))
def test_what_the_docstring_draws_can_be_done(world: BackupsWorld, name: str, before: str, after: str) -> None:
    row = made(world, name, before, after)
    if isinstance(row, CleanupStage) and row.scheduled:
        clearing_rows.delete(world, row)
    elif isinstance(row, CleanupStage):
        world.move(row, after)
    elif isinstance(row, Restore):
        restores_rows.move(world, row, after)
    elif isinstance(row, KeyChange):
        changes_rows.move(world, row, after)
    elif isinstance(row, PruneRequest):
        world.advance_prune(row, after)
    elif isinstance(row, RestoreChunk):
        change(row, **restores_rows.chunk_to(after))
    else:
        change(row, **world.to(type(row), after))
    row.refresh_from_db()
    assert getattr(row, STATE.get(type(row), "state")) == after


@pytest.mark.parametrize(("name", "before", "after"), moves(allowed=False))
def test_what_the_docstring_does_not_draw_is_refused(world: BackupsWorld, name: str, before: str, after: str) -> None:
    row = made(world, name, before, after)
    with pytest.raises(IntegrityError) as error, atomic():
        change(row, **{STATE.get(type(row), "state"): after})
    assert refusal(error.value) == f"{name} cannot go from {before} to {after}"


NOTE_MOVES = """
CREATE TEMPORARY TABLE moved (before text, after text) ON COMMIT DROP;
CREATE FUNCTION pg_temp.note() RETURNS trigger LANGUAGE plpgsql AS
  $$ BEGIN INSERT INTO moved VALUES (OLD.state, NEW.state); RETURN NULL; END $$;
CREATE TRIGGER note AFTER UPDATE ON kvops_run FOR EACH ROW
  WHEN (NEW.state <> OLD.state) EXECUTE FUNCTION pg_temp.note();
"""


def finish(lease: run_lease.Lease) -> outcomes.Done:
    return outcomes.Done()


def fail(lease: run_lease.Lease) -> None:
    raise outcomes.RunError("x", "It did not work.")


def test_the_code_moves_runs_along_every_arrow_and_no_other(
    world: BackupsWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.RUNS, Run.Kind.SCAN, RunKind(finish))
    monkeypatch.setitem(registry.RUNS, Run.Kind.BACKUP, RunKind(fail))
    sql(NOTE_MOVES)
    for kind in ("scan", "backup"):
        run = world.run(kind=kind)
        run_driver.drive(run.pk)
        with suppress(run_driver.NotResumable):
            run_driver.resume(run, actor=log.Actor.system("tests"))
            run_driver.request_stop(run, actor=log.Actor.system("tests"))
            run_driver.drive(run.pk)
            run_driver.resume(run, actor=log.Actor.system("tests"))
    assert set(rows("SELECT * FROM moved")) == drawn(Run)


def schema() -> set[tuple[str, ...]]:
    """Every constraint and trigger of our tables, with its text."""
    constraints = f"SELECT conname, pg_get_constraintdef(oid) FROM pg_constraint WHERE {OURS}"
    return {*rows(constraints), *rows(TRIGGERS), *rows(UNIQUE_INDEXES)}


def test_the_guards_can_be_taken_back_and_put_on_again() -> None:
    with connection.cursor() as cursor:
        # On a slow machine more than a minute passes between two statements.
        cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
    before = schema()
    MigrationExecutor(connection).migrate([("backups", "0001_tables"), ("kvops", "0001_tables")])
    assert rows(TRIGGERS) == []
    executor = MigrationExecutor(connection)
    executor.migrate([node for node in executor.loader.graph.leaf_nodes() if node[0] in {"backups", "kvops"}])
    assert schema() == before
