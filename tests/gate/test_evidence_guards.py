"""Facts of the evidence that no other test tells apart: the lock of the backup, leftovers, and a foreign manifest."""

# ruff: noqa: F811  # pytest gives the fixture by its name
from types import SimpleNamespace
from typing import Any

import pytest

from backups.bucket import protection as bucket_protection
from backups.cleanup import completion, evidence as cleanup_evidence
from backups.generations.verification import NotAsWritten, StoredBackup
from backups.models import CleanupStage
from tests.gate.test_reading_back import Written, backup, fresh  # noqa: F401

OTHER = "The lock of R2 on the backup differs from the approved one."
UNKNOWN = "At the approval it was not known whether R2 locks the backup. Now it is known."


@pytest.mark.parametrize(
    ("is_here", "approved", "now", "told"),
    [
        (True, "full", "full", ""), (False, "full", "short", ""), (False, "unknown", "full", ""),
        (True, "full", "short", OTHER), (True, "short", "unknown", OTHER), (True, "unknown", "full", UNKNOWN),
    ],
)  # fmt: skip
def test_a_lock_that_changed_is_told_of_a_backup_in_the_bucket(
    monkeypatch: pytest.MonkeyPatch, is_here: bool, approved: str, now: str, told: str
) -> None:
    generation: Any = SimpleNamespace(is_here=is_here)
    monkeypatch.setattr(bucket_protection, "shown", lambda of: {"state": now} if of is generation else {})
    assert str(cleanup_evidence.lock_changed(generation, {"state": approved})) == told


@pytest.mark.django_db
def test_leftovers_are_shown_by_name(stage: CleanupStage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage.leftovers_note = "a nightly job"
    monkeypatch.setattr(completion, "leftovers", lambda of: of.entries.order_by("-name"))
    assert cleanup_evidence._leftovers(stage) == {
        "count": 3, "sample": ["master:a:1", "master:a:2", "master:b:1"], "note": "a nightly job",
    }  # fmt: skip


@pytest.mark.django_db
def test_a_foreign_manifest_is_told_with_what_it_says(backup: Written) -> None:
    reading = StoredBackup(fresh(backup.generation), backup.opened, lambda: None)
    reading.generation.keys = 4
    with pytest.raises(NotAsWritten) as problem:
        list(reading.compared())
    assert str(problem.value) == "The number of keys in the manifest is 3, not 4."
