"""The evidence of a prune request, derived from stored rows only, so that the executor can derive it again."""

from collections.abc import Iterable

from backups import policy
from backups.models import Generation, PruneEntry, PruneRequest
from kvops.approvals import evidence
from kvops.models import Environment
from kvops.wording import several

FORMAT = 1
"""The version of the rules that derive this evidence; it is part of the digest."""


def title(environment: Environment, generations: int) -> str:
    """The title of a prune request in lists."""
    return f"Delete {several(generations, 'expired backup')} of {environment.name}"


def build(prune: PruneRequest) -> dict[str, object]:
    """The evidence of a prune request (design: approval requests)."""
    environment = prune.environment
    entries = list(prune.entries.select_related("generation").order_by("index"))
    return {
        "format": FORMAT,
        "action": "delete_generations",
        "environment": environment.slug,
        "production": environment.production,
        "account_id": environment.account_id,
        "bucket": environment.r2_bucket,
        "reason": prune.reason,
        "policy": policy.shown(),
        "generations": {"count": prune.generations, "list": [_generation(entry) for entry in entries]},
        "objects": {"count": prune.objects_total, "sha256": prune.objects_sha256},
        "warnings": [],
    }


def _generation(entry: PruneEntry) -> dict[str, object]:
    generation = entry.generation
    return {
        "id": generation.pk,
        "name": generation.stem[:200],
        "status": generation.status,
        "finished_at": evidence.moment(generation.finished_at),
        "due": {"at": evidence.moment(entry.due_at)},
        "keys": generation.keys,
        "manifest_sha256": generation.manifest_sha256,
        "objects": entry.objects_total,
        "objects_sha256": entry.objects_sha256,
        "newer": entry.newer,
    }


def every_object(generations: Iterable[Generation]) -> Iterable[str]:
    """The names of all objects of the backups, backup by backup."""
    return (key for generation in generations for key in generation.every_object())
