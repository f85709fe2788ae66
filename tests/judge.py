"""Judges what a fake Cloudflare was asked, after every test of the product.

These may never show in its journal: a call outside the list below, a delete or a write of a name that is in no
approved set, a delete or a write of a value that is not the one in the copy the approver was shown, a delete after a
last read that told of another value, and a write over another value that is in no copy made for that. What was approved
and copied is read from the evidence, the frozen names and the bucket's objects, not with the product's own functions.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pyrage
from django.db.models import Q
from django.db.models.functions import Now

from backups.models import (
    BulkChange,
    CleanupEntry,
    ClearingRound,
    Drill,
    DrilledBackup,
    Generation,
    Investigation,
    KeyChange,
    PruneEntry,
    Restore,
    RestoreEntry,
)
from kvops.models import ApprovalRequest, Run
from tests import keys
from tests.fakes.cloudflare import ApiCall

ALLOWED = {
    ("GET", "namespaces"),
    ("GET", "namespace"),
    ("GET", "keys"),
    ("GET", "value"),
    ("GET", "metadata"),
    ("POST", "bulk_get"),
    ("POST", "bulk_delete"),
    ("PUT", "bulk_put"),
    ("PUT", "put_value"),
    ("GET", "databases"),
    ("POST", "query"),
    ("GET", "bucket_lock"),
    ("GET", "bucket_lifecycle"),
    ("GET", "managed_domain"),
    ("GET", "custom_domains"),
    ("GET", "scripts"),
    ("GET", "deployments"),
    ("GET", "version"),
    ("GET", "modules"),
    ("GET", "builds"),
    ("GET", "audit_log"),
    ("GET", "verify_token"),
    ("GET", "verify_account_token"),
    ("GET", "pages_projects"),
    ("GET", "pages_project"),
}


@dataclass(frozen=True)
class Approved:
    """A set a second person approved and a run claimed: its names, each with the SHA-256 of its value in the copy."""

    namespace: str
    values: Mapping[str, str | None]
    scratch: bool = False
    """Whether it is a namespace for rehearsals, where whatever lies under these names may go."""


@dataclass(frozen=True)
class Writable:
    """An approved set that may be put back, as above; `over` are the values that were copied to be overwritten."""

    namespace: str
    values: Mapping[str, str | None]
    over: Mapping[str, str] = field(default_factory=dict)
    beside: Mapping[str, tuple[int | None, str | None]] | None = None
    """Expiration and metadata that each written key must get; None for rehearsals, which write elsewhere."""


def problems(journal: Iterable[ApiCall], approved: Iterable[Approved], writable: Iterable[Writable] = ()) -> list[str]:
    """What the journal shows and may not, one sentence each."""
    sets, puts = list(approved), list(writable)
    return [sentence for call in journal for sentence in (*_of_call(call, sets), *_of_writes(call, puts))]


def _of_call(call: ApiCall, sets: list[Approved]) -> Iterator[str]:
    if (call.method, call.route) not in ALLOWED:
        yield f"{call.method} {call.path} is not a call of the product."
    for name, value in call.deleted.items():
        mine = [one for one in sets if one.namespace == call.namespace and name in one.values]
        backups = [one.values[name] for one in mine]
        if any(one.scratch for one in mine):
            continue
        if not backups:
            yield f"{name!r} of {call.namespace} was deleted and is in no approved set."
        elif value is not None and value not in backups:
            yield f"{name!r} of {call.namespace} had another value than its copy when it was deleted."
        elif name in call.read and call.read[name].value not in backups:
            yield f"{name!r} of {call.namespace} was read with another value than its copy before it was deleted."


def _of_writes(call: ApiCall, sets: list[Writable]) -> Iterator[str]:
    for name, value in call.written.items():
        mine = [one for one in sets if one.namespace == call.namespace and name in one.values]
        before = call.replaced.get(name, value)
        if not mine:
            yield f"{name!r} of {call.namespace} was written and is in no approved set."
        elif not (same := [one for one in mine if one.values[name] == value]):
            yield f"{name!r} of {call.namespace} was written with another value than its copy."
        elif not any(one.beside is None or one.beside.get(name) == call.beside.get(name) for one in same):
            yield f"{name!r} of {call.namespace} was written with an expiration or metadata that nobody approved."
        elif before not in {value, *(one.over.get(name) for one in mine)}:
            yield f"{name!r} of {call.namespace} was overwritten, and what it held is in no copy made for that."


def writable_sets(objects: Mapping[str, bytes]) -> list[Writable]:
    """What the used approvals of restores cover, and of deletions that were undone; `objects` are the bucket's."""
    used = ApprovalRequest.objects.filter(state=ApprovalRequest.State.USED, approver__isnull=False)
    undone = Run.objects.filter(kind=Run.Kind.UNDO).values("approval")
    deleted = [
        (_approved(one, objects), _copied_beside(json.loads(one.evidence)["generation"]["manifest"], objects))
        for one in used.filter(kind=ApprovalRequest.Kind.DELETE_KEYS, pk__in=undone)
    ]
    restores = used.filter(kind=ApprovalRequest.Kind.RESTORE)
    changes = used.filter(kind=ApprovalRequest.Kind.PUT_KEY)
    bulk = used.filter(kind=ApprovalRequest.Kind.BULK_CHANGE)
    drilled = [Writable(one.namespace, one.values) for one in _drilled(objects)]
    return [
        *(Writable(one.namespace, one.values, beside=beside) for one, beside in deleted),
        *(_writable(one, objects) for one in restores),
        *(_changed(one, objects) for one in changes),
        *(_changed_in_bulk(one, objects) for one in bulk),
        *drilled,
    ]


