"""Backups of any age for the tests of retention, made past the product, along the arrows of their docstring."""

from collections.abc import Sequence
from datetime import timedelta
from hashlib import md5, sha256

from django.db.models.functions import Now

from backups.bucket import access as bucket_access
from backups.bucket.store import ObjectInfo
from backups.models import Generation, GenerationPart
from kvops import clock
from kvops.models import Namespace, Run
from tests.fakes.s3 import FakeS3

SHA = "0" * 64


def backup_of_age(
    namespace: Namespace,
    days: float,
    *,
    prefixes: Sequence[str] = ("master:",),
    status: str = "verified",
    purpose: str = "routine",
    patterns: Sequence[str] = (),
    s3: FakeS3 | None = None,
    keys: int = 1,
) -> Generation:
    """A copy that was finished so many days ago; with a bucket, its objects are there."""
    at = Now() - timedelta(days=days)
    run = Run.objects.create(
        kind="backup", subject=f"x:{Run.objects.count()}", label="x", state="succeeded", finished_at=at
    )
    made = Generation.objects.create(
        environment=namespace.environment,
        namespace=namespace,
        prefixes=list(prefixes),
        patterns=list(patterns),
        category="legacy",
        purpose=purpose,
        source="d1" if purpose == "masters" else "",
        run=run,
        bucket=namespace.environment.r2_bucket,
        stem=f"{namespace.environment.slug}/backups/kv/x/{run.pk}",
        started_at=at,
        retain_until=at + timedelta(days=14),
        keys=keys,
    )
    key = f"{made.stem}.json"
    GenerationPart.objects.create(
        generation=made,
        number=1,
        object_key=key,
        size=2,
        keys=0,
        first_index=0,
        last_index=0,
        stored=[{"key": key, "digests_key": f"{key}.digests", "size": 2}],
    )
    if s3:
        stored = dict.fromkeys(made.every_object()[:-1], b"[]") | {f"{made.stem}.manifest.json": b"{}"}
        s3.objects |= stored
        written = [ObjectInfo(name, len(body), md5(body).hexdigest(), clock.now()) for name, body in stored.items()]
        bucket_access.remember(made, written)
    mine = Generation.objects.filter(pk=made.pk)
    for step in {"verified": ("complete", "verified"), "damaged": ("complete", "damaged")}.get(status, (status,)):
        if step in {"complete", "partial"}:
            manifest = {
                "manifest_key": f"{made.stem}.manifest.json",
                "manifest_sha256": sha256(b"{}").hexdigest(),
                "digest_root": SHA,
            }
            mine.update(status=step, finished_at=at, vanished=int(step == "partial"), **manifest)
        elif step != "writing":
            mine.update(status=step, verified_at=at)
    return mine.select_related("environment", "namespace").get()
