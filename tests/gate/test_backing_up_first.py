"""A restore that overwrites waits for a verified backup of exactly the keys that it may overwrite."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from backups.deletion import run as deletion_run
from backups.execution import presence
from backups.generations import start as generation_start
from backups.generations.reader import Wanted
from backups.generations.scope import BackupRefused
from backups.models import CleanupRequest, Generation, GenerationEntry, Restore, RestoreChunk, RestoreEntry
from backups.restores import safety_backup
from kvops import clock, timing
from kvops.models import Run
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, RunError, TryLater
from tests.gate import world as gate
from tests.gate.world import NAMES

pytestmark = pytest.mark.django_db
WAITS = "Waiting for the verified backup of the keys to overwrite."
BACKS_UP = "Backing up the keys to be overwritten."


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


def with_safety(restore: Restore, status: str, run: str = "succeeded", **values: object) -> Restore:
    """The safety backup as it is read in this state, and the state of its run."""
    assert restore.safety
    restore.safety.status, restore.safety.work.state = status, run
    for name, value in values.items():
        setattr(restore.safety, name, value)
    return restore


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch, restore: Restore) -> list[Any]:
    """The backups asked for."""
    found: list[Any] = []

    def create(*what: object, **how: object) -> Generation:
        found.append((what, how))
        return restore.generation

    monkeypatch.setattr(generation_start, "create_backup", create)
    return found


@pytest.mark.parametrize("seconds", [0.0, 1.0, 299.0])
def test_the_last_reads_start_five_minutes_after_the_backup(
    restore: Restore, lease: Lease, monkeypatch: pytest.MonkeyPatch, now: datetime, seconds: float
) -> None:
    monkeypatch.setattr(timing, "STALE", 300.0)
    found = with_safety(restore, "verified", finished_at=now - timedelta(seconds=seconds))
    expected = Again(300.0 - seconds, "Waiting: the last reads start five minutes after the backup.")
    assert safety_backup.back_up_first(found, lease) == expected


@pytest.mark.parametrize("seconds", [300.0, 301.0])
def test_after_them_nothing_is_waited_for(
    restore: Restore, lease: Lease, monkeypatch: pytest.MonkeyPatch, now: datetime, seconds: float
) -> None:
    monkeypatch.setattr(timing, "STALE", 300.0)
    found = with_safety(restore, "verified", finished_at=now - timedelta(seconds=seconds))
    assert safety_backup.back_up_first(found, lease) is None


def test_a_restore_that_overwrites_nothing_waits_for_nothing(restore: Restore, lease: Lease, made: list[Any]) -> None:
    restore.overwritten, restore.safety = 0, None
    assert (safety_backup.back_up_first(restore, lease), made) == (None, [])
    assert safety_backup.apart(Generation(finished_at=None)) is None


@pytest.mark.parametrize("safety", ["none", "partial"])
def test_without_a_whole_backup_another_one_is_made_of_what_they_have_in_common(
    restore: Restore, lease: Lease, made: list[Any], safety: str
) -> None:
    found = restore
    if safety == "none":
        found.safety = None
    else:
        with_safety(restore, "partial", keys=1)
    assert safety_backup.back_up_first(found, lease) == Again(timing.RETRY, BACKS_UP)
    [(what, how)] = made
    assert what == (found.namespace,)
    assert how == {
        "prefixes": ["master:a:"], "purpose": "restore", "actor": lease.actor, "person": lease.run.started_by,
        "restore": found, "exact": False,
    }  # fmt: skip
    assert Run.objects.get(pk=lease.run.pk).note == BACKS_UP


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


@pytest.mark.parametrize("error", [BackupRefused("not now"), run_driver.AlreadyOpen("not now")])
def test_a_backup_that_cannot_begin_is_tried_later(
    restore: Restore, lease: Lease, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(generation_start, "create_backup", refuse)
    gate.tampered(restore, safety=None)
    with pytest.raises(TryLater, match=r"^not now$"):
        safety_backup.back_up_first(Restore.objects.get(pk=restore.pk), lease)


@pytest.mark.parametrize(
    ("status", "run"), [("damaged", "succeeded"), ("writing", "failed"), ("writing", "stopped"), ("complete", "failed")]
)
def test_a_backup_that_failed_ends_it_and_says_which(
    restore: Restore, lease: Lease, made: list[Any], status: str, run: str
) -> None:
    found = with_safety(restore, status, run)
    with pytest.raises(RunError) as refused:
        safety_backup.back_up_first(found, lease)
    assert refused.value.code == "no_safety_backup"
    assert str(refused.value) == (
        f"The keys to overwrite could not be backed up first: see backup {found.safety_id}. Nothing was written. Try"
        " its run again, then this."
    )
    assert made == []


@pytest.mark.parametrize("status", ["writing", "complete"])
def test_a_backup_that_is_under_way_is_waited_for(restore: Restore, lease: Lease, made: list[Any], status: str) -> None:
    found = with_safety(restore, status, "running")
    assert (safety_backup.back_up_first(found, lease), made) == (Again(timing.RETRY, WAITS), [])


@pytest.mark.parametrize("keys", [0, 1])
def test_a_key_that_cannot_be_read_ends_it_and_is_named(
    restore: Restore, lease: Lease, made: list[Any], keys: int
) -> None:
    found = with_safety(restore, "partial", keys=keys)
    with gate.past_the_triggers():
        GenerationEntry.objects.filter(generation=restore.safety, index=1).update(
            outcome="unreadable", digest=None, size=None
        )
    with pytest.raises(RunError) as refused:
        safety_backup.back_up_first(found, lease)
    assert refused.value.code == "no_safety_backup"
    assert str(refused.value) == (
        "'master:a:2' could not be backed up first, because Cloudflare refuses its name. Nothing was written. Prepare"
        " another restore: it leaves this key as it is."
    )
    assert made == []


# What the writes rely on


def test_only_kept_names_of_this_backup_have_a_digest_to_rely_on(restore: Restore, request_: CleanupRequest) -> None:
    names = [Wanted(index, name, 2, "value", "planned", index, b"") for index, name in enumerate(NAMES[:2])]
    kept = dict(GenerationEntry.objects.filter(generation=restore.safety_id).values_list("name", "digest"))
    assert safety_backup.safety_digests(restore, names) == {name: bytes(kept[name] or b"") for name in NAMES[:2]}
    with gate.past_the_triggers():
        GenerationEntry.objects.filter(generation=restore.safety_id, index=1).update(
            outcome="vanished", digest=None, size=None
        )
    gate._backed_up(gate.stage_of(request_), NAMES)  # another backup has both
    assert set(safety_backup.safety_digests(restore, names)) == {NAMES[0]}
    restore.safety_id = None
    assert safety_backup.safety_digests(restore, names) == {}


@pytest.mark.parametrize(("sent", "words"), [(False, "Nothing was written."), (True, "Nothing more was written.")])
def test_the_backup_is_verified_and_in_place_before_a_write(
    restore: Restore, lease: Lease, monkeypatch: pytest.MonkeyPatch, words: str, *, sent: bool
) -> None:
    asked: list[tuple[object, ...]] = []

    def verify(*what: object) -> bool:
        asked.append(what)
        return False

    monkeypatch.setattr(presence, "verify_if_needed", verify)
    monkeypatch.setattr(presence, "insist_in_place", lambda *what: asked.append(what))
    for names in (0, 1) if sent else (0,):
        RestoreChunk.objects.create(restore=restore, number=names + 1, first_index=0, last_index=0, names=names)
    assert safety_backup.verify_if_needed(restore, lease) is False
    safety_backup.insist_in_place(restore, lease)
    assert asked == [(restore.safety, lease, words)] * 2


@pytest.mark.parametrize("safety", ["none", "partial"])
def test_without_one_nothing_is_verified(
    restore: Restore, lease: Lease, monkeypatch: pytest.MonkeyPatch, safety: str
) -> None:
    monkeypatch.setattr(presence, "verify_if_needed", lambda *_: pytest.fail("verified"))
    monkeypatch.setattr(presence, "insist_in_place", lambda *_: pytest.fail("asked for"))
    if safety == "none":
        restore.safety = None
    else:
        restore = with_safety(restore, "partial", keys=0)
    assert safety_backup.verify_if_needed(restore, lease) is True
    safety_backup.insist_in_place(restore, lease)


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
