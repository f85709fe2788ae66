"""The evidence of a stage, derived from stored rows only, so that the executor can derive it again and compare.

A changed account, namespace, bucket, policy, backup, check or set of names gives another digest, and the approval no
longer fits.
"""

import json
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext_lazy as _

from backups import archive, policy
from backups.bucket import protection as bucket_protection
from backups.cleanup import after_check, completion, shown_references
from backups.cleanup.qa import FORMAT, qa_stages, scope_digest
from backups.execution import evidence as shared
from backups.integrity.newer import rows as newer_rows
from backups.models import (
    BackupShare,
    Check,
    CleanupEntry,
    CleanupStage,
    Generation,
    GenerationEntry,
)
from kvops import timing
from kvops.approvals import evidence, risks
from kvops.cloudflare import BULK_GET_LIMIT
from kvops.connections import prices
from kvops.environments import hours
from kvops.models import Category, Environment, Read
from kvops.wording import keys_of, say

SAMPLE_OF_DIFFERENCE = 5
LASTING = (Category.LEGACY, Category.SETTINGS)
"""Categories whose values exist nowhere else after the deletion. The backup's lock matters; a cache is made again."""


def title(stage: CleanupStage) -> str:
    """The title of a request in lists: the number of keys, the name of a single one or the pattern, the environment."""
    where = f"{stage.environment.name} {stage.namespace.title}"
    only = stage.entries.first() if stage.names == 1 else None
    return f"Delete {keys_of(stage.names)} {only.name if only else stage.request.pattern} from {where}"


def evidence_digest(stage: CleanupStage) -> str:
    """The digest of the evidence as derived now."""
    return evidence.digest_of(evidence.canonical_evidence(build(stage)))


def build(stage: CleanupStage) -> dict[str, object]:
    """The evidence of a deletion (design: approval requests).

    The stage must have names, backup, check and references.
    """
    request, environment, namespace = stage.request, stage.environment, stage.namespace
    generation = Generation.objects.select_related("namespace__environment", "environment").get(stages=stage)
    lock, proven = bucket_protection.shown(generation), qa_stages(stage)
    references = shown_references.shown(stage)
    return {
        "format": FORMAT,
        "action": "delete_keys",
        "stage": {"id": stage.pk, "order": stage.order, "of": str(namespace), "scope_digest": stage.scope_digest},
        "environment": environment.slug,
        "order": environment.order,
        "production": environment.production,
        "api": environment.api_base_url,
        "account_id": environment.account_id,
        "binding": namespace.binding,
        "namespace_id": namespace.namespace_id,
        "namespace_title": namespace.title,
        "storage": environment.r2_endpoint,
        "bucket": environment.r2_bucket,
        "prefix": request.prefix,
        "exact": request.exact,
        **({"only": request.only} if request.only else {}),
        "family": str(request.family),
        "category": request.category,
        "reason": request.reason,
        "asked_by": request.asker,
        **arranged(stage),
        "policy": policy.shown(),
        "scope_digest": scope_digest(stage),
        "names": {**shared.names(stage), "scan": stage.scan_id},
        **({"left_out": _left_out(stage)} if stage.left_out else {}),
        "generation": _generation(generation),
        "shared": _shared(generation),
        "check": _check(stage),
        "references": references,
        "qa": [_qa(stage, found) for found in proven],
        "lock": lock,
        "risks": [
            *_lock_risks(request.category, str(lock["state"])),
            *shown_references.risks(references),
            *_difference_risks(stage),
        ],
        "cost": shown_cost(stage, generation),
        "undo": {"hours": round(timing.UNDO_WITHIN / 3600), "on_conflict": "skip"},
        "warnings": _warnings(stage, generation, proven),
    }


def submitted(stage: CleanupStage) -> dict[str, Any]:
    """The ticket, the frozen writers and the allowed hours: as they were submitted, or else as they are now."""
    found = arranged(stage)
    theirs = json.loads(stage.approval.evidence) if stage.approval else {}
    return {name: theirs.get(name, now) for name, now in found.items()}


def arranged(stage: CleanupStage) -> dict[str, Any]:
    """The ticket, the frozen writers and the allowed hours as they are now."""
    request = stage.request
    return {
        "ticket": request.ticket,
        "writers_frozen": {"until": evidence.moment(request.frozen_until), "by": request.frozen_by},
        "hours": hours.shown(stage.environment),
    }


def lock_changed(generation: Generation, approved: Mapping[str, object]) -> str:
    """A sentence if the lock on a backup that is in R2 is no longer the approved one, else empty."""
    if not generation.is_here or bucket_protection.shown(generation) == approved:
        return ""
    if approved["state"] == bucket_protection.Lock.UNKNOWN:
        return say(_("At the approval it was not known whether R2 locks the backup. Now it is known."))
    return say(_("The lock of R2 on the backup differs from the approved one."))


