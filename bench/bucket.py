"""The steps of the bench of storage: listing a bucket, looking for the newest manifest, and the page of objects."""

import time
from datetime import timedelta
from unittest import mock

from django.db.models.functions import Now
from django.test import Client

from audit import log
from backups.bucket import listing as bucket_listing, newest_manifest, reconcile as bucket_reconcile
from backups.models import Generation, StoredObject
from bench.objects import name
from kvops.models import Environment, Namespace, Person, Role, Run
from kvops.runs import driver as run_driver
from tests import make
from tests.signing import signed_in

ACTOR = log.Actor.system("bench")
TIMES = 20
"""How often a page is asked for; the slowest but one counts."""
type Measured = dict[str, float]


def reconcile() -> Measured:
    """List the bucket and settle the difference; the seconds of all, and of settling."""
    settling: list[float] = []
    real = bucket_listing.settle

    def settle(run: Run, **more: object) -> dict[str, int]:
        begun = time.perf_counter()
        try:
            return real(run, **more)  # type: ignore[arg-type]
        finally:
            settling.append(time.perf_counter() - begun)

    begun = time.perf_counter()
    with mock.patch.object(bucket_listing, "settle", settle):
        run = bucket_reconcile.start(_environment(), actor=ACTOR, foreground=True)
        for _ in run_driver.drive_to_the_end(run):
            pass
    if run.state != Run.State.SUCCEEDED:
        raise SystemExit(f"The run {run.get_state_display()}: {run.error}")
    return {"seconds": time.perf_counter() - begun, "settling": sum(settling), "objects": StoredObject.objects.count()}


def look() -> Measured:
    """Look for the newest manifest where copies are known that lie at the end of what the bucket holds."""
    with log.transaction():
        run = run_driver.create(
            Run.Kind.BACKUP, subject="bench", label="bench", actor=ACTOR, environment=_environment()
        )
    for number in range(newest_manifest.TRIES):
        stem = name(10**12 - 10 + number).removesuffix(".json")
        _copy(stem, run if number == 0 else _another(run, number))
    begun = time.perf_counter()
    newest_manifest.compare_newest_manifest(_environment())
    return {"seconds": time.perf_counter() - begun}


def _another(run: Run, number: int) -> Run:
    return Run.objects.create(kind=run.kind, subject=f"bench{number}", label="bench", actor="bench")


def _copy(stem: str, run: Run) -> None:
    made = Generation.objects.create(
        environment=_environment(), namespace=Namespace.objects.filter(environment=_environment())[0],
        prefixes=["master:"], category="legacy", run=run, actor="bench", bucket=_environment().r2_bucket, stem=stem,
        started_at=Now() - timedelta(days=9), retain_until=Now() + timedelta(days=30),
    )  # fmt: skip
    Generation.objects.filter(pk=made.pk).update(
        status="complete", finished_at=Now() - timedelta(days=9), manifest_key=f"{stem}.manifest.json",
        manifest_sha256="0" * 64, digest_root="0" * 64,
    )  # fmt: skip


def pages() -> Measured:
    """Milliseconds of the page of objects: its beginning, a filter, deep inside, and the overview with the alarm."""
    person = Person.objects.filter(name="Auditor").first() or make.person("auditor", Role.AUDITOR)
    browser = signed_in(person)
    middle = StoredObject.objects.filter(key__gte=name(StoredObject.objects.count() // 2)).order_by("key")[0].pk
    addresses = {
        "first": "/storage/", "wrong": "/storage/?status=wrong", "deep": f"/storage/?after={middle}",
        "prefix": f"/storage/?environment=bench&prefix={name(7)[:-6]}", "overview": "/",
    }  # fmt: skip
    return {what: _milliseconds(browser, address) for what, address in addresses.items()}


def _milliseconds(browser: Client, address: str) -> float:
    taken = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        answer = browser.get(address, headers={"Host": "localhost"})
        taken.append((time.perf_counter() - begun) * 1000)
        if answer.status_code != 200:
            raise SystemExit(f"{address} answered {answer.status_code}.")
    return sorted(taken)[-2]


def _environment() -> Environment:
    return Environment.objects.get(slug="bench")
