"""A restore that overwrites waits for a verified backup of exactly the keys that it may overwrite."""

from datetime import datetime
from typing import Any

import pytest
from django.db.models.functions import Now

from backups.deletion import run as deletion_run
from backups.generations import start as generation_start
from backups.models import Generation, Restore, RestoreEntry
from backups.restores import safety_backup
from kvops import clock
from kvops.runs.lease import Lease
from tests.gate import world as gate
from tests.gate.world import NAMES

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def now(restore: Restore, monkeypatch: pytest.MonkeyPatch) -> datetime:
    at = clock.now()
    monkeypatch.setattr("kvops.clock.now", lambda: at)
    return at


@pytest.fixture
def restore(mine: deletion_run._Deletion) -> Restore:
    """A restore of three keys that overwrites two; its safety backup is the stage's, verified."""
    stage = mine.stage
    assert stage.generation
    found = Restore.objects.create(
        environment=stage.environment, namespace=stage.namespace, generation=stage.generation, prefix="master:",
        prepared_by="tests", names=3, overwritten=2,
    )  # fmt: skip
    RestoreEntry.objects.bulk_create(
        RestoreEntry(restore=found, index=index, name=name, size=2, found="value" if index < 2 else "absent")
        for index, name in enumerate(NAMES)
    )
    with gate.past_the_triggers():
        # The state of a restore that is written; its own run is not needed here.
        Restore.objects.filter(pk=found.pk).update(safety=stage.generation)
    return Restore.objects.select_related("safety").get(pk=found.pk)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, restore: Restore) -> list[Any]:
    """The backups asked for."""
    found: list[Any] = []

    def create(*what: object, **how: object) -> Generation:
        found.append((what, how))
        return restore.generation

    monkeypatch.setattr(generation_start, "create_backup", create)
    return found


def test_the_backup_belongs_to_the_restore_that_is_written_and_to_no_other(
    restore: Restore, mine: deletion_run._Deletion, made: list[Any]
) -> None:
    other = Restore.objects.create(
        environment=restore.environment, namespace=restore.namespace, generation=restore.generation, prefix="master:",
        prepared_by="tests",
    )  # fmt: skip
    written = {
        "state": "writing",
        "reason": "no longer needed",
        "safety": None,
        "names_sha256": "1" * 64,
        "compared_at": Now(),
    }
    gate.tampered(other, **written, approval_id=-1, run_id=-1)
    gate.tampered(restore, **written, approval=mine.stage.approval, run=mine.lease.run)
    safety_backup.back_up_first(Restore.objects.get(pk=restore.pk), mine.lease)
    restore.refresh_from_db()
    other.refresh_from_db()
    assert (restore.safety, other.safety) == (restore.generation, None)
    with gate.past_the_triggers():
        Restore.objects.filter(pk=other.pk).delete()  # there is no such run


def test_a_restore_that_is_not_written_any_more_gets_no_backup(restore: Restore, lease: Lease, made: list[Any]) -> None:
    gate.tampered(restore, safety=None)
    found = Restore.objects.get(pk=restore.pk)
    safety_backup.back_up_first(found, lease)
    found.refresh_from_db()
    assert found.safety is None


# What the writes rely on


@pytest.mark.parametrize(
    ("first", "last", "common"),
    [("", "", ""), ("a", "", ""), ("ab", "ac", "a"), ("abx", "acx", "a"), ("ab", "abc", "ab"), ("ab", "ab", "ab")],
)
def test_what_two_names_have_in_common(first: str, last: str, common: str) -> None:
    assert safety_backup._common(first, last) == common


def test_without_a_conflict_every_name_is_meant(restore: Restore, lease: Lease, made: list[Any]) -> None:
    RestoreEntry.objects.filter(restore=restore).update(found="absent")
    gate.tampered(restore, safety=None, created_at=Now())
    safety_backup.back_up_first(Restore.objects.get(pk=restore.pk), lease)
    assert made[0][1]["prefixes"] == [""]
