"""The judge that joins calls with the record says so when they do not belong together."""

from collections.abc import Iterator
from dataclasses import replace
from random import Random

import pytest
from django.db import connection

from kvops import timing
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.fakes.cloudflare import FakeCloudflare
from tests.torture import joined
from tests.torture.trial_estate import EstateTrial, JournalledBucket, main_job


@pytest.fixture
def trial(db: None) -> Iterator[EstateTrial]:
    """Three keys of QA, deleted in two calls."""
    with FakeCloudflare() as cloudflare, JournalledBucket() as bucket:
        made = main_job(cloudflare, bucket, Random(1), 0, {"qa": 3, "production": 0})
        cleanup_helpers.scan(made.estate.qa, made.estate.production)
        joined.note_leases()
        cleanup_helpers.confirmed(cleanup_helpers.asked(made.people), made.people)
        yield made


def moved(trial: EstateTrial, seconds: float) -> list[joined.Pair]:
    """The calls as if they had arrived so much later."""
    trial.asked[:] = [replace(call, at=call.at + seconds) for call in trial.asked]
    return joined.pairs(trial)


def test_a_call_belongs_to_the_intent_before_it_and_the_settlement_after(trial: EstateTrial) -> None:
    found = joined.pairs(trial)
    assert (len(found), joined.unmatched(found), joined.unsettled(), joined.late(found)) == (2, 0, 0, 0)


def test_a_call_before_its_intent_is_unmatched(trial: EstateTrial) -> None:
    assert joined.unmatched(moved(trial, -3600)) == 2


def test_a_call_after_its_settlement_is_unmatched(trial: EstateTrial) -> None:
    assert joined.unmatched(moved(trial, 3600)) == 2


def test_a_call_of_other_names_than_were_intended_is_unmatched(trial: EstateTrial) -> None:
    trial.asked[0] = replace(trial.asked[0], names=("another",))
    assert joined.unmatched(joined.pairs(trial)) == 1


def test_a_call_after_the_deadline_of_its_lease_is_late(trial: EstateTrial) -> None:
    assert joined.late(moved(trial, timing.TRUST + timing.REQUEST_TIMEOUT + 1)) == 2


def test_a_call_after_another_worker_took_the_run_over_is_late(trial: EstateTrial) -> None:
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO torture_lease SELECT run, epoch + 99, min(at) FROM torture_lease GROUP BY 1, 2")
    assert joined.late(joined.pairs(trial)) == 2
