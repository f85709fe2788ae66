"""The people, environments and families of both installations, and a clean-up by the product's own functions."""

import os
import time
from datetime import timedelta

from django.db.models import F
from django.db.models.functions import Now

from audit import log
from backups import policy
from backups.cleanup import preparation, requests as cleanup_requests, sharing
from backups.models import CleanupStage
from bench.fakes import ACCOUNTS, NAMESPACES, PREFIX
from kvops.inventory import scan as inventory_scan
from kvops.models import Category, Environment, Family, Heartbeat, Namespace, Person, Role, Run
from kvops.runs import driver as run_driver
from kvops.supervision import heartbeats
from tests import make, searched

ACTOR = log.Actor.system("bench")
FAMILIES = {
    "clinic:id:": (Category.LEGACY, "none", 20),
    "clinic:summary:": (Category.CACHE, "ttl:604800", 15),
    "facility-skills:": (Category.CACHE, "regenerate:regenerate", 10),
    "facility:": (Category.LEGACY, "none", 10),
    PREFIX: (Category.CACHE, "ttl:2592000", 30),
    "staff:": (Category.LEGACY, "none", 10),
}
"""Each family with its category, its expiry and its share of the keys in percent. The rest has no family."""
SECRETS = ("api-key:", "mail:")
"""Families of settings, with a few keys each."""


def build() -> dict[str, float]:
    """QA and production with the same binding, and a small namespace that the fakes serve too."""
    for name, role in ("operator", Role.OPERATOR), ("reviewer", Role.REVIEWER), ("auditor", Role.AUDITOR):
        make.person(name, role)
    for number in range(20):
        Person.objects.create(name=f"Colleague{number:02}", email=f"colleague{number:02}@example.com")
    for order, slug in enumerate(("qa", "production"), 1):
        environment = _environment(slug, order)
        Namespace.objects.create(
            environment=environment, binding="SETTINGS", namespace_id=str(order + 4) * 32, title=f"{slug}-settings"
        )
        if order == 1:
            Namespace.objects.create(
                environment=environment, binding="OTHER", namespace_id=NAMESPACES[0], title="bench-other"
            )
    for pattern, (category, expiry, _percent) in FAMILIES.items():
        hours = {} if category == Category.CACHE else {"interval_hours": 48, "grace_hours": 48}
        Family.objects.create(
            binding="SETTINGS", pattern=pattern, category=category, owner="bench", expiry=expiry, **hours
        )
    for pattern in SECRETS:
        Family.objects.create(
            binding="SETTINGS", pattern=pattern, category=Category.SETTINGS, owner="bench", expiry="none"
        )
    Family.objects.create(binding="OTHER", pattern=PREFIX, category=Category.CACHE, owner="bench", expiry="ttl:3600")
    policy.Policy.in_force().keep(policy.text_in_force(), ACTOR)
    return {}


def _environment(slug: str, order: int) -> Environment:
    return Environment.objects.create(
        slug=slug,
        name=slug.title() if order == 2 else "QA",
        order=order,
        production=order == 2,
        account_id=ACCOUNTS[order - 1],
        read_token="env:BENCH_READ_TOKEN",
        write_token="env:BENCH_WRITE_TOKEN",
        api_base_url=os.environ["BENCH_API"],
        r2_endpoint=os.environ["BENCH_S3"],
        r2_bucket=os.environ["BENCH_BUCKET"],
        r2_access_key_id="env:BENCH_R2_KEY",
        r2_secret_access_key="env:BENCH_R2_SECRET",
        key_template="{environment}/backups",
    )


def clean_up() -> dict[str, float]:
    """A clean-up of the small namespace, up to the request that waits for the reviewer."""
    namespace = Namespace.objects.get(binding="OTHER")
    operator = Person.objects.get(name="Operator")
    begun = time.perf_counter()
    for _ in run_driver.drive_to_the_end(inventory_scan.start_scan(namespace, actor=ACTOR, foreground=True).run):
        pass
    cleanup = cleanup_requests.request(binding="OTHER", prefix=PREFIX, reason="a measurement", by=operator)
    stage = CleanupStage.objects.get(request=cleanup)
    preparation.freeze_stage(stage, by=operator)
    preparation.prepare_stage(CleanupStage.objects.get(pk=stage.pk), by=operator)
    _work(stage, CleanupStage.State.VERIFIED)
    searched.once(namespace.environment)
    stage = CleanupStage.objects.get(pk=stage.pk)
    sharing.state(stage, place="bench", by=operator)
    cleanup_requests.submit(stage, by=operator)
    for name in "sweep", "worker", "canary":
        heartbeats.beat(name)
    Heartbeat.objects.update(at=Now() + timedelta(days=1))
    return {"seconds": time.perf_counter() - begun}


def _work(stage: CleanupStage, until: CleanupStage.State) -> None:
    """Do the newest open runs until the stage is there. Raises SystemExit."""
    while CleanupStage.objects.get(pk=stage.pk).state != until:
        run = Run.objects.open().filter(owner="").order_by(F("wake_at").asc(nulls_first=True), "-pk").first()
        if run is None:
            failed = Run.objects.failed().order_by("-pk")[:5]
            raise SystemExit([f"{run.get_kind_display()}: {run.error}" for run in failed])
        run_driver.drive(run.pk)
