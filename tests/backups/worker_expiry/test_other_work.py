"""A Worker and KVOps' own deletions and writes of the same family do not work at the same time."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from backups.changes.bulk import requests as bulk_requests
from backups.cleanup import requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused
from backups.clearing import rounds as clearing_rounds
from backups.clearing.refusals import ClearingRefused
from backups.models import WorkerRound
from backups.restores.moves import RestoreRefused
from kvops import clock, timing
from kvops.models import Environment, Run
from tests import make
from tests.backups.changes.bulk import helpers as bulk_helpers
from tests.backups.changes.bulk.helpers import PREFIX
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.clearing import helpers as clearing_helpers
from tests.backups.worker_expiry import helpers
from tests.backups.worker_expiry.helpers import SignedWorker
from tests.gate import world as gate

pytestmark = pytest.mark.django_db
WRITING = "A Worker may still write keys of the same family: /clearing/worker/"


@pytest.fixture
def worker(estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch) -> SignedWorker:
    """The Worker of three keys that a scan saw."""
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    monkeypatch.setattr(timing, "STALE", 0.05)
    bulk_helpers.ready(estate)
    return helpers.worker(estate.qa, people, monkeypatch)


# The Worker waits


@pytest.mark.parametrize("state", ["deleting", "deleted"])
@pytest.mark.parametrize("asked_before", [False, True])
def test_a_worker_gets_a_no_while_keys_of_its_family_are_deleted(
    worker: SignedWorker, people: make.People, state: str, asked_before: bool
) -> None:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people, PREFIX), people)
    if asked_before:
        assert worker.ask() == "yes"
    gate.tampered(stage, state=state, run=Run.objects.earliest("pk"))
    assert worker.ask() == "no"
    assert f"A deletion of the same family is under way: /cleanup/stages/{stage.pk}/" in worker.kept.shown_reason


def test_a_deletion_of_another_family_keeps_no_worker_waiting(worker: SignedWorker, people: make.People) -> None:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people, bulk_helpers.MARKED), people)
    gate.tampered(stage, state="deleting", run=Run.objects.earliest("pk"))
    assert worker.ask() == "yes"


@pytest.mark.parametrize(
    ("values", "answer"),
    [
        ({"state": "writing", "finished_at": None}, "no"),
        ({"state": "done", "finished_at": Now() - timedelta(seconds=timing.WORKER_SEES - 20)}, "no"),
        ({"state": "done", "finished_at": Now() - timedelta(seconds=timing.WORKER_SEES + 1)}, "yes"),
        ({"state": "ended", "finished_at": Now()}, "yes"),
    ],
)
def test_a_worker_gets_a_no_while_keys_of_its_family_are_written_and_a_minute_longer(
    worker: SignedWorker, estate: make.Estate, people: make.People, values: dict[str, object], answer: str
) -> None:
    restore = bulk_helpers.done(estate.qa, people)
    gate.tampered(restore, **values)
    assert worker.ask() == answer
    waits = f"Keys of the same family are written, or were within a minute: /changes/bulk/{restore.pk}/"
    assert (waits in worker.kept.shown_reason) == (answer == "no")


def test_a_write_of_another_family_keeps_no_worker_waiting(
    worker: SignedWorker, estate: make.Estate, people: make.People
) -> None:
    gate.tampered(bulk_helpers.done(estate.qa, people, bulk_helpers.MARK), state="writing", finished_at=None)
    assert worker.ask() == "yes"


# The Worker goes first


def clean_up(estate: make.Estate, people: make.People) -> Callable[[], object]:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people, PREFIX), people)
    return lambda: cleanup_requests.start_deletion(stage, by=people.operator)


def clear(estate: make.Estate, people: make.People) -> Callable[[], object]:
    clearing = clearing_helpers.rule(estate.qa, people)
    clearing_helpers.approve(clearing, people)
    return lambda: clearing_rounds.start(clearing, by=people.operator)


def change(estate: make.Estate, people: make.People) -> Callable[[], object]:
    restore = bulk_helpers.approved(bulk_helpers.prepared(estate.qa, people), people)
    return lambda: bulk_requests.start(restore, by=people.operator)


@pytest.mark.parametrize(
    ("ready", "refusal"), [(clean_up, CleanupRefused), (clear, ClearingRefused), (change, RestoreRefused)]
)
def test_nothing_starts_while_a_worker_may_write_keys_of_the_family(
    worker: SignedWorker,
    estate: make.Estate,
    people: make.People,
    ready: Callable[[make.Estate, make.People], Callable[[], object]],
    refusal: type[Exception],
) -> None:
    start = ready(estate, people)
    assert worker.ask() == "yes"
    with pytest.raises(refusal, match=f"{WRITING}{worker.rule.pk}/"):
        start()


@pytest.mark.parametrize(("since", "waits"), [(timing.WORKER_QUIET - 30, True), (timing.WORKER_QUIET + 1, False)])
def test_a_round_that_is_over_counts_until_its_last_yes_is_over_and_seen(
    worker: SignedWorker, estate: make.Estate, people: make.People, since: float, waits: bool
) -> None:
    worker.ask()
    worker.end(0)
    assert worker.followed().state == Run.State.SUCCEEDED
    WorkerRound.objects.update(heard_at=clock.now() - timedelta(seconds=since))
    assert WorkerRound.objects.may_write(estate.qa, worker.rule.family).exists() == waits


def test_a_worker_that_got_a_no_keeps_nothing_waiting(
    worker: SignedWorker, estate: make.Estate, people: make.People
) -> None:
    assert worker.ask(rule="0" * 64) == "no"
    clean_up(estate, people)()


# The allowed hours


def close(estate: make.Estate) -> None:
    """The environment allows other hours: those of the day after tomorrow."""
    day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][(clock.now() + timedelta(days=2)).weekday()]
    Environment.objects.filter(pk=estate.qa.environment_id).update(hours="01:00-02:00", days=day)


def test_outside_the_allowed_hours_no_round_begins(worker: SignedWorker, estate: make.Estate) -> None:
    close(estate)
    assert worker.ask() == "no"
    assert "keys are changed only within the allowed hours (01:00-02:00" in worker.kept.shown_reason


def test_a_round_that_began_within_the_allowed_hours_goes_on(worker: SignedWorker, estate: make.Estate) -> None:
    assert worker.ask() == "yes"
    close(estate)
    assert worker.ask() == "yes"
