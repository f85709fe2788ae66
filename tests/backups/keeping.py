"""Copies of any age for the tests of retention, made past the product, along the arrows of their docstring."""

from collections.abc import Sequence
from datetime import timedelta

from django.db.models.functions import Now

from backups.models import Generation
from kvops.models import Namespace, Run

SHA = "0" * 64


def copy(
    namespace: Namespace,
    days: float,
    *,
    prefixes: Sequence[str] = ("master:",),
    status: str = "verified",
    purpose: str = "routine",
    patterns: Sequence[str] = (),
) -> Generation:
    """A copy that was finished so many days ago."""
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
        run=run,
        bucket=namespace.environment.r2_bucket,
        stem=f"{namespace.environment.slug}/backups/kv/x/{run.pk}",
        started_at=at,
        retain_until=at + timedelta(days=14),
    )
    mine = Generation.objects.filter(pk=made.pk)
    for step in {"verified": ("complete", "verified"), "damaged": ("complete", "damaged")}.get(status, (status,)):
        if step in {"complete", "partial"}:
            manifest = {"manifest_key": f"{made.stem}.manifest.json", "manifest_sha256": SHA, "digest_root": SHA}
            mine.update(status=step, finished_at=at, vanished=int(step == "partial"), **manifest)
        elif step != "writing":
            mine.update(status=step, verified_at=at)
    return mine.select_related("environment", "namespace").get()