def _writable(request: ApprovalRequest, objects: Mapping[str, bytes]) -> Writable:
    """What the evidence covers: nothing when the names or the copy are not the ones it shows."""
    restore = Restore.objects.get(pk=int(request.subject.removeprefix("restore:")))
    names = list(RestoreEntry.objects.filter(restore=restore).values_list("name", flat=True))
    values = _shown(request, names, objects)
    safety = restore.safety
    over = dict(_of_generation(safety, objects)) if safety and restore.on_conflict == "overwrite" else {}
    beside = _copied_beside(restore.generation.manifest_key, objects)
    return Writable(json.loads(request.evidence)["namespace_id"], values, over, beside)


def _changed(request: ApprovalRequest, objects: Mapping[str, bytes]) -> Writable:
    """What a change covers: nothing if its proposal is another object, or its copy holds another old value."""
    shown = json.loads(request.evidence)
    body = objects.get(shown["proposal"]["object"], b"")
    if _sha(request.evidence.encode()) != request.digest or _sha(body) != shown["proposal"]["sha256"]:
        return Writable(shown["namespace_id"], {})
    proposed = json.loads(pyrage.decrypt(body, [keys.OFFLINE]))
    name, old = proposed["key"], proposed["old"]
    if (proposed["namespace_id"], name) != (shown["namespace_id"], shown["prefix"]):
        return Writable(shown["namespace_id"], {})
    over = {} if old is None else {name: _sha(base64.b64decode(old["value"]))}
    if old is not None:
        manifest = objects.get(shown["generation"]["manifest"], b"{}")
        kept = dict(_backed_up(json.loads(manifest), objects)) if manifest != b"{}" else {}
        over = over if kept.get(name) == over[name] else {}
    new = proposed["new"]
    beside = {name: (new["expiration"], _comparable(json.loads(new["metadata"] or "null")))}
    return Writable(shown["namespace_id"], {name: _sha(base64.b64decode(new["value"]))}, over, beside)


def _changed_in_bulk(request: ApprovalRequest, objects: Mapping[str, bytes]) -> Writable:
    """What a bulk change covers: the values of its copy, each over itself, with the expiration or mark of the evidence.

    The time of an expiration that is counted from the start is the row's, within a minute of the start of its run.
    """
    bulk = BulkChange.objects.get(restore=int(request.subject.removeprefix("bulkchange:")))
    shown, restore = json.loads(request.evidence), bulk.restore
    values = _shown(request, list(restore.entries.values_list("name", flat=True)), objects)
    asked = (shown["operation"], shown["lifetime"], shown["until"], shown["member"], shown["value"])
    same = asked == (bulk.operation, bulk.lifetime, bulk.until, bulk.member, bulk.value)
    at = bulk.until
    if bulk.lifetime is not None and request.used_at is not None and bulk.expiration is not None:
        at = bulk.expiration
        same = same and abs(bulk.expiration - bulk.lifetime - request.used_at.timestamp()) < 60
    if not same:
        return Writable(shown["namespace_id"], {})
    beside = {}
    for part in restore.generation.parts.all():
        for key in filter(None, (part.object_key, part.api_only_key)):
            for entry in _entries(key, objects[key]) if key in objects else []:
                if bulk.operation == "expiration" or isinstance(entry.get("metadata") or {}, dict):
                    beside[entry["key"]] = _beside(entry, bulk, at)
    return Writable(shown["namespace_id"], values, {name: one for name, one in values.items() if one}, beside)


