"""The evidence of a restore, derived from stored rows only, so that the executor can derive it again."""

from backups import archive, policy
from backups.execution import evidence as shared
from backups.models import Generation, Restore
from backups.restores import cross_environment
from kvops.approvals import evidence
from kvops.wording import keys_of

FORMAT = 2
"""The version of the rules that derive this evidence; it is part of the digest."""


def title(restore: Restore) -> str:
    """The title of a request in lists: the name of a single key or the number of keys, the backup and the target."""
    where = f"{restore.environment.name} {restore.namespace.title}"
    only = restore.entries.first() if restore.names == 1 else None
    keys = f"key {only.name}" if only else keys_of(restore.names)
    return f"Restore {keys} of backup {restore.generation_id} into {where}"


def build(restore: Restore) -> dict[str, object]:
    """The evidence of a restore (design: approval requests). The restore must be compared with KV and have a reason."""
    environment, namespace = restore.environment, restore.namespace
    generation = Generation.objects.select_related("environment", "namespace").get(pk=restore.generation_id)
    return {
        "format": FORMAT,
        "action": "restore",
        "environment": environment.slug,
        "production": environment.production,
        "account_id": environment.account_id,
        "binding": namespace.binding,
        "namespace_id": namespace.namespace_id,
        "namespace_title": namespace.title,
        "prefix": restore.prefix,
        "listed": restore.listed,
        "on_conflict": restore.on_conflict,
        "reason": restore.reason,
        "qa_may_take": cross_environment.crossing_rule(restore),
        "policy": policy.shown(),
        "names": shared.names(restore),
        "entries_root": entries_root(restore),
        "compared": {"at": evidence.moment(restore.compared_at), "found": restore.found},
        "overwritten": {"count": restore.overwritten, "sha256": restore.overwritten_sha256},
        "generation": shared.backup(generation),
        "warnings": _warnings(restore, generation),
    }


def entries_root(restore: Restore) -> str:
    """The root over the digests of the entries to restore: name, value, metadata and expiration of each."""
    entries = restore.generation.entries.filter(name__in=restore.entries.values("name")).order_by("index")
    digests = entries.values_list("digest", flat=True).iterator(10_000)
    return archive.digest_root(bytes(digest or b"") for digest in digests)


def _warnings(restore: Restore, generation: Generation) -> list[dict[str, object]]:
    """Warnings for the reviewer, as codes; the page has their text in either language."""
    warnings: list[dict[str, object]] = []
    if restore.overwritten:
        warnings.append({"code": "restore_overwrites", "count": restore.overwritten})
    if cross_environment.crosses(generation, restore.environment):
        warnings.append({"code": "restore_takes_production", "environment": generation.environment.name})
    elif generation.namespace_id != restore.namespace_id:
        warnings.append({"code": "restore_elsewhere", "environment": generation.environment.name})
    not_restored = sum(restore.found.get(kind, 0) for kind in ("expired", "soon"))
    if not_restored:
        warnings.append({"code": "restore_too_late", "count": not_restored})
    return warnings
