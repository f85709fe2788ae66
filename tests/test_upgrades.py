"""A migration that the running code would fail on is found, unless the CHANGELOG announces a stop."""

import pytest
from django.db import migrations, models
from django.db.migrations.operations.base import Operation

from tests.upgrades import breaking, unannounced

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
