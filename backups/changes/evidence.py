"""The evidence of a change, derived from stored rows only, so that the run can derive it again. No value is in it."""

from backups import archive, policy
from backups.changes import qa
from backups.execution import evidence as shared
from backups.models import Generation, KeyChange
from kvops.approvals import evidence
from kvops.inventory import value as key_value

FORMAT = 1
"""The version of the rules that derive this evidence; it is part of the digest."""

NO_QA = "qa_not_repeated"
"""The risk of a change in production that repeats no change of QA."""


def title(change: KeyChange) -> str:
    """The title of a request in lists."""
    verb = "Create" if change.new_key else "Change"
    return f"{verb} key {change.name} in {change.environment.name} {change.namespace.title}"


def build(change: KeyChange) -> dict[str, object]:
    """The evidence (design: approval requests): the target, the proposal by its digest, the backup, and QA."""
    environment, namespace = change.environment, change.namespace
    generation = (
        Generation.objects.select_related("environment", "namespace").get(pk=change.generation_id)
        if change.generation_id
        else None
    )
    return {
        "format": FORMAT,
        "action": "put_key",
        "environment": environment.slug,
        "production": environment.production,
        "account_id": environment.account_id,
        "binding": namespace.binding,
        "namespace_id": namespace.namespace_id,
        "namespace_title": namespace.title,
        "prefix": change.name,
        "exact": True,
        "names": {
            "count": 1,
            "sha256": archive.names_sha256([change.name]),
            "first": change.name,
            "last": change.name,
            "sample": [change.name],
        },
        "new_key": change.new_key,
        "parts": change.parts,
        "expiration": {"before": change.expiration_before, "after": change.expiration_after},
        "category": key_value.category_of(namespace, change.name).value,
        "reason": change.reason,
        "policy": policy.shown(),
        "proposal": {
            "bucket": change.bucket,
            "object": change.object_key,
            "sha256": change.object_sha256,
            "recipients": change.recipients,
        },
        "generation": shared.backup(generation) if generation else None,
        "reverses": change.reverses_id,
        "qa": _repeated(change),
        "no_qa_because": change.no_qa_because,
        "risks": [NO_QA] if qa.comes_first(change) and change.repeats_id is None else [],
        "warnings": [{"code": f"change_{code}"} for code in change.warnings],
    }


def _repeated(change: KeyChange) -> dict[str, object] | None:
    """The accepted change that this one repeats, as the reviewer is shown it."""
    earlier = change.repeats
    if earlier is None:
        return None
    return {
        "change": earlier.pk,
        "environment": earlier.environment.slug,
        "parts": earlier.parts,
        "accepted_at": evidence.moment(earlier.accepted_at),
        "accepted_by": str(earlier.accepted_by or ""),
        "note": earlier.accepted_note,
    }
