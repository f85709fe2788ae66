"""Before a delete, every object of the backup is in the bucket as it was written, and was verified within a day."""

from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.db.models.functions import Now

from backups.bucket.store import StoreUnavailable
from backups.deletion import mandate as deletion_mandate, run as deletion_run
from backups.execution import presence, revalidation
from backups.models import Generation, StoredObject
from kvops import clock, timing
from kvops.models import Environment, Run
from kvops.runs.outcomes import Again, RunError, TryLater
from tests.gate import world as gate
from tests.gate.executing import Bucket, Kv, chunk_of

pytestmark = pytest.mark.django_db


def refusal(mine: deletion_run._Deletion, kv: Kv) -> RunError:
    """Why nothing is sent."""
    with pytest.raises(RunError) as refused:
        mine.delete()
    assert (kv.asked, kv.sent) == ([], [])
    return refused.value


OBJECTS = (".json", ".json.digests", ".RESTORE.md", ".manifest.json")
WRONG: dict[str, tuple[Callable[[bytes], bytes | None], str]] = {
    "gone": (lambda _: None, "is gone."),
    "cut off": (lambda body: body[:-1], "is another object."),
    "replaced": (lambda body: body[::-1], "is another object."),
}


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("suffix", OBJECTS)
def test_nothing_is_deleted_when_an_object_is_not_as_it_was_written(
    mine: deletion_run._Deletion, bucket: Bucket, kv: Kv, suffix: str, wrong: str
) -> None:
    key, (change, why) = mine.generation.stem + suffix, WRONG[wrong]
    bucket.instead[key] = change(gate.written(key))
    problem = refusal(mine, kv)
    assert problem.code == "backup_gone"
    assert str(problem) == (
        f"Backup {mine.generation.pk} is not in its bucket as it was written: {key} {why} Nothing was deleted. Find"
        " out who changed the bucket. If the objects can be put back, verify the backup and try again."
    )


@pytest.mark.parametrize("column", ["written_size", "written_etag"])
def test_size_and_etag_are_each_compared(mine: deletion_run._Deletion, kv: Kv, column: str) -> None:
    StoredObject.objects.filter(key=f"{mine.generation.stem}.json").update(**{column: 1})
    assert f"{mine.generation.stem}.json is another object." in str(refusal(mine, kv))


def test_the_manifest_is_compared_by_its_digest(mine: deletion_run._Deletion, kv: Kv) -> None:
    gate.tampered(mine.generation, manifest_sha256="0" * 64)
    mine.generation.refresh_from_db()
    problem = presence.not_in_place(mine.generation, Bucket(), mine.lease)  # type: ignore[arg-type]
    assert problem == f"{mine.generation.manifest_key} is another manifest."


def test_an_object_whose_etag_is_not_known_proves_nothing(mine: deletion_run._Deletion, kv: Kv) -> None:
    StoredObject.objects.filter(key=f"{mine.generation.stem}.RESTORE.md").update(written_etag="")
    assert f"written: the ETag of {mine.generation.stem}.RESTORE.md is not known. Nothing" in str(refusal(mine, kv))


def test_an_object_of_another_environment_proves_nothing(mine: deletion_run._Deletion, kv: Kv) -> None:
    other = Environment.objects.exclude(pk=mine.stage.environment_id).get()
    StoredObject.objects.filter(key=f"{mine.generation.stem}.json").update(environment=other)
    assert f"the ETag of {mine.generation.stem}.json is not known." in str(refusal(mine, kv))


def test_after_something_was_sent_it_says_that_nothing_more_was_deleted(
    mine: deletion_run._Deletion, bucket: Bucket, kv: Kv
) -> None:
    chunk_of(mine, "settled")
    bucket.instead[mine.generation.manifest_key] = None
    assert "is gone. Nothing more was deleted." in str(refusal(mine, kv))


def test_every_object_is_asked_for_once_before_the_reads(mine: deletion_run._Deletion, bucket: Bucket, kv: Kv) -> None:
    kv.during_read = lambda: before.extend(bucket.asked)
    before: list[str] = []
    mine.lease.run.cursor = {"phase": "delete", "most": 2}
    mine.delete()
    manifest = mine.generation.manifest_key
    once = [*mine.generation.every_object(), f"content of {manifest}"]
    assert (bucket.asked, before[: len(once)], len(kv.sent)) == (once, once, 2)


@pytest.mark.parametrize(("late", "asked"), [(-60, False), (60, True)])
def test_they_are_asked_for_again_after_a_quarter_of_an_hour(
    mine: deletion_run._Deletion, bucket: Bucket, late: int, asked: bool
) -> None:
    at = clock.now() - timedelta(seconds=timing.CHECK_PAUSE + late)
    mine.lease.run.cursor = {"phase": "delete", "derived_at": at.isoformat()}
    mine.delete()
    assert bool(bucket.asked) == asked


def test_they_are_asked_for_again_after_every_resume(mine: deletion_run._Deletion, bucket: Bucket) -> None:
    cursor = {"phase": "begin", "derived_at": clock.now().isoformat(), "read_back": {"next": 2}}
    gate.tampered(mine.lease.run, state="queued", owner="", lease_until=None, cursor=cursor)
    revalidation.forget(mine.lease.run)
    assert Run.objects.get(pk=mine.lease.run.pk).cursor == {"phase": "begin"}


