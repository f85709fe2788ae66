"""A process dies, or is paused, where it matters most. `make torture` tries everywhere: rows `crashes_*`, `stops`."""

from random import Random

import pytest

from tests.fakes.cloudflare import FakeCloudflare
from tests.torture import crashes, lanes, trial_estate, trials, verdict
from tests.torture.rows import Found
from tests.torture.trial_estate import JournalledBucket


@pytest.fixture
def found(transactional_db: None) -> dict[str, Found]:
    """What was found out, by where it was."""
    ended = dict(lanes.trials("tests.torture.trials.chosen", 1, range(len(trials.CHOSEN)), lanes=len(trials.CHOSEN)))
    return {f"{trial.__name__} {at}": ended[number] for number, (trial, at) in enumerate(trials.CHOSEN)}


@pytest.mark.hazard("B31", "B33")
def test_nothing_is_lost_or_done_twice_wherever_a_process_dies_or_is_paused(found: dict[str, Found]) -> None:
    informing = ("fenced", "taken over", "deaths", "stops")
    wrong = {at: {name for name, count in one.items() if count and name not in informing} for at, one in found.items()}
    assert {at: names for at, names in wrong.items() if names} == {}
    assert found["stop_at delete.http.bulk_delete#1.before"]["fenced"]


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
