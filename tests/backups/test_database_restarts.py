"""Postgres dies while a deletion is at work, and is started again: a server of the test's own."""

from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from threading import Lock

import pytest
from django.core.management import call_command
from django.db import InterfaceError, OperationalError, connection

from audit import verify
from backups.models import CleanupStage
from kvops import env
from kvops.models import Run
from kvops.runs import driver as run_driver
from tests import judge, make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.http import Request
from tests.fakes.s3 import FakeS3
from tests.torture.postgres_lane import LosablePostgres

pytestmark = pytest.mark.django_db(transaction=True)

NAMES = tuple(f"master:a:{number}" for number in range(6))


@pytest.fixture
def database(transactional_db: None, tmp_path: Path) -> Iterator[LosablePostgres]:
    """A Postgres of our own with our tables, in place of the database at hand."""
    tmp_path.chmod(0o755)  # the account that Postgres is lent to passes through
    mine = LosablePostgres(tmp_path / "postgres")
    before = dict(connection.settings_dict)
    facts = env.database("URL", {"URL": mine.start()})
    connection.close()
    connection.settings_dict.update({name: facts[name] for name in ("HOST", "PORT", "USER", "PASSWORD", "NAME")})
    try:
        call_command("migrate", verbosity=0)
        yield mine
    finally:
        connection.close()
        connection.settings_dict.update(before)
        mine.lose(violently=False)


@pytest.fixture
def estate(database: LosablePostgres) -> Iterator[make.Estate]:
    """QA and production in that database. The fakes are not the tests' usual ones: these are judged here."""
    with FakeCloudflare() as cloudflare, FakeS3() as s3:
        made = make.estate(cloudflare, s3)
        make.policy()
        yield cleanup_helpers.estate_with_masters(made, NAMES)


class Deaths:
    """Kills Postgres while the first call of each of these routes is handled."""

    def __init__(self, database: LosablePostgres, cloudflare: FakeCloudflare, *routes: str) -> None:
        self.left = list(routes)
        self._database = database
        self._at_it = Lock()
        self._down = False
        for route in routes:
            cloudflare.hook(route, partial(self._die, route))

    def _die(self, route: str, _request: Request) -> None:
        with self._at_it:
            if route in self.left:
                self.left.remove(route)
                self._database.lose(violently=True)
                self._down = True

    def over(self) -> None:
        """Start it again if it was killed."""
        with self._at_it:
            connection.close()
            if self._down:
                self._database.start()
            self._down = False


def drive(run: Run, deaths: Deaths) -> None:
    """A step, whatever becomes of it; a lease that nobody could give back runs out."""
    with suppress(OperationalError, InterfaceError):
        run_driver.drive(run.pk)
    deaths.over()
    Run.objects.filter(pk=run.pk).exclude(owner="").update(lease_until=datetime(2000, 1, 1, tzinfo=UTC))
    Run.objects.filter(pk=run.pk).update(wake_at=None)


def test_postgres_is_killed_during_a_read_and_during_a_delete_and_the_deletion_goes_on(
    database: LosablePostgres, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.deletion.chunks.FIRST_CHUNK", 2)
    people = make.everybody()
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    deaths = Deaths(database, estate.cloudflare, "bulk_get", "bulk_delete")
    while deaths.left:
        drive(run, deaths)
    make.work()
    calls = estate.cloudflare.journal
    assert Counter(name for call in calls for name, value in call.deleted.items() if value) == dict.fromkeys(NAMES, 1)
    assert CleanupStage.objects.get(run=run).state == CleanupStage.State.CONFIRMED
    assert verify.verify().ok
    assert not judge.problems(calls, judge.approved_sets(estate.s3.objects))
