"""Where a trial takes place: an empty estate with its own fakes and people, and children that work on it."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random
from urllib.parse import unquote, urlsplit

import psycopg
from django.db import connection, connections

from kvops import timing
from tests import keys as age_keys, make
from tests.backups.changes import helpers as change_helpers
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.http import Request
from tests.fakes.s3 import FakeS3, S3Answer
from tests.torture import lanes
from tests.torture.boundaries import PID
from tests.torture.clear_job import PREFIX
from tests.torture.forked_workers import Children, End, Order

CHANGING = ("bulk_delete", "bulk_put", "put_value", "delete_value", "delete_namespace")
KEYS = {"qa": 3, "production": 5}
"""Keys in each; a child's first chunk holds 3, and production's is followed by a pause."""
PATIENCE = 900.0
"""Seconds after which a child is given up that neither works nor finds that it is stuck."""
VARIANTS = 3
"""What else happens in a trial of the main job, by its number: see `main_job`."""
OTHERS = ("system-root", "mastercache:x")
"""Keys that no approval is about."""

_TOKENS = ("QA_READ", "QA_WRITE", "PRODUCTION_READ", "PRODUCTION_WRITE", "TEST_R2_KEY", "TEST_R2_SECRET")
COMMIT = "c" * 40
"""Of the code that runs in each environment."""
GONE, DIFFERENT = 2, 2
"""Names of production, the first of each kind."""


@dataclass(frozen=True)
class Asked:
    """A call that changes something, as it arrived: by which process, and about which names."""

    at: float
    pid: int
    route: str
    namespace: str
    names: tuple[str, ...] = ()


class JournalledBucket(FakeS3):
    """A fake bucket that knows when which process put what."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Asked] = []

    def put(self, key: str, body: bytes, headers: Mapping[str, str]) -> S3Answer:
        """PutObject."""
        self.asked.append(Asked(time.time(), int(headers.get(PID.lower(), 0)), "put", key))
        return super().put(key, body, headers)


@dataclass
class EstateTrial:
    """One estate with everything that was asked of it.

    `written`: what must be there at the end besides, by slug and name: mostly what somebody wrote again.
    """

    estate: make.Estate
    bucket: JournalledBucket
    people: make.People
    names: Mapping[str, Sequence[str]]
    asked: list[Asked] = field(default_factory=list)
    written: dict[tuple[str, str], bytes] = field(default_factory=dict)

    @property
    def cloudflare(self) -> FakeCloudflare:
        """Its Cloudflare."""
        return self.estate.cloudflare


type Scene = Callable[[FakeCloudflare, JournalledBucket, Random], EstateTrial]
"""Makes the estate of a trial in an empty database."""


class Stand:
    """A lane's place for trials, one after the other."""

    def __init__(self, folder: Path, *, database: str, base: str) -> None:
        self.folder, self.database, self._base = folder, database, base
        self._server_url = os.environ["DATABASE_URL"]
        # A process that is paused in a transaction holds rows that others need. Scaled like all durations.
        limit = f"-c idle_in_transaction_session_timeout={int(1000 * timing.REQUEST_TIMEOUT)}"
        connections["default"].settings_dict["OPTIONS"]["options"] = limit
        self.children = Children()

    def close(self) -> None:
        """End what was started."""
        self.children.close()
        connection.close()

    @contextmanager
    def trial(self, seed: str, scene: Scene) -> Iterator[EstateTrial]:
        """A fresh estate for one trial."""
        connection.close()
        with psycopg.connect(_beside(self._server_url, "postgres"), autocommit=True) as server:
            lanes.create(server, self.database, self._base)
        connections["default"].settings_dict["NAME"] = self.database
        with FakeCloudflare() as cloudflare, JournalledBucket() as bucket:
            try:
                made = scene(cloudflare, bucket, Random(seed))
                connection.close()  # which a child would share
                yield made
            finally:
                self.children.kill_all()
                connection.close()

    def child(self, job: str, *, at: Sequence[str] = (), signal: int = 9, record: str = "", struck: str = "") -> int:
        """A process that works on a job; see Order."""
        env = {key: os.environ[key] for key in _TOKENS}
        log = str(self.folder / "children.log")
        return self.children.fork(
            Order(job, self.database, env, log, at=at, signal=signal, record=record, struck=struck)
        )

    def to_the_end(self, pid: int) -> End:
        """Wait for a child until it ends or stops."""
        return self.children.wait(pid, PATIENCE)


