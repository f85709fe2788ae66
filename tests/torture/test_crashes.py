"""A process dies, or is paused, where it matters most. `make torture` tries everywhere: rows `crashes_*`, `stops`."""

from random import Random

import pytest
from pytest_django import DjangoDbBlocker

from tests.fakes.cloudflare import FakeCloudflare
from tests.torture import crashes, lanes, trial_estate, trials, verdict
from tests.torture.rows import Found
from tests.torture.trial_estate import JournalledBucket

pytestmark = pytest.mark.timeout(1800)  # the first test's, whose set-up plays them all
LANES = 3
"""A lane takes seconds to start; with more, starting them takes longer than the leases they wait for."""


@pytest.fixture(scope="module")
def found(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> dict[int, Found]:
    """What every trial found out, by its number: side by side, because each waits for leases most of its time.

    Asked for before a test fills the database, so it is empty.
    """
    every = range(len(trials.CHOSEN))
    with django_db_blocker.unblock():
        return dict(lanes.trials("tests.torture.trials.tested", 1, every, lanes=LANES))


@pytest.mark.hazard("B31", "B33")
def test_nothing_is_lost_or_done_twice_wherever_a_process_dies_or_is_paused(found: dict[int, Found]) -> None:
    chosen = {f"{trial.__name__} {at}": found[number] for number, (trial, at) in enumerate(trials.CHOSEN)}
    informing = ("fenced", "taken over", "deaths", "stops")
    wrong = {at: {name for name, count in one.items() if count and name not in informing} for at, one in chosen.items()}
    assert {at: names for at, names in wrong.items() if names} == {}
    assert chosen["stop_at delete.http.bulk_delete#1.before"]["fenced"]


@pytest.mark.django_db(transaction=True)
def test_the_verdict_on_a_restore_tells_what_was_not_restored_and_what_was_written_past_the_product() -> None:
    with FakeCloudflare() as cloudflare, JournalledBucket() as bucket:
        trial = trial_estate.lost(cloudflare, bucket, Random(1))
        assert verdict.of_restore(trial)["keys lost"] == trial_estate.GONE + trial_estate.DIFFERENT
        assert verdict.of_restore(trial)["stuck"] == 1


@pytest.mark.parametrize(
    ("passed", "unmet"), [("scan.commit.kvops_run#1.after", 0), ("scan.commit.kvops_run#1.before", 1), ("other", 1)]
)
def test_a_place_passed_by_the_clock_must_have_been_reached_at_some_count(passed: str, unmet: int) -> None:
    rare, once = "scan.commit.kvops_run#14.after", "check.http.list#2.sent"
    found = {f"boundary {passed}": 1.0, f"boundary {rare}": 1.0, f"rare {rare}": 1.0, f"rare {once}": 1.0}
    figures = {figure.name: figure.value for figure in crashes.figures([found | {"boundaries": 3.0}], whole=1)}
    assert figures["boundaries not reached"] == unmet
    assert figures["boundaries that not every run of the job passes"] == 2 - unmet
