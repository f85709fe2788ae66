"""The database fails while a deletion or a copy is at work: nothing is lost, sent twice or sent in the dark."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import chain

import pytest
from django.db import InterfaceError, OperationalError

from audit import verify
from backups.generations import start as generation_start
from backups.models import CleanupStage, Generation
from kvops.models import Run
from kvops.runs import driver as run_driver
from tests import make
from tests.backups import faulty_database
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.torture import empty_estate

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = tuple(f"master:a:{number}" for number in range(8))

LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)

type Fail = Callable[[int, bool], str]


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every key is a chunk of its own."""
    for name in ("FIRST_CHUNK", "CHUNK"):
        monkeypatch.setattr(f"backups.deletion.chunks.{name}", 1)


@pytest.fixture
def deletion(estate: make.Estate, people: make.People, one_by_one: None) -> Run:
    """A deletion in QA that was just started."""
    cleanup_helpers.estate_with_masters(estate, NAMES)
    return cleanup_helpers.started(cleanup_helpers.asked(people), people)


def drive(run: Run, fail: Fail) -> int:
    """A step of the run on such a database, whatever becomes of it; how many points it passed."""
    empty_estate.fresh_budget()  # what was paid by a step that died comes back after five minutes only
    with faulty_database.Faulty(fail).hooked() as watched, suppress(OperationalError, InterfaceError):
        run_driver.drive(run.pk)
    return watched.passed


def until_over(run: Run, faults: Iterable[Fail]) -> None:
    """Step after step, each on a database that fails in another way; a person resumes what gave up."""
    for fail in faults:
        drive(run, fail)
        # The lease of a worker that could not say that it stopped runs out.
        Run.objects.filter(pk=run.pk).exclude(owner="").update(lease_until=LONG_AGO)
        Run.objects.filter(pk=run.pk).update(wake_at=None)
        run.refresh_from_db()
        if run.state == Run.State.FAILED:
            assert run.error_code == "gave_up"
            run_driver.resume(run, actor=make.SETUP)
        elif not run.is_open:
            break
    make.work()


def points() -> Iterator[int]:
    """Where a step fails: here and there while it begins, then everywhere."""
    return chain(range(1, 70, 7), range(70, 300))


def kill(number: int) -> Fail:
    """The connection is killed before this point."""

    def fail(passed: int, _writes: bool) -> str:
        if passed == number:
            faulty_database.kill_connection()
        return ""

    return fail


def full_disks(numbers: Iterable[int], outside: Callable[[], int]) -> Iterator[Fail]:
    """From each of these points on the disk is full for a step. `outside`: how many calls changed something so far."""
    for number in numbers:
        before: list[int] = []

        def fail(passed: int, writes: bool, number: int = number, before: list[int] = before) -> str:
            if passed < number or not writes:
                return ""
            before.append(outside())
            return faulty_database.FULL

        yield fail
        assert not before or outside() == before[0], f"something was sent in the dark, after point {number}"


def deleted(estate: make.Estate) -> Counter[str]:
    """How many times Cloudflare deleted each name."""
    calls = estate.cloudflare.journal
    return Counter(name for call in calls for name, value in call.deleted.items() if value is not None)


def test_a_killed_connection_loses_nothing_wherever_it_is_killed(deletion: Run, estate: make.Estate) -> None:
    until_over(deletion, map(kill, points()))
    assert deleted(estate) == dict.fromkeys(NAMES, 1)
    assert CleanupStage.objects.get(run=deletion).state == CleanupStage.State.CONFIRMED
    assert verify.verify().ok


@pytest.mark.hazard("B43")
def test_on_a_full_disk_nothing_is_deleted_and_with_room_it_goes_on(deletion: Run, estate: make.Estate) -> None:
    until_over(deletion, full_disks(points(), lambda: len(estate.cloudflare.calls("bulk_delete"))))
    assert deleted(estate) == dict.fromkeys(NAMES, 1)
    assert CleanupStage.objects.get(run=deletion).state == CleanupStage.State.CONFIRMED
    assert verify.verify().ok


@pytest.mark.hazard("B43")
def test_on_a_full_disk_nothing_is_stored_and_with_room_the_backup_is_whole(estate: make.Estate) -> None:
    for name in NAMES:
        estate.put(estate.qa, name)
    with empty_estate.small_parts(2):
        generation = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
        until_over(generation.run, full_disks(range(1, 300, 3), lambda: len(estate.s3.calls("PUT"))))
    assert Generation.objects.get().status == Generation.Status.VERIFIED
    assert verify.verify().ok