def _generation(generation: Generation) -> dict[str, object]:
    return {
        **shared.backup(generation),
        "recipients": generation.recipients,
        "entries_root": _entries_root(generation),
        "prefixes": generation.prefixes,
        "exact": generation.exact,
        "read": generation.read,
        "expired": generation.expired,
    }


def _entries_root(generation: Generation) -> str:
    """The root over the backup's entries in Postgres: a deletion compares KV with these rows."""
    columns = ("index", "name", "expiration", "outcome", "size", "digest")
    root = archive.Root()
    rows = GenerationEntry.objects.filter(generation=generation).order_by("index").values_list(*columns)
    for index, name, expiration, outcome, size, entry in rows.iterator(10_000):
        line = f"{index} {expiration} {outcome} {size} {bytes(entry or b'').hex()} {name}"
        root.add(sha256(line.encode()).digest())
    return root.hexdigest()


def _shared(generation: Generation) -> dict[str, object] | None:
    """The sharing of the backup with the team. It is recorded once, so it is the same at each derivation."""
    share = BackupShare.objects.select_related("by").filter(generation=generation).first()
    if share is None:
        return None
    by = str(share.by) if share.by else ""
    return {"place": share.place, "by": by, "notification": share.notification_id, "at": evidence.moment(share.at)}


def _left_out(stage: CleanupStage) -> dict[str, object]:
    """The keys that differ from D1, and stay."""
    names: list[str] = stage.left_out
    return {"count": len(names), "sha256": archive.names_sha256(names), "sample": names[:SAMPLE_OF_DIFFERENCE]}


def _check(stage: CleanupStage) -> dict[str, object] | None:
    if stage.check_passed_id is None:
        return None
    check = Check.objects.select_related("dataset", "environment").get(pk=stage.check_passed_id)
    database = stage.environment.databases.filter(binding=check.dataset.database).first()
    return {
        "id": check.pk,
        "outcome": check.outcome,
        "generation": check.generation_id,
        "environment": check.environment.slug,
        "source": check.source,
        "database": check.dataset.database,
        "database_id": database.database_id if database else "",
        "dataset": check.dataset.name,
        "definition": check.definition,
        "definition_digest": check.definition_digest,
        "keys": check.keys,
        "rows": check.rows,
        "kv_rows": check.kv_rows,
        "differences": check.differences,
        "only_in_d1": check.only_in_d1,
        **({"newer": newer} if (newer := newer_rows.shown(check)) else {}),
        "finished_at": evidence.moment(check.finished_at),
    }


def _difference_risks(stage: CleanupStage) -> list[str]:
    """The risk of a check whose only differences are rows that are newer in D1."""
    check = stage.check_passed
    return [risks.NEWER] if check is not None and check.outcome != Check.Outcome.PASSED else []


def _lock_risks(category: str, state: str) -> list[str]:
    return [f"lock_{state}"] if category in LASTING and state != "held" else []


def _qa(stage: CleanupStage, found: CleanupStage) -> dict[str, object]:
    return {
        **_compared(stage, found),
        "stage": found.pk,
        "environment": found.environment.slug,
        "scope_digest": found.scope_digest,
        "names": found.names,
        "deleted": found.deleted,
        "skipped": found.skipped,
        "leftovers": _leftovers(found),
        "note": found.accepted_note,
        "others": _others(found),
        "reappeared": found.reappearances.count(),
        "reappeared_notes": _notes(found),
        "checked_again": _checked_again(found),
        "by": str(found.accepted_by),
        "at": evidence.moment(found.accepted_at),
    }


def _leftovers(found: CleanupStage) -> dict[str, object]:
    """The keys of the clean-up that were left although they exist, with a person's explanation."""
    names = completion.leftovers(found).order_by("name")
    return {
        "count": names.count(),
        "sample": list(names.values_list("name", flat=True)[:SAMPLE_OF_DIFFERENCE]),
        "note": found.leftovers_note,
    }


def _others(found: CleanupStage) -> dict[str, object]:
    """The keys that were left under the prefix and are not of the clean-up, with a person's explanation."""
    return {
        "count": found.others,
        "sample": list(found.other_names.order_by("name").values_list("name", flat=True)[:SAMPLE_OF_DIFFERENCE]),
        "note": found.others_note,
        "by": str(found.others_by or ""),
    }


def _checked_again(found: CleanupStage) -> list[dict[str, object]]:
    """The comparisons with D1 after the deletion. A stage that is accepted keeps them."""
    return [
        {
            "of": one.code,
            "check": one.check.pk,
            "outcome": one.check.outcome,
            "differences": one.check.differences,
            **({"accepted": True} if one.accepted else {}),
        }
        if one.check
        else {"of": one.code, "check": None, "refused": one.refused}
        for one in after_check.results(found)
    ]


