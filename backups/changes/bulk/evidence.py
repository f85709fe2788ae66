"""The evidence of a bulk change, derived from stored rows only, so that the run can derive it again."""

from backups import policy
from backups.changes.bulk import qa
from backups.execution import evidence as shared
from backups.models import BulkChange, Generation, Restore
from backups.restores.evidence import entries_root
from kvops.approvals import evidence
from kvops.environments import hours
from kvops.wording import keys_of

FORMAT = 1
"""The version of the rules that derive this evidence; it is part of the digest."""


def title(restore: Restore) -> str:
    """The title of a request in lists."""
    verb = "Set the expiration of" if restore.operation == Restore.Operation.EXPIRATION else "Mark"
    return f"{verb} {keys_of(restore.names)} in {restore.environment.name} {restore.namespace.title}"


def build(restore: Restore) -> dict[str, object]:
    """The evidence (design: approval requests): the target, the names, the backup, what is written, and QA."""
    environment, namespace, bulk = restore.environment, restore.namespace, restore.bulk
    generation = Generation.objects.select_related("environment", "namespace").get(pk=restore.generation_id)
    return {
        "format": FORMAT,
        "action": "bulk_change",
        "environment": environment.slug,
        "production": environment.production,
        "account_id": environment.account_id,
        "binding": namespace.binding,
        "namespace_id": namespace.namespace_id,
        "namespace_title": namespace.title,
        "prefix": restore.prefix,
        "exact": bulk.family.exact,
        "family": str(bulk.family),
        "category": bulk.family.category,
        "scope": bulk.scope,
        "operation": bulk.operation,
        "lifetime": bulk.lifetime,
        "until": bulk.until,
        "member": bulk.member,
        "value": bulk.value,
        "reason": restore.reason,
        "hours": hours.shown(environment),
        "policy": policy.shown(),
        "names": shared.names(restore),
        "chosen": {"count": bulk.chosen_names, "sha256": bulk.chosen_sha256},
        "entries_root": entries_root(restore),
        "backed_up": evidence.moment(restore.compared_at),
        "generation": shared.backup(generation),
        "qa": _repeated(bulk.repeats),
        "risks": [qa.DIFFERS] if bulk.repeats and qa.is_of_other_keys(bulk, bulk.repeats) else [],
        "warnings": [{"code": "bulk_expires"}] if bulk.operation == Restore.Operation.EXPIRATION else [],
    }


def _repeated(earlier: BulkChange | None) -> dict[str, object] | None:
    """The accepted change that this one repeats, as the reviewer is shown it."""
    if earlier is None:
        return None
    return {
        "change": earlier.pk,
        "environment": earlier.restore.environment.slug,
        "prefix": earlier.restore.prefix,
        "scope": earlier.scope,
        "lifetime": earlier.lifetime,
        "until": earlier.until,
        "value": earlier.value,
        "written": earlier.restore.written,
        "names": earlier.restore.names,
        "accepted_at": evidence.moment(earlier.accepted_at),
        "accepted_by": str(earlier.accepted_by or ""),
        "note": earlier.accepted_note,
    }