def _beside(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()


def set_up(
    cloudflare: FakeCloudflare, bucket: JournalledBucket, random: Random, keys: Mapping[str, int]
) -> EstateTrial:
    """People and an estate in an empty database, and so many keys in each environment."""
    people = make.everybody()
    estate = make.estate(cloudflare, bucket)
    make.policy()
    generation_helpers.dataset()
    names = {slug: _names(random, count) for slug, count in keys.items()}
    for slug, mine in names.items():
        cloudflare.code(make.ACCOUNTS[slug]).project("site", {"SETTINGS": make.NAMESPACES[slug]}, COMMIT)
        cleanup_helpers.fill(estate, *mine, slugs=[slug])
        for name in OTHERS:
            estate.put(getattr(estate, slug), name, b"stays")
    trial = EstateTrial(estate, bucket, people, names)
    for route in CHANGING:
        cloudflare.hook(route, partial(_note, trial, route))
    return trial


def _names(random: Random, count: int) -> list[str]:
    return sorted(f"master:{random.choice('abc')}:{number}" for number in random.sample(range(10**6), count))


def _note(trial: EstateTrial, route: str, request: Request) -> None:
    namespace, _, below = request.path.split("/namespaces/")[1].partition("/")
    if route.startswith("bulk"):
        names = [one if isinstance(one, str) else one["key"] for one in json.loads(request.body)]
    else:
        names = [unquote(below.partition("values/")[2])]
    trial.asked.append(Asked(time.time(), int(request.headers.get(PID, 0)), route, namespace, tuple(names)))


def main_job(
    cloudflare: FakeCloudflare, bucket: JournalledBucket, random: Random, variant: int, keys: Mapping[str, int] = KEYS
) -> EstateTrial:
    """The same, and what else is to happen, so that the main job goes other ways.

    0: one name of QA's chunk is not deleted everywhere. 1: so too, and a name of production that is gone is written
    again with another value. 2: the answer to QA's delete is lost, and a value of production changes before its delete.
    """
    trial = set_up(cloudflare, bucket, random, keys)
    production = trial.names["production"]
    if variant == 2:
        trial.cloudflare.fault("bulk_delete", "effect_then_reset")
        name = random.choice(production)
        # A deletion asks for the namespace's title before anything else.
        trial.cloudflare.hook("namespace", lambda request: _write_again(trial, request, name))
        return trial
    trial.cloudflare.fault("bulk_delete", "partial", names=[random.choice(trial.names["qa"])])
    if variant == 1:
        name = random.choice(production)
        trial.cloudflare.hook("keys", lambda request: _write_again(trial, request, name, once_gone=True))
    return trial


def _write_again(trial: EstateTrial, request: Request, name: str, *, once_gone: bool = False) -> None:
    """Somebody writes a name of production, once."""
    namespace = trial.estate.production.namespace_id
    gone = trial.cloudflare.namespace(namespace).get(name) is None
    if namespace in request.path and gone == once_gone and not trial.written:
        trial.written["production", name] = b'{"written": "again"}'
        trial.cloudflare.put(namespace, name, trial.written["production", name])


def lost(cloudflare: FakeCloudflare, bucket: JournalledBucket, random: Random) -> EstateTrial:
    """An estate whose production was copied and then changed past the product."""
    trial = set_up(cloudflare, bucket, random, {"qa": 0, "production": 5})
    estate, names = trial.estate, trial.names["production"]
    restore_helpers.verified_backup(estate.production)
    restore_helpers.wipe(estate, estate.production, *names[:GONE])
    for name in names[GONE : GONE + DIFFERENT]:
        estate.put(estate.production, name, b"written by mistake")
    cloudflare.fault("bulk_put", "effect_then_reset")
    return trial


def lost_alone(cloudflare: FakeCloudflare, bucket: JournalledBucket, random: Random) -> EstateTrial:
    """An estate of whose production a key is gone that is written by itself: its metadata is no object."""
    trial = set_up(cloudflare, bucket, random, {"qa": 0, "production": 5})
    estate, name = trial.estate, trial.names["production"][0]
    estate.put(estate.production, name, cleanup_helpers.master(name), metadata="[1]")
    restore_helpers.verified_backup(estate.production)
    restore_helpers.wipe(estate, estate.production, name)
    cloudflare.fault("put_value", "effect_then_reset")
    return trial


def settings_key(cloudflare: FakeCloudflare, bucket: JournalledBucket, random: Random) -> EstateTrial:
    """An estate with a key of settings, which QA is to change and production keeps."""
    trial = set_up(cloudflare, bucket, random, {"qa": 0, "production": 2})
    age_keys.encrypt()
    change_helpers.ready(trial.estate)
    trial.written["qa", change_helpers.KEY] = change_helpers.NEW
    trial.written["production", change_helpers.KEY] = change_helpers.OLD
    cloudflare.fault("put_value", "effect_then_reset")
    return trial


def old_pages(cloudflare: FakeCloudflare, bucket: JournalledBucket, random: Random) -> EstateTrial:
    """An estate whose QA has keys of a cache without an expiration, and one that expires."""
    trial = set_up(cloudflare, bucket, random, {"qa": 0, "production": 2})
    names = sorted(f"{PREFIX}{number}" for number in random.sample(range(10**6), 5))
    cleanup_helpers.fill(trial.estate, *names, slugs=["qa"])
    trial.estate.put(trial.estate.qa, f"{PREFIX}expires", b"stays", expiration=4_000_000_000)
    trial.written["qa", f"{PREFIX}expires"] = b"stays"
    cloudflare.fault("bulk_delete", "effect_then_reset")
    return replace(trial, names={**trial.names, "qa": names})


def cached(cloudflare: FakeCloudflare, bucket: JournalledBucket, random: Random) -> EstateTrial:
    """An estate whose QA has four keys of a cache without an expiration, scanned."""
    trial = set_up(cloudflare, bucket, random, {"qa": 0, "production": 0})
    for letter in "abcd":
        trial.estate.put(trial.estate.qa, f"mastercache:{letter}", letter.encode(), metadata='{"v":1}')
    cleanup_helpers.scan(trial.estate.qa)
    cloudflare.fault("bulk_put", "effect_then_reset")
    return trial
