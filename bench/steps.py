"""The steps of a bench: real runs with the real clients, each driven to its end in this process."""

import os
import time
from collections.abc import Callable
from unittest import mock

from audit import log
from backups import generations
from backups.models import Generation
from bench.fakes import NAMESPACE, PREFIX
from kvops import inventory, merging, runs
from kvops.models import Category, Environment, Family, Namespace, PolicyVersion, Run

ACTOR = log.Actor.system("bench")
type Measured = dict[str, float]


def setup() -> Measured:
    """One environment with one namespace, whose keys are legacy."""
    environment = Environment.objects.create(
        slug="bench",
        name="Bench",
        order=1,
        production=False,
        account_id=os.environ["BENCH_ACCOUNT"],
        read_token="env:BENCH_READ_TOKEN",
        api_base_url=os.environ["BENCH_API"],
        r2_endpoint=os.environ["BENCH_S3"],
        r2_bucket=os.environ["BENCH_BUCKET"],
        r2_access_key_id="env:BENCH_R2_KEY",
        r2_secret_access_key="env:BENCH_R2_SECRET",
    )
    Namespace.objects.create(
        environment=environment, binding="SETTINGS", namespace_id=NAMESPACE, title="bench-settings"
    )
    Family.objects.create(binding="SETTINGS", pattern=PREFIX, category=Category.LEGACY, owner="bench", expiry="none")
    PolicyVersion.objects.create(number=1, digest="0" * 64, definition="{}", applied_by="bench")
    return {}


def scan() -> Measured:
    """List the namespace and merge it into the inventory; `merge` is the part of the seconds the merge took."""
    seconds: list[float] = []
    with mock.patch.object(merging, "merge", _timed(merging.merge, seconds)):
        whole = _drive(inventory.start_scan(Namespace.objects.get(), actor=ACTOR, foreground=True).run)
    return {**whole, "merge": sum(seconds)}


def backup() -> Measured:
    """Copy all keys to the bucket."""
    started = generations.start_backup(Namespace.objects.get(), prefixes=[PREFIX], actor=ACTOR, foreground=True)
    return _drive(started.run)


def verify() -> Measured:
    """Read the newest copy back."""
    return _drive(generations.start_verification(Generation.objects.latest("pk"), actor=ACTOR, foreground=True))


STEPS: dict[str, Callable[[], Measured]] = {"setup": setup, "scan": scan, "backup": backup, "verify": verify}


def _drive(run: Run) -> Measured:
    begun = time.perf_counter()
    for _ in runs.drive_to_the_end(run):
        pass
    if run.state != Run.State.SUCCEEDED:
        raise SystemExit(f"The run {run.get_state_display()}: {run.error}")
    return {"seconds": time.perf_counter() - begun, "keys": run.done}


def _timed[**P, R](act: Callable[P, R], seconds: list[float]) -> Callable[P, R]:
    def timed(*args: P.args, **kwargs: P.kwargs) -> R:
        begun = time.perf_counter()
        try:
            return act(*args, **kwargs)
        finally:
            seconds.append(time.perf_counter() - begun)

    return timed