def _notes(found: CleanupStage) -> list[str]:
    """People's findings about keys that reappeared."""
    notes = found.reappearances.order_by("note").values_list("note", flat=True).distinct()
    return [note[:500] for note in notes[:SAMPLE_OF_DIFFERENCE]]


def _compared(stage: CleanupStage, found: CleanupStage) -> dict[str, object]:
    """The difference between the names and those of the earlier environment, with the first names of each side."""
    here, there = _without(stage, found), _without(found, stage)
    only_here = here.count()
    return {
        "only_here": only_here,
        "only_there": found.names - (stage.names - only_here),
        "sample_here": list(here.values_list("name", flat=True)[:SAMPLE_OF_DIFFERENCE]),
        "sample_there": list(there.values_list("name", flat=True)[:SAMPLE_OF_DIFFERENCE]),
    }


def _without(stage: CleanupStage, other: CleanupStage) -> QuerySet[CleanupEntry]:
    same = CleanupEntry.objects.filter(stage=other, name=OuterRef("name"))
    return CleanupEntry.objects.filter(~Exists(same), stage=stage).order_by("index")


def _warnings(stage: CleanupStage, generation: Generation, proven: Sequence[CleanupStage]) -> list[dict[str, object]]:
    """Warnings for the reviewer, as codes; the page has their text in either language."""
    warnings = [warning for found in proven for warning in _warnings_of(found)]
    if generation.expired:
        warnings.append({"code": "expired", "count": generation.expired})
    if public := bucket_protection.known(generation.environment).public:
        warnings.append({"code": "bucket_public", "hosts": public})
    if generation.read == "bulk":
        warnings.append({"code": "read_in_bulk"})
    if stage.request.family.sample:
        warnings.append({"code": "sample_family"})
    return warnings


def _warnings_of(found: CleanupStage) -> list[dict[str, object]]:
    """The warnings about an earlier environment."""
    name, again = found.environment.name, found.reappearances.count()
    warnings: list[dict[str, object]] = []
    if found.names == 0:
        warnings.append({"code": "qa_empty", "environment": name})
    elif found.skipped:
        warnings.append({"code": "qa_leftovers", "environment": name, "count": found.skipped})
    if found.others:
        warnings.append({"code": "qa_others", "environment": name, "count": found.others})
    if again:
        warnings.append({"code": "qa_reappeared", "environment": name, "count": again})
    if differences := after_check.differences(found):
        warnings.append({"code": "qa_differs", "environment": name, "count": differences})
    if any(one.unfinished for one in after_check.results(found)):
        warnings.append({"code": "qa_not_checked_again", "environment": name})
    return warnings


FIRST_CHUNK = 100
CHUNK = 1000
CHUNK_BYTES = 20 * 1024 * 1024
EXACT_CHUNK = 10
LISTINGS = 2
PAGE = 1000
"""Names per page of a listing."""


def of_deletion(stage: CleanupStage, generation: Generation) -> prices.Cost:
    """The cost of the re-reads, the deletes and the two listings of a stage with frozen names and a backup."""
    names, exact = stage.names, generation.read == Read.EXACT
    size = EXACT_CHUNK if exact else FIRST_CHUNK if stage.environment.plan == Environment.Plan.FREE else CHUNK
    rest = max(0, names - min(size, FIRST_CHUNK))
    chunks = max(bool(names) + _up(rest, size), _up(generation.bytes, CHUNK_BYTES))
    reads = 2 * names if exact else max(chunks, _up(names, BULK_GET_LIMIT))
    lists = LISTINGS * max(1, _up(names, PAGE))
    requests = reads + chunks + lists
    return prices.Cost(
        operations={"read": 2 * names if exact else names, "delete": names, "list": lists},
        requests=requests,
        seconds=prices.seconds_for(requests, calls=timing.BUDGET_CALLS, window=timing.BUDGET_WINDOW),
    )


def first_chunk(stage: CleanupStage) -> int:
    """The most keys of the first chunk, after which a deletion in production waits for a person."""
    exact = stage.generation is not None and stage.generation.read == Read.EXACT
    return EXACT_CHUNK if exact else FIRST_CHUNK


def shown_cost(stage: CleanupStage, generation: Generation) -> dict[str, object]:
    """The cost in the form of the evidence and of the stage's page."""
    cost = of_deletion(stage, generation)
    return {
        "plan": stage.environment.plan,
        "requests": cost.requests,
        "seconds": cost.seconds,
        "reads": cost.operations["read"],
        "deletes": cost.operations["delete"],
        "lists": cost.operations["list"],
        "millicents": cost.millicents,
        "free_days": cost.free_days,
    }


def _up(count: int, size: int) -> int:
    """The number of pieces of this size for so many items."""
    return -(-count // size)
