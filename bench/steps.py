"""The steps of a bench: real runs with the real clients, each driven to its end in this process."""

import os
import time
from collections.abc import Callable
from itertools import batched
from unittest import mock

from django.db import connection

from audit import log
from backups import policy
from backups.generations import start as generation_start
from backups.models import Generation
from bench import bucket, checks, stage
from bench.fakes import ACCOUNTS, NAMESPACES, PREFIX
from bench.pages import estate as pages_estate, filling as pages_filling
from kvops.inventory import merge as inventory_merge, scan as inventory_scan
from kvops.models import Category, Environment, Family, Namespace, Run
from kvops.runs import driver as run_driver

ACTOR = log.Actor.system("bench")
SLUGS = ("bench", "bench2")
type Measured = dict[str, float]


def setup() -> Measured:
    """An environment of one namespace, whose keys are legacy; a second one for two workers at once."""
    for order, (slug, account, namespace) in enumerate(zip(SLUGS, ACCOUNTS, NAMESPACES, strict=True), 1):
        environment = Environment.objects.create(
            slug=slug,
            name=slug.title(),
            order=order,
            production=False,
            account_id=account,
            read_token="env:BENCH_READ_TOKEN",
            write_token="env:BENCH_WRITE_TOKEN",
            api_base_url=os.environ["BENCH_API"],
            r2_endpoint=os.environ["BENCH_S3"],
            r2_bucket=os.environ["BENCH_BUCKET"],
            r2_access_key_id="env:BENCH_R2_KEY",
            r2_secret_access_key="env:BENCH_R2_SECRET",
            key_template="{environment}/backups",
        )
        # Bindings of their own, so that neither waits for the other.
        binding = "SETTINGS" if order == 1 else "OTHER"
        Namespace.objects.create(
            environment=environment, binding=binding, namespace_id=namespace, title="bench-settings"
        )
        Family.objects.create(binding=binding, pattern=PREFIX, category=Category.LEGACY, owner="bench", expiry="none")
    policy.Policy.in_force().keep(policy.text_in_force(), log.Actor.system("bench"))
    return {}


def scan() -> Measured:
    """List the namespace and merge it into the inventory; the seconds of the listing, of its staging, of the merge."""
    listing: list[float] = []
    staging: list[float] = []
    merge: list[float] = []
    with (
        mock.patch.object(inventory_scan, "_list", _timed(inventory_scan._list, listing)),
        mock.patch.object(inventory_merge, "stage_keys", _timed(inventory_merge.stage_keys, staging)),
        mock.patch.object(inventory_merge, "analyze", _timed(inventory_merge.analyze, merge)),
        mock.patch.object(inventory_merge, "merge", _timed(inventory_merge.merge, merge)),
    ):
        whole = _drive(inventory_scan.start_scan(_namespace(), actor=ACTOR, foreground=True).run)
    return {**whole, "listing": sum(listing), "staging": sum(staging), "merge": sum(merge)}


def copy() -> Measured:
    """COPY the rows of the inventory into a table with the same columns, constraints and indexes, names in order."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE bench_key (LIKE kvops_key INCLUDING ALL)")
        cursor.execute("SELECT namespace_id, name, family_id, category, first_seen_id FROM kvops_key ORDER BY name")
        rows = [f"{'\t'.join(map(str, row))}\n" for row in cursor.fetchall()]
        columns = "namespace_id, name, family_id, category, first_seen_id"
        begun = time.perf_counter()
        with cursor.copy(f"COPY bench_key ({columns}) FROM STDIN") as copying:
            for block in batched(rows, 1000):
                copying.write("".join(block))
        seconds = time.perf_counter() - begun
        cursor.execute("DROP TABLE bench_key")
    return {"seconds": seconds}


def backup() -> Measured:
    """Copy all keys to the bucket."""
    started = generation_start.start_backup(_namespace(), prefixes=[PREFIX], actor=ACTOR, foreground=True)
    return _drive(started.run)


def verify() -> Measured:
    """Read the newest copy back."""
    return _drive(generation_start.start_verification(Generation.objects.latest("pk"), actor=ACTOR, foreground=True))


STEPS: dict[str, Callable[[], Measured]] = {
    "setup": setup,
    "scan": scan,
    "copy": copy,
    "backup": backup,
    "verify": verify,
    "prepare": stage.prepare,
    "submit": stage.submit,
    "delete": stage.delete,
    "reconcile": bucket.reconcile,
    "look": bucket.look,
    "pages": bucket.pages,
    "verify_masters": checks.verify_masters,
    "build_pages": pages_estate.build,
    "fill_pages": pages_filling.fill,
    "clean_up": pages_estate.clean_up,
}


def _namespace() -> Namespace:
    return Namespace.objects.get(environment__slug=os.environ.get("BENCH_SLUG", SLUGS[0]))


def _drive(run: Run) -> Measured:
    begun = time.perf_counter()
    for _ in run_driver.drive_to_the_end(run):
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
