"""What a reviewer is shown, derived from stored rows only, so that the executor can derive it again and compare.

A changed account, namespace, bucket, policy, copy, check or set of names gives another digest, and the approval
no longer fits.
"""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

from django.db.models import F
from django.db.models.functions import Now
from django.utils.translation import gettext_lazy as _

from backups import datasets
from backups.models import Check, CleanupEntry, CleanupStage, Generation
from kvops import approvals, timing
from kvops.models import Environment, PolicyVersion
from kvops.wording import say

FORMAT = 1
SAMPLE = 20


def title(stage: CleanupStage) -> str:
    """One line for lists: what, where, how many."""
    return f"Delete {stage.names} keys {stage.request.prefix}* from {stage.environment.name} {stage.namespace.title}"


def policy() -> PolicyVersion:
    """The newest policy. Raises PolicyVersion.DoesNotExist on an estate without one."""
    return PolicyVersion.objects.latest("number")


def scope_digest(stage: CleanupStage) -> str:
    """SHA-256 over what is cleaned up, equal in every environment: binding, family, prefix, policy, dataset."""
    dataset = datasets.dataset_for(stage.request.binding, stage.request.prefix)
    scope = {
        "binding": stage.request.binding,
        "family": str(stage.request.family),
        "prefix": stage.request.prefix,
        "policy": policy().digest,
        "dataset": datasets.definition_digest(dataset) if dataset else None,
    }
    return sha256(approvals.canonical(scope).encode()).hexdigest()


def qa_stages(stage: CleanupStage) -> list[CleanupStage]:
    """For each earlier environment with the binding, its newest accepted stage of this very scope, not too old."""
    found: dict[int, CleanupStage] = {}
    candidates = (
        CleanupStage.objects.filter(
            state=CleanupStage.State.ACCEPTED,
            scope_digest=scope_digest(stage),
            environment__order__lt=stage.environment.order,
            accepted_at__gte=Now() - timedelta(seconds=timing.QA_EVIDENCE),
        )
        .select_related("environment", "accepted_by")
        .order_by(F("accepted_at").desc())
    )
    for candidate in candidates:
        found.setdefault(candidate.environment_id, candidate)
    return sorted(found.values(), key=lambda stage: stage.environment.order)


def earlier_environment(stage: CleanupStage) -> Environment | None:
    """The environment that must be cleaned up and accepted before it is this stage's turn."""
    earlier = stage.request.stages.filter(order__lt=stage.order).select_related("environment").order_by("order")
    if not earlier:
        return None
    proven = {found.environment_id for found in qa_stages(stage)}
    return next((one.environment for one in earlier if one.environment_id not in proven), None)


def only_production(binding: str) -> str:
    """Why production's keys stay while no other environment has been through the same before it."""
    return say(
        _(
            "Production is cleaned up only after the same was cleaned up in another environment;"
            " %(binding)s exists in no other before it."
        ),
        binding=binding,
    )


def missing_qa(stage: CleanupStage) -> str:
    """Why it is not this stage's turn, or an empty text."""
    before = stage.request.stages.filter(order__lt=stage.order, environment__production=False)
    if stage.environment.production and not before.exists():
        return only_production(stage.request.binding)
    earlier = earlier_environment(stage)
    if earlier is None:
        return ""
    return say(
        _("%(name)s comes first: clean it up there and accept it, with the same policy, at most 7 days before."),
        name=earlier.name,
    )


def build(stage: CleanupStage) -> dict[str, object]:
    """The evidence of a deletion (design: approval requests). The stage has its names, copy, check and references."""
    request, environment, namespace = stage.request, stage.environment, stage.namespace
    generation = Generation.objects.get(stages=stage)
    newest = policy()
    return {
        "format": FORMAT,
        "action": "delete_keys",
        "environment": environment.slug,
        "production": environment.production,
        "account_id": environment.account_id,
        "binding": namespace.binding,
        "namespace_id": namespace.namespace_id,
        "namespace_title": namespace.title,
        "bucket": environment.r2_bucket,
        "prefix": request.prefix,
        "family": str(request.family),
        "category": request.category,
        "reason": request.reason,
        "policy": {"version": newest.number, "digest": newest.digest},
        "scope_digest": scope_digest(stage),
        "names": _names(stage),
        "generation": {
            "id": generation.pk,
            "bucket": generation.bucket,
            "manifest": generation.manifest_key,
            "manifest_sha256": generation.manifest_sha256,
            "digest_root": generation.digest_root,
            "keys": generation.keys,
            "bytes": generation.bytes,
            "status": generation.status,
        },
        "check": _check(stage),
        "references": _references(stage),
        "qa": [_qa(found) for found in qa_stages(stage)],
        "warnings": _warnings(stage, generation),
    }


def _names(stage: CleanupStage) -> dict[str, object]:
    entries = CleanupEntry.objects.filter(stage=stage).order_by("index")
    step = max(1, stage.names // SAMPLE)
    wanted = list(range(0, stage.names, step))[:SAMPLE]
    first, last = entries.first(), entries.last()
    return {
        "count": stage.names,
        "sha256": stage.names_sha256,
        "first": first.name if first else "",
        "last": last.name if last else "",
        "sample": list(entries.filter(index__in=wanted).values_list("name", flat=True)),
        "scan": stage.scan_id,
    }


def _check(stage: CleanupStage) -> dict[str, object] | None:
    if stage.check_passed_id is None:
        return None
    check = Check.objects.select_related("dataset").get(pk=stage.check_passed_id)
    return {
        "id": check.pk,
        "dataset": check.dataset.name,
        "definition_digest": check.definition_digest,
        "keys": check.keys,
        "rows": check.rows,
        "differences": check.differences,
        "only_in_d1": check.only_in_d1,
        "finished_at": _time(check.finished_at),
    }


def _references(stage: CleanupStage) -> dict[str, object]:
    stated = stage.request.references
    if stated is None:
        return {}
    return {
        "commit": stated.commit,
        "command": stated.command,
        "hits": stated.hits,
        "answer": stated.answer,
        "by": str(stated.by),
        "at": _time(stated.at),
    }


def _qa(found: CleanupStage) -> dict[str, object]:
    return {
        "stage": found.pk,
        "environment": found.environment.slug,
        "scope_digest": found.scope_digest,
        "names": found.names,
        "deleted": found.deleted,
        "skipped": found.skipped,
        "note": found.accepted_note,
        "by": str(found.accepted_by),
        "at": _time(found.accepted_at),
    }


def _warnings(stage: CleanupStage, generation: Generation) -> list[dict[str, object]]:
    """What the reviewer should know, as codes that the page puts into words in either language."""
    warnings: list[dict[str, object]] = []
    for found in qa_stages(stage):
        if found.names == 0:
            warnings.append({"code": "qa_empty", "environment": found.environment.name})
        elif found.skipped:
            warnings.append({"code": "qa_leftovers", "environment": found.environment.name, "count": found.skipped})
    if generation.expired:
        warnings.append({"code": "expired", "count": generation.expired})
    if generation.read == "bulk":
        warnings.append({"code": "read_in_bulk"})
    if stage.request.family.sample:
        warnings.append({"code": "sample_family"})
    return warnings


def _time(at: datetime | None) -> str:
    return at.astimezone(UTC).isoformat() if at else ""
