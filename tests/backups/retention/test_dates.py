"""The dates of retention under every clock: no copy is due before its 14 days, whenever and wherever one looks."""

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings, strategies as some

from backups.models import Generation
from backups.retention.decide import BackupFacts, Hold, Rule, State, Successors, decide
from kvops.models import Run
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.retention.requesting import expired, now, started

AT_LEAST = timedelta(days=14)
MOMENTS = some.datetimes(datetime(2026, 1, 1), datetime(2045, 1, 1), timezones=some.timezones())  # noqa: DTZ001  (with zones)
PREFIX = some.sampled_from(["", "a:", "a:b:", "c:"])
RULES = [Rule(1, "S", "a:", exact=False, days=30), Rule(2, "S", "a:b:", exact=False, days=14)]


@some.composite
def backups(draw: some.DrawFn) -> BackupFacts:
    at = draw(some.none() | MOMENTS)
    kept = draw(MOMENTS)
    return BackupFacts(
        pk=draw(some.integers(1, 10**6)),
        namespace=1,
        binding="S",
        prefixes=tuple(draw(some.sets(PREFIX, min_size=1))),
        patterns=(),
        purpose=draw(some.sampled_from(["routine", "masters"])),
        verified=draw(some.booleans()),
        finished_at=at,
        retain_until=kept if at is None else max(kept, at + AT_LEAST),
    )


@settings(max_examples=500, deadline=None)
@given(some.lists(backups(), max_size=8, unique_by=lambda backup: backup.pk), MOMENTS, some.integers(-24, 24))
def test_nothing_is_due_before_its_date_or_as_the_newest(found: list[BackupFacts], moment: datetime, skew: int) -> None:
    at = moment + timedelta(hours=skew)
    successors = Successors(backup for backup in found if backup.verified)
    for verdict in decide(found, RULES, successors, {}, at):
        if verdict.state != State.DUE:
            continue
        backup = verdict.backup
        assert backup.finished_at is not None
        assert at.astimezone(UTC) >= backup.finished_at.astimezone(UTC) + AT_LEAST
        for prefix in backup.prefixes:
            assert any(
                other.verified and other.pk > backup.pk and other.purpose == backup.purpose and prefix.startswith(start)
                for other in found
                for start in other.prefixes
            )


@settings(max_examples=200, deadline=None)
@given(backups(), MOMENTS)
def test_whatever_is_held_stays(backup: BackupFacts, moment: datetime) -> None:
    newer = BackupFacts(
        10**7, 1, "S", ("",), (), backup.purpose, verified=True, finished_at=moment, retain_until=moment
    )
    (verdict,) = decide([backup], RULES, Successors([newer]), {backup.pk: [Hold("x")]}, moment)
    assert verdict.state != State.DUE


@pytest.mark.django_db
@pytest.mark.parametrize("hours", [-24, -1, 1, 24])
def test_a_clock_that_is_not_the_buckets_deletes_nothing(estate: make.Estate, people: make.People, hours: int) -> None:
    (old,) = expired(estate, 40)
    prune = started(estate, people)
    estate.s3.dates = lambda: time.time() + hours * 3600
    make.work()
    assert estate.s3.calls("DELETE") == []
    assert Run.objects.get(kind="prune").error_code == "clock_skew"
    estate.s3.dates = time.time
    run_driver.resume(Run.objects.get(kind="prune"), actor=make.SETUP)
    make.work()
    assert (Generation.objects.get(pk=old.pk).status, now(prune).deleted) == ("deleted", 1)