def _beside(entry: Mapping[str, Any], bulk: BulkChange, at: int | None) -> tuple[int | None, str | None]:
    """The expiration and the metadata that a key of the copy gets, the metadata as comparable JSON."""
    metadata = entry.get("metadata")
    if bulk.operation == "mark":
        return entry.get("expiration"), json.dumps({**(metadata or {}), bulk.member: bulk.value}, sort_keys=True)
    return at, _comparable(metadata)


def _copied_beside(manifest: str, objects: Mapping[str, bytes]) -> dict[str, tuple[int | None, str | None]]:
    """The expiration and the metadata of each entry in the data objects of a copy."""
    return {
        entry["key"]: (entry.get("expiration"), _comparable(entry.get("metadata")))
        for entry in _copied(json.loads(objects.get(manifest, b'{"parts": []}')), objects)
    }


def _comparable(metadata: object) -> str | None:
    """Metadata as JSON with sorted members."""
    return None if metadata is None else json.dumps(metadata, sort_keys=True)


def _of_generation(generation: Generation, objects: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    body = objects.get(generation.manifest_key, b"")
    if generation.status == Generation.Status.VERIFIED and _sha(body) == generation.manifest_sha256:
        yield from _backed_up(json.loads(body), objects)


def approved_sets(objects: Mapping[str, bytes]) -> list[Approved]:
    """The sets of all used approvals; `objects` are the bucket's."""
    used = ApprovalRequest.objects.filter(
        kind=ApprovalRequest.Kind.DELETE_KEYS, state=ApprovalRequest.State.USED, approver__isnull=False
    )
    return [*(_approved(request, objects) for request in used), *_drilled(objects), *_cleared(objects)]


def _cleared(objects: Mapping[str, bytes]) -> Iterator[Approved]:
    """What the rounds of a rule may delete: names of the approved rule, up to its cap, as its backup has them.

    A key with an expiration in the backup is none of a rule that is of keys without one.
    """
    for one in ClearingRound.objects.exclude(stage=None).select_related("approval", "stage__generation"):
        approval, stage = one.approval, one.stage
        if approval is None or stage is None or stage.generation is None or approval.approver_id is None:
            continue
        rule = json.loads(approval.evidence)
        names = list(stage.entries.values_list("name", flat=True))
        within = len(names) <= rule["cap"] and all(name.startswith(rule["prefix"]) for name in names)
        if approval.kind != "clearing" or _sha(approval.evidence.encode()) != approval.digest or not within:
            continue
        values = dict(_of_generation(stage.generation, objects))
        if rule["only"].get("without_expiration"):
            values = {name: value for name, value in values.items() if name not in _expiring(stage.generation, objects)}
        yield Approved(rule["namespace_id"], {name: values[name] for name in names if name in values})


def _expiring(generation: Generation, objects: Mapping[str, bytes]) -> set[str]:
    """The names that have an expiration in the data objects of a backup."""
    parts = [json.loads(objects[part.object_key]) for part in generation.parts.all() if part.object_key in objects]
    return {entry["key"] for part in parts for entry in part if "expiration" in entry}


def _drilled(objects: Mapping[str, bytes]) -> Iterator[Approved]:
    """What drills may write into the namespace of the rule that was approved, and remove from it."""
    for drill in Drill.objects.select_related("approval"):
        rule = json.loads(drill.approval.evidence)
        if drill.approval.approver_id and _sha(drill.approval.evidence.encode()) == drill.approval.digest:
            for copy in DrilledBackup.objects.filter(drill=drill).select_related("generation"):
                names = copy.generation.entries.values_list("name", flat=True)
                values = {**dict.fromkeys(names), **dict(_of_generation(copy.generation, objects))}
                yield Approved(rule["namespace_id"], values, scratch=True)


def _approved(request: ApprovalRequest, objects: Mapping[str, bytes]) -> Approved:
    """What the evidence covers: nothing when the names or the copy are not the ones it shows."""
    entries = CleanupEntry.objects.filter(stage=int(request.subject.removeprefix("stage:")))
    names = list(entries.values_list("name", flat=True))
    return Approved(json.loads(request.evidence)["namespace_id"], _shown(request, names, objects))


def _shown(request: ApprovalRequest, names: list[str], objects: Mapping[str, bytes]) -> Mapping[str, str | None]:
    """The names, if they are those of the evidence, each with its value in the copy that is shown there."""
    evidence = json.loads(request.evidence)
    shown = (
        _sha(request.evidence.encode()) == request.digest,
        _names_sha256(names) == evidence["names"]["sha256"],
        _sha(objects.get(evidence["generation"]["manifest"], b"")) == evidence["generation"]["manifest_sha256"],
    )
    if not all(shown):
        return {}
    backed_up = dict(_backed_up(json.loads(objects[evidence["generation"]["manifest"]]), objects))
    return {name: backed_up.get(name) for name in names}


def _backed_up(manifest: Mapping[str, list[dict[str, str]]], objects: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """Name and SHA-256 of the value of every entry in the copy's data objects that are as the manifest says."""
    return ((entry["key"], value_of(entry)) for entry in _copied(manifest, objects))


def _copied(manifest: Mapping[str, list[dict[str, str]]], objects: Mapping[str, bytes]) -> Iterator[dict[str, Any]]:
    """Every entry in the copy's data objects that are as the manifest says."""
    for part in manifest["parts"]:
        body = objects.get(part["key"], b"")
        if _sha(body) == part["sha256"]:
            yield from _entries(part["key"], body)


def _entries(key: str, body: bytes) -> list[dict[str, Any]]:
    """The entries of a data object, opened with the identity that is kept offline, which the product never sees."""
    found: list[dict[str, Any]] = json.loads(pyrage.decrypt(body, [keys.OFFLINE]) if key.endswith(".age") else body)
    return found


def value_of(entry: Mapping[str, Any]) -> str:
    """The SHA-256 of the value of an entry of a data object."""
    value = entry["value"].encode()
    return _sha(base64.b64decode(value) if entry.get("base64") else value)


def _names_sha256(names: Iterable[str]) -> str:
    sorted_names = sorted(name.encode() for name in names)
    return _sha(b"".join(len(name).to_bytes(4, "big") + name for name in sorted_names))


def _sha(data: bytes) -> str:
    return sha256(data).hexdigest()


def _investigated() -> Iterator[Generation]:
    """The copies of investigations that are closed or over, and whose deletion another person approved beforehand."""
    for one in Investigation.objects.filter(Q(closed_at__isnull=False) | Q(ends_at__lte=Now())).exclude(run=None):
        approval = one.run.approval if one.run else None
        rule = json.loads(approval.evidence) if approval and approval.approver_id else {}
        if rule.get("action") == "delete_investigation_backup" and rule.get("name") == one.generation.stem:
            yield one.generation


def bucket_problems(deleted: Iterable[str], bucket: str = "") -> list[str]:
    """What was deleted from the bucket and may not: an object of no approved prune, or of a copy under 14 days.

    Copies of investigations go with those, and proposals with their changes.
    """
    entries = PruneEntry.objects.filter(
        prune__approval__state=ApprovalRequest.State.USED,
        generation__status__in=Generation.GOING,
        generation__finished_at__lte=Now() - timedelta(days=14),
    )
    allowed = {key for entry in entries.select_related("generation") for key in entry.generation.every_object()}
    over = KeyChange.objects.filter(state__in=KeyChange.OVER, object_key__startswith="proposals/")
    allowed |= set(over.values_list("object_key", flat=True))
    allowed |= {key for copy in _investigated() for key in copy.every_object()}
    return [f"{key} was deleted and is in no approved prune." for key in deleted if key not in allowed]
