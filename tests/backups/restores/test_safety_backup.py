"""A key is overwritten only while its safety backup is in the bucket as it was written."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from backups.models import Generation, Restore
from backups.restores import chunks as restore_chunks
from kvops import timing
from kvops.cloudflare import KvEntry
from kvops.models import Run
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.restores import helpers as restore_helpers
from tests.gate.world import tampered

pytestmark = pytest.mark.django_db
NAMES = ("master:a:1", "master:a:2")


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    monkeypatch.setattr(restore_chunks, "CHUNK", 1)


@pytest.fixture
def run(estate: make.Estate, people: make.People) -> Run:
    """The run of a restore over two keys, with their safety backup and nothing written."""
    restore_helpers.put(estate, estate.qa, *(KvEntry(name, b"old", None, None) for name in NAMES))
    generation = restore_helpers.verified_backup(estate.qa)
    restore_helpers.put(estate, estate.qa, *(KvEntry(name, b"newer", None, None) for name in NAMES))
    restore = restore_helpers.prepared(generation, people, on_conflict=Restore.OnConflict.OVERWRITE)
    run = restore_helpers.started(restore, people)
    run_driver.drive(run.pk)
    Run.objects.filter(pk=run.pk).update(wake_at=Now() + timedelta(hours=1))
    while not Generation.objects.filter(purpose=Generation.Purpose.RESTORE, status="verified").exists():
        for backup in Run.objects.open().filter(kind__in=[Run.Kind.BACKUP, Run.Kind.VERIFY]):
            run_driver.drive(backup.pk)
    return run


def safety_of(run: Run) -> Generation:
    return Generation.objects.get(safe_restores__run=run)


def worked(run: Run) -> Run:
    make.work()
    run.refresh_from_db()
    return run


def values(estate: make.Estate) -> list[bytes]:
    return [restore_helpers.held(estate, estate.qa)[name].data for name in NAMES]


def test_nothing_is_overwritten_when_the_safety_backup_is_gone(estate: make.Estate, run: Run) -> None:
    for key in safety_of(run).object_keys():
        del estate.s3.objects[key]
    assert (worked(run).state, run.error_code, values(estate)) == ("failed", "backup_gone", [b"newer"] * 2)
    assert "is gone. Nothing was written." in run.error


def test_nothing_more_is_overwritten_when_it_is_gone_days_later(
    estate: make.Estate, people: make.People, run: Run
) -> None:
    estate.cloudflare.fault("bulk_put", "refusal", nth=2, status=403)
    assert (worked(run).state, values(estate)) == ("failed", [b"old", b"newer"])
    key = safety_of(run).object_keys()[0]
    body = estate.s3.objects.pop(key)
    run_driver.resume(run, actor=people.operator.actor)
    assert (worked(run).state, run.error_code, values(estate)) == ("failed", "backup_gone", [b"old", b"newer"])
    assert "is gone. Nothing more was written." in run.error
    estate.s3.objects[key] = body  # for the judge


def test_a_verification_older_than_a_day_is_repeated_first(estate: make.Estate, run: Run) -> None:
    tampered(safety_of(run), verified_at=Now() - timedelta(hours=25))
    assert (worked(run).state, values(estate)) == ("succeeded", [b"old"] * 2), run.error
    assert safety_of(run).verified_at > run.created_at  # type: ignore[operator]


def test_the_safety_backup_of_one_key_is_named_without_a_star(estate: make.Estate, people: make.People) -> None:
    restore_helpers.put(estate, estate.qa, KvEntry(NAMES[0], b"old", None, None))
    generation = restore_helpers.verified_backup(estate.qa)
    restore_helpers.put(estate, estate.qa, KvEntry(NAMES[0], b"newer", None, None))
    restore_helpers.done(generation, people, on_conflict=Restore.OnConflict.OVERWRITE)
    (safety,) = Generation.objects.filter(purpose=Generation.Purpose.RESTORE)
    assert (safety.shown_prefixes, safety.run.label) == ([NAMES[0]], f"{estate.qa} {NAMES[0]}")
