"""A migration that the running code would fail on is found, unless the CHANGELOG announces a stop."""

import pytest
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from tests.upgrades import breaking, locking, unannounced

NEEDED = migrations.AddField("run", "note", models.TextField(default="x"))
BREAKS: list[Operation] = [
    NEEDED,
    migrations.RemoveField("run", "note"),
    migrations.RenameField("run", "note", "word"),
    migrations.AlterField("run", "note", models.TextField()),
    migrations.DeleteModel("Run"),
    migrations.RenameModel("Run", "Job"),
]
ADDS: list[Operation] = [
    migrations.AddField("run", "note", models.TextField(null=True)),
    migrations.AddField("run", "note", models.TextField(db_default="")),
    migrations.CreateModel("Note", [("id", models.BigAutoField(primary_key=True))]),
    migrations.AddIndex("run", models.Index(fields=["note"], name="runs_by_note")),
]


@pytest.mark.parametrize("operation", BREAKS, ids=lambda one: type(one).__name__)
def test_the_old_code_would_fail_on_it(operation: Operation) -> None:
    assert list(breaking([operation])) == [operation.describe()]


@pytest.mark.parametrize("operation", ADDS, ids=lambda one: type(one).__name__)
def test_the_old_code_goes_on_with_it(operation: Operation) -> None:
    assert list(breaking([operation])) == []


def test_a_stop_that_the_changelog_announces_is_accepted() -> None:
    assert unannounced("kvops", "0030_note", [NEEDED], "- kvops 0030: stop KVOps for this upgrade.") == []


def test_a_stop_that_nobody_announces_is_found() -> None:
    assert unannounced("kvops", "0030_note", [NEEDED], "- kvops 0030 adds a note.") == [
        f"kvops 0030_note: {NEEDED.describe()}"
    ]


BY_NAME = models.Index(fields=["name"], name="key_by_name")
CONCURRENTLY = AddIndexConcurrently("key", BY_NAME)
LOCKS: list[tuple[bool, Operation]] = [
    (True, migrations.AddIndex("key", BY_NAME)),
    (True, migrations.AddConstraint("key", models.UniqueConstraint(fields=["name"], name="key_once"))),
    (True, migrations.AddField("key", "run", models.ForeignKey("kvops.Run", models.PROTECT, null=True))),
    (True, migrations.RunSQL("CREATE INDEX key_by_name ON kvops_key (name)")),
    (True, CONCURRENTLY),
    (False, migrations.AddField("run", "note", models.TextField(null=True))),
]
LEAVES_OPEN: list[tuple[bool, Operation]] = [
    (False, CONCURRENTLY),
    (True, migrations.AddIndex("run", models.Index(fields=["kind"], name="run_by_kind"))),
    (True, migrations.AddField("key", "note", models.TextField(null=True))),
    (True, migrations.AddConstraint("key", models.CheckConstraint(condition=models.Q(name=""), name="key_named"))),
]


def migration(operation: Operation, *, atomic: bool) -> migrations.Migration:
    """A migration of `kvops` with one operation."""
    made: type[migrations.Migration] = type(
        "Migration", (migrations.Migration,), {"operations": [operation], "atomic": atomic}
    )
    return made("0030_note", "kvops")


@pytest.mark.parametrize(("atomic", "operation"), LOCKS)
def test_an_index_of_a_large_table_is_built_concurrently_outside_a_transaction(
    atomic: bool, operation: Operation
) -> None:
    assert len(list(locking("kvops", migration(operation, atomic=atomic)))) == 1


@pytest.mark.parametrize(("atomic", "operation"), LEAVES_OPEN)
def test_a_migration_that_lets_everybody_write_is_accepted(atomic: bool, operation: Operation) -> None:
    assert list(locking("kvops", migration(operation, atomic=atomic))) == []
