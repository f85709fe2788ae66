"""One trial of the row `kills`: the main job with all its processes, of which some are killed at random moments."""

import sys
import time
from pathlib import Path
from random import Random

from django.db import InterfaceError, OperationalError, connection

from audit.actions import Action
from audit.models import Entry
from backups.models import CleanupStage
from kvops.models import Run
from tests.audit import flush
from tests.fakes.cloudflare import FakeCloudflare
from tests.torture import clicks, joined, verdict
from tests.torture.browser_people import BrowserPeople
from tests.torture.installation import Machine
from tests.torture.postgres_lane import LosablePostgres
from tests.torture.rows import Found
from tests.torture.trial_estate import VARIANTS, EstateTrial, JournalledBucket, main_job

KILLS = 8
ENTRIES = 80
"""How many entries the record has at least when the job is over: kills are spread over it by that."""
AT_ONCE = 1 / 3
"""How many kills do not wait for progress after the one before: they strike what is just starting again."""
KEYS = {"qa": 12, "production": 115}
"""More than production's first chunk takes."""
LATENCY = 0.03
"""Seconds before each answer of Cloudflare, so that there is something to interrupt."""


class KillLane:
    """A machine that lives on from trial to trial, and a database that is emptied before each."""

    def __init__(self, folder: Path, database: LosablePostgres) -> None:
        self._machine = Machine(folder, database)
        joined.note_leases()

    def close(self) -> None:
        """Leave nothing behind."""
        connection.close()
        self._machine.end()

    def trial(self, seed: int, number: int) -> Found:
        """Do the main job while processes are killed, and judge it."""
        chance = Random(f"{seed}/{number}")
        with FakeCloudflare() as cloudflare, JournalledBucket() as bucket:
            trial = self._begin(cloudflare, bucket, chance, number % VARIANTS)
            people = BrowserPeople(self._machine.url)
            people.start()
            try:
                found = self._machine.torment(chance, _moments(chance), clicks.over)
            finally:
                people.leave()
            found |= verdict.of_main_job(trial) | {
                "late": float(joined.late(joined.pairs(trial))),
                "resumed": float(people.resumed),
                "taken over": float(Entry.objects.filter(action=Action.RUN_TAKEN_OVER).count()),
            }
        if found["stuck"]:
            print(self._machine.said(), file=sys.stderr)
            stages = CleanupStage.objects.values("pk", "state", "returned_because")
            print(f"trial {number} did not end", *Run.objects.open().values(), *stages, sep="\n", file=sys.stderr)
            self._machine.end()
        return found

    def _begin(self, cloudflare: FakeCloudflare, bucket: JournalledBucket, chance: Random, variant: int) -> EstateTrial:
        connection.close()
        _empty_the_database()
        joined.forget_leases()
        cloudflare.latency = LATENCY
        trial = main_job(cloudflare, bucket, chance, variant, KEYS)
        self._machine.revive()
        return trial


def _moments(chance: Random) -> list[int]:
    """The entry of the record that each kill waits for."""
    moments = sorted(chance.sample(range(ENTRIES), KILLS))
    for at in range(1, KILLS):
        if chance.random() < AT_ONCE:
            moments[at] = moments[at - 1]
    return moments


def _empty_the_database() -> None:
    """Again when the processes at work were in the way."""
    for _ in range(20):
        try:
            flush.empty_the_database()
            return
        except (OperationalError, InterfaceError):
            connection.close()
            time.sleep(0.2)
    flush.empty_the_database()
