"""A verification reads a backup part by part over steps, and its end is one of verified, damaged and not whole."""

# ruff: noqa: F811  # pytest gives the fixture by its name
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db.models.functions import Now

from audit.models import Entry as AuditEntry
from backups.bucket.store import ObjectInfo, ObjectMissing
from backups.generations import announcements, verification
from backups.generations.verification import NotAsWritten, ReadBack
from backups.models import Generation, StoredObject
from kvops import clock, timing
from kvops.models import Environment, Run
from kvops.runs import lease as run_lease
from kvops.runs.lease import Lease
from kvops.runs.outcomes import RunError
from tests.gate import world as gate
from tests.gate.test_reading_back import Written, backup, fresh  # noqa: F401
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db


class Store:
    """The bucket of a backup that tells the size and the ETag of each object that is opened."""

    def __init__(self, written: Written) -> None:
        self.written = written
        self.opened: list[str] = []

    def open(self, key: str, *, seen: Callable[[ObjectInfo], object]) -> Iterator[bytes]:
        self.opened.append(key)
        body = self.written.objects.get(key)
        if body is None:
            raise ObjectMissing(key)
        seen(info(key, body))
        yield body


def info(key: str, body: bytes) -> ObjectInfo:
    return ObjectInfo(key, len(body), gate.etag(body), clock.now())