def test_the_lease_is_kept_between_them(mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[object] = []
    monkeypatch.setattr(mine.lease, "keep", lambda: kept.append(None))
    presence.insist_in_place(mine.generation, mine.lease, "")
    assert len(kept) == len(mine.generation.every_object())


def test_a_store_that_does_not_answer_delays_it(mine: deletion_run._Deletion, bucket: Bucket, kv: Kv) -> None:
    bucket.refuses = StoreUnavailable("not now")
    with pytest.raises(TryLater, match="not now"):
        mine.delete()
    assert (kv.asked, kv.sent) == ([], [])


@pytest.mark.parametrize("column", ["r2_endpoint", "account_id"])
def test_a_bucket_of_the_same_name_elsewhere_proves_nothing(
    mine: deletion_run._Deletion, monkeypatch: pytest.MonkeyPatch, kv: Kv, column: str
) -> None:
    monkeypatch.setattr(deletion_mandate, "insist_as_approved", lambda *_: None)
    setattr(mine.generation.environment, column, "another")
    problem = refusal(mine, kv)
    assert (problem.code, "Give the environment its bucket back" in str(problem)) == ("store", True)


# A verification that is older than a day


def long_ago(mine: deletion_run._Deletion, hours: float = 24.1) -> None:
    gate.tampered(mine.generation, verified_at=Now() - timedelta(hours=hours))
    mine.generation.refresh_from_db(fields=["verified_at"])


@pytest.mark.parametrize(("hours", "old"), [(23.9, False), (24.1, True)])
def test_a_verification_counts_for_a_day(mine: deletion_run._Deletion, hours: float, *, old: bool) -> None:
    long_ago(mine, hours)
    assert presence.verified_long_ago(mine.generation) == old


def test_a_backup_without_a_verification_is_not_relied_on(mine: deletion_run._Deletion) -> None:
    assert presence.verified_long_ago(Generation(verified_at=None))


def test_a_run_that_waited_for_a_day_begins_anew_and_keeps_its_starts(mine: deletion_run._Deletion, kv: Kv) -> None:
    long_ago(mine)
    Run.objects.filter(pk=mine.lease.run.pk).update(starts=2, tries=3)
    mine.lease.run.starts, mine.lease.run.tries = 2, 3
    assert (mine.delete(), kv.asked, kv.sent) == (None, [], [])
    assert Run.objects.get(pk=mine.lease.run.pk).cursor == {"phase": "begin", "starts": 1, "tries": 3}


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """What the steps of a verification within the run say, in order; and D1 and Cloudflare, which find no fault."""
    found: list[bool] = []

    class Reading:
        def __init__(self, generation: Generation, lease: object, store: object, *, within_another_run: bool) -> None:
            self.generation = generation
            assert lease
            assert store
            assert within_another_run

        def step(self) -> bool:
            if over := found.pop(0):
                Generation.objects.filter(pk=self.generation.pk, status="verified").update(verified_at=Now())
            return over

    monkeypatch.setattr(presence, "ReadBack", Reading)
    monkeypatch.setattr("backups.bucket.protection.ask_cloudflare", lambda *_: None)
    monkeypatch.setattr("backups.integrity.start.recheck", lambda *_: SimpleNamespace(outcome="passed"))
    return found


def test_an_old_backup_is_verified_before_anything_else(mine: deletion_run._Deletion, steps: list[bool]) -> None:
    long_ago(mine)
    steps += [False, True]
    assert mine.begin() == Again()
    assert not mine.lease.over
    assert mine.begin() is None
    assert (steps, presence.verified_long_ago(mine.generation)) == ([], False)


def test_a_fresh_backup_with_known_etags_is_not_verified_again(mine: deletion_run._Deletion, steps: list[bool]) -> None:
    assert (mine.begin(), steps) == (None, [])


@pytest.mark.parametrize("suffix", OBJECTS)
def test_a_backup_with_an_unknown_etag_is_verified_again(
    mine: deletion_run._Deletion, steps: list[bool], suffix: str
) -> None:
    StoredObject.objects.filter(key=mine.generation.stem + suffix).update(written_etag="")
    steps += [False]
    assert (mine.begin(), steps) == (Again(), [])


def test_a_backup_that_is_found_damaged_ends_it(mine: deletion_run._Deletion, steps: list[bool]) -> None:
    long_ago(mine)
    steps += [True]
    mine._insist_verified = lambda: None  # type: ignore[method-assign]  # damaged by the verification itself
    gate.tampered(mine.generation, status="damaged", problem="An object is gone.")
    with pytest.raises(RunError) as refused:
        mine.begin()
    assert refused.value.code == "backup_damaged"
    assert str(refused.value) == (
        f"Backup {mine.generation.pk} was verified again and is damaged. An object is gone. Nothing was deleted. If"
        " its objects can be put back, verify it and try again."
    )


def test_a_damaged_backup_is_not_even_read(mine: deletion_run._Deletion, steps: list[bool]) -> None:
    gate.tampered(mine.generation, status="damaged")
    with pytest.raises(RunError, match=r"^The backup is no longer verified\. Nothing more is sent\.$"):
        mine.begin()