@pytest.fixture
def lease(world: GateWorld, backup: Written) -> Lease:
    """The right to the run of the verification."""
    run = Run.objects.create(
        kind=Run.Kind.VERIFY, subject=f"generation:{backup.generation.pk}", label="x", actor="tests",
        environment=world.qa.environment, total=3,
    )  # fmt: skip
    found = run_lease.take(run.pk)
    assert found
    return found


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The messages about damage."""
    found: list[tuple[Any, ...]] = []

    def damaged(generation: Generation, *, found_by: Run) -> None:
        found.append((generation.pk, generation.problem, found_by.pk))

    monkeypatch.setattr(announcements, "damaged", damaged)
    return found


def reading(backup: Written, lease: Lease, *, within: bool = False) -> ReadBack:
    return ReadBack(fresh(backup.generation), lease, Store(backup), within_another_run=within)  # type: ignore[arg-type]


def run_of(lease: Lease) -> Run:
    return Run.objects.get(pk=lease.run.pk)


def damage(backup: Written) -> str:
    """Another value in the second part; returns the sentence."""
    part = backup.manifest.parts[1]
    backup.objects[part.key] = backup.objects[part.key].replace(b"{}", b"[]")
    return part.key


def test_a_backup_that_is_as_written_is_verified(
    backup: Written,
    lease: Lease,
    told: list[Any],
) -> None:
    started = Generation.objects.values_list("verified_at", flat=True).get(pk=backup.generation.pk)
    assert (reading(backup, lease).step(), started) == (True, None)
    generation, run = fresh(backup.generation), run_of(lease)
    assert (generation.status, generation.problem, generation.verified_at is None) == ("verified", "", False)
    assert (run.state, run.done, run.cursor["next"]) == ("succeeded", 3, 3)
    assert run.result == {"generation": generation.pk, "status": "verified", "problem": ""}
    entry = AuditEntry.objects.get(action="generation.verified")
    assert (entry.actor, entry.digest) == (lease.actor.text, generation.manifest_sha256)
    assert (entry.subject, entry.environment) == (f"generation:{generation.pk}", "qa")
    assert (entry.details, told, run.note) == ({"keys": 3, "problem": ""}, [], "")


def test_every_object_is_remembered_as_it_was_read(backup: Written, lease: Lease) -> None:
    reading(backup, lease).step()
    found = {row.key: (row.written_size, row.written_etag) for row in StoredObject.objects.all()}
    assert found == {key: (len(body), gate.etag(body)) for key, body in backup.objects.items()}
    assert {(row.generation_id, row.status, row.environment_id) for row in StoredObject.objects.all()} == {
        (backup.generation.pk, "known", backup.generation.environment_id)
    }


def test_a_note_on_an_object_that_is_known_already_stays(backup: Written, lease: Lease) -> None:
    key = backup.manifest.parts[0].key
    body = backup.objects[key]
    long_ago = Now() - timedelta(days=9)
    row = StoredObject.objects.create(
        environment=backup.generation.environment, key=key, generation=backup.generation, status="known",
        size=len(body), etag="x", written_size=len(body), written_etag=gate.etag(body), seen_at=long_ago,
    )  # fmt: skip
    reading(backup, lease).step()
    row.refresh_from_db()
    assert row.seen_at
    assert (row.etag, clock.now() - row.seen_at > timedelta(days=8)) == ("x", True)


@pytest.mark.parametrize("other", ["size", "etag", "status", "environment", "generation"])
def test_an_object_that_is_known_otherwise_is_remembered_anew(
    world: GateWorld,
    backup: Written,
    lease: Lease,
    other: str,
) -> None:
    key = backup.manifest.parts[0].key
    body = backup.objects[key]
    environment = backup.generation.environment
    changes: dict[str, dict[str, Any]] = {
        "size": {"written_size": 1}, "etag": {"written_etag": "y"}, "status": {"status": "unknown"},
        "environment": {"environment": Environment.objects.get(slug="production")},
        "generation": {"generation": gate._backed_up(gate.frozen(gate.stage_of(gate.asked(world))), gate.NAMES)},
    }  # fmt: skip
    StoredObject.objects.create(
        **{
            "environment": environment, "key": key, "generation": backup.generation, "status": "known",
            "size": 1, "etag": "x", "written_size": len(body), "written_etag": gate.etag(body), "seen_at": Now(),
            **changes[other],
        }
    )  # fmt: skip
    reading(backup, lease).step()
    row = StoredObject.objects.get(environment=environment, key=key)
    assert (row.written_size, row.written_etag, row.etag) == (len(body), gate.etag(body), gate.etag(body))
    assert (row.status, row.generation_id) == ("known", backup.generation.pk)


def test_a_step_that_is_over_goes_on_with_the_next_part(
    backup: Written,
    lease: Lease,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    since = clock.now()
    monkeypatch.setattr("kvops.clock.now", lambda: since)
    monkeypatch.setattr(type(lease), "tired", True)
    assert reading(backup, lease).step() is False
    run = run_of(lease)
    assert run.cursor == {"next": 2, "since": since.isoformat(), "before": "complete"}
    assert (run.done, run.note, run.state) == (2, "Part 1 is as written.", "running")
    assert StoredObject.objects.filter(key=backup.manifest.parts[0].key).exists()
    assert fresh(backup.generation).status == "complete"
    bucket: Any = Store(backup)
    assert ReadBack(fresh(backup.generation), lease, bucket).step() is False
    assert backup.manifest.parts[0].key not in bucket.opened
    assert backup.manifest.parts[1].key in bucket.opened
    assert (run_of(lease).cursor["next"], run_of(lease).done) == (3, 3)
    assert reading(backup, lease).step() is True


@pytest.mark.parametrize(("seconds", "first"), [(-60, 2), (60, 1)])
def test_earlier_parts_count_for_a_day(
    backup: Written,
    lease: Lease,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
    first: int,
) -> None:
    now = clock.now()
    monkeypatch.setattr("kvops.clock.now", lambda: now)
    since = now - timedelta(seconds=timing.VERIFIED_FRESH + seconds)
    lease.run.cursor = {"next": 2, "since": since.isoformat(), "before": "damaged"}
    found = reading(backup, lease)._at
    assert (found["next"], found["since"]) == (first, (since if first == 2 else now).isoformat())
    assert found["before"] == ("damaged" if first == 2 else "complete")


def test_exactly_a_day_still_counts(
    backup: Written,
    lease: Lease,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = clock.now()
    monkeypatch.setattr("kvops.clock.now", lambda: now)
    since = now - timedelta(seconds=timing.VERIFIED_FRESH)
    lease.run.cursor = {"next": 2, "since": since.isoformat(), "before": "complete"}
    assert reading(backup, lease)._at["next"] == 2


def test_a_backup_that_is_not_as_written_is_damaged(
    backup: Written,
    lease: Lease,
    told: list[Any],
) -> None:
    key = damage(backup)
    assert reading(backup, lease).step() is True
    generation, run = fresh(backup.generation), run_of(lease)
    assert (generation.status, generation.verified_at, generation.problem.startswith(key)) == ("damaged", None, True)
    found = {"problem": generation.problem, "problem_sentence": generation.problem_sentence}
    assert run.result == {"generation": generation.pk, "status": "damaged", **found}
    assert told == [(generation.pk, generation.problem, run.pk)]
    entry = AuditEntry.objects.get(action="generation.damaged")
    assert (entry.actor, entry.digest) == (lease.actor.text, generation.manifest_sha256)
    assert entry.details == {"keys": 3, "problem": generation.problem}
    assert not StoredObject.objects.filter(key=key).exists()


def test_an_object_that_is_gone_is_damage_with_its_reason(
    backup: Written,
    lease: Lease,
    monkeypatch: pytest.MonkeyPatch,
    told: list[Any],
) -> None:
    def compared(_self: object, _number: int) -> Iterator[tuple[int, int]]:
        raise NotAsWritten("w" * 1200)
        yield

    monkeypatch.setattr(verification.StoredBackup, "compared", compared)
    assert reading(backup, lease).step() is True
    assert fresh(backup.generation).problem == "w" * 1000


@pytest.mark.parametrize("exception", verification.WRONG)
def test_each_error_of_the_stored_backup_is_damage(
    backup: Written,
    lease: Lease,
    monkeypatch: pytest.MonkeyPatch,
    told: list[Any],
    exception: type[Exception],
) -> None:
    def compared(_self: object, _number: int) -> Iterator[tuple[int, int]]:
        raise exception("wrong")
        yield

    monkeypatch.setattr(verification.StoredBackup, "compared", compared)
    assert reading(backup, lease).step() is True
    assert fresh(backup.generation).status == "damaged"


def tamper(backup: Written, status: str) -> None:
    gate.tampered(backup.generation, status=status, verified_at=Now() - timedelta(days=2))


def test_a_verified_backup_is_verified_again(backup: Written, lease: Lease) -> None:
    tamper(backup, "verified")
    reading(backup, lease).step()
    generation = fresh(backup.generation)
    assert generation.verified_at
    assert (generation.status, clock.now() - generation.verified_at < timedelta(days=1)) == ("verified", True)
    assert AuditEntry.objects.get(action="generation.verified").details == {"keys": 3, "problem": ""}


def test_a_verified_backup_that_is_damaged_now_keeps_when_it_was_verified(
    backup: Written,
    lease: Lease,
    told: list[Any],
) -> None:
    tamper(backup, "verified")
    damage(backup)
    reading(backup, lease).step()
    generation = fresh(backup.generation)
    assert generation.verified_at
    assert (generation.status, clock.now() - generation.verified_at > timedelta(days=1)) == ("damaged", True)
    assert len(told) == 1


def test_a_damaged_backup_heals_by_a_verification_that_began_after_it(
    backup: Written,
    lease: Lease,
    told: list[Any],
) -> None:
    tamper(backup, "damaged")
    gate.tampered(backup.generation, problem="gone", verify_run=lease.run)
    reading(backup, lease).step()
    generation = fresh(backup.generation)
    assert (generation.status, generation.problem, told) == ("verified", "", [])
    details = AuditEntry.objects.get(action="generation.verified").details
    assert details == {"keys": 3, "problem": "", "before": "damaged"}


def test_a_damaged_backup_that_is_damaged_still_is_not_told_again(
    backup: Written,
    lease: Lease,
    told: list[Any],
) -> None:
    tamper(backup, "damaged")
    damage(backup)
    reading(backup, lease).step()
    assert (fresh(backup.generation).status, told) == ("damaged", [])
    assert "before" not in AuditEntry.objects.get(action="generation.damaged").details


@pytest.mark.parametrize(
    ("began", "status"), [("complete", "damaged"), ("verified", "deleted"), ("damaged", "deleted"),
                          ("complete", "partial")],
)  # fmt: skip
def test_a_backup_that_was_damaged_or_deleted_meanwhile_is_not_verified(
    backup: Written,
    lease: Lease,
    began: str,
    status: str,
) -> None:
    gate.tampered(backup.generation, status=began, verified_at=Now())
    found = reading(backup, lease)
    with gate.past_the_triggers():
        Generation.objects.filter(pk=backup.generation.pk).update(
            status=status, **({"deleted_at": Now()} if status == "deleted" else {})
        )
    with pytest.raises(RunError) as refused:
        found.step()
    assert (refused.value.code, str(refused.value)) == ("not_whole", verification.NOT_WHOLE)
    assert (fresh(backup.generation).status, run_of(lease).state) == (status, "running")


# Within another run


def test_within_another_run_its_place_is_kept_beside_that_run_s_own(
    backup: Written,
    lease: Lease,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    since = clock.now()
    monkeypatch.setattr("kvops.clock.now", lambda: since)
    lease.run.cursor = {"phase": "begin", "next": 9, "since": since.isoformat()}
    with monkeypatch.context() as patch:
        patch.setattr(type(lease), "tired", True)
        assert reading(backup, lease, within=True).step() is False
    place = {"next": 2, "since": since.isoformat(), "before": "complete"}
    assert run_of(lease).cursor == {"phase": "begin", "next": 9, "since": since.isoformat(), "read_back": place}
    assert (run_of(lease).done, run_of(lease).note) == (0, "Part 1 is as written.")
    assert reading(backup, lease, within=True)._at == place
    assert reading(backup, lease, within=True).step() is True
    run = run_of(lease)
    assert (run.state, run.cursor) == ("running", {"phase": "begin", "next": 9, "since": since.isoformat()})
    assert (run.result, lease.over, fresh(backup.generation).status) == ({}, False, "verified")


def test_a_verification_is_in_a_run_of_its_own_if_nothing_else_is_said(
    backup: Written,
    lease: Lease,
) -> None:
    store: Any = Store(backup)
    assert ReadBack(fresh(backup.generation), lease, store).within_another_run is False


def test_the_lease_is_kept_while_it_reads(
    backup: Written,
    lease: Lease,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept: list[object] = []
    monkeypatch.setattr(lease, "keep", lambda: kept.append(None))
    reading(backup, lease).step()
    assert len(kept) == len(backup.objects)


def test_when_it_was_read(backup: Written, lease: Lease) -> None:
    before = clock.now()
    found = datetime.fromisoformat(reading(backup, lease)._at["since"])
    assert before <= found <= clock.now()
