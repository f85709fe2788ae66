"""Judges what a fake Cloudflare was asked, after every test of the product.

Three things may never show in its journal: a call outside the list below, a delete of a name that is in no approved
set, a delete of a value that is not the one in the copy the approver was shown. What was approved and copied is read
from the evidence, the frozen names and the bucket's objects, not with the product's own functions.
"""

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from backups.models import CleanupEntry
from kvops.models import ApprovalRequest
from tests.fakes.cloudflare import Call

ALLOWED = {
    ("GET", "namespaces"),
    ("GET", "namespace"),
    ("GET", "keys"),
    ("GET", "value"),
    ("GET", "metadata"),
    ("POST", "bulk_get"),
    ("POST", "bulk_delete"),
    ("GET", "databases"),
    ("POST", "query"),
}


@dataclass(frozen=True)
class Approved:
    """A set a second person approved and a run claimed: its names, each with the SHA-256 of its value in the copy."""

    namespace: str
    values: Mapping[str, str | None]


def problems(journal: Iterable[Call], approved: Iterable[Approved]) -> list[str]:
    """What the journal shows and may not, one sentence each."""
    sets = list(approved)
    return [sentence for call in journal for sentence in _of_call(call, sets)]


def _of_call(call: Call, sets: list[Approved]) -> Iterator[str]:
    if (call.method, call.route) not in ALLOWED:
        yield f"{call.method} {call.path} is not a call of the product."
    for name, value in call.deleted.items():
        copies = [one.values[name] for one in sets if one.namespace == call.namespace and name in one.values]
        if not copies:
            yield f"{name!r} of {call.namespace} was deleted and is in no approved set."
        elif value is not None and value not in copies:
            yield f"{name!r} of {call.namespace} had another value than its copy when it was deleted."


def approved_sets(objects: Mapping[str, bytes]) -> list[Approved]:
    """The sets of all used approvals; `objects` are the bucket's."""
    used = ApprovalRequest.objects.filter(
        kind=ApprovalRequest.Kind.DELETE_KEYS, state=ApprovalRequest.State.USED, approver__isnull=False
    )
    return [_approved(request, objects) for request in used]


def _approved(request: ApprovalRequest, objects: Mapping[str, bytes]) -> Approved:
    """What the evidence covers: nothing when the names or the copy are not the ones it shows."""
    evidence = json.loads(request.evidence)
    entries = CleanupEntry.objects.filter(stage=int(request.subject.removeprefix("stage:")))
    names = list(entries.values_list("name", flat=True))
    shown = (
        _sha(request.evidence.encode()) == request.digest,
        _names_sha256(names) == evidence["names"]["sha256"],
        _sha(objects.get(evidence["generation"]["manifest"], b"")) == evidence["generation"]["manifest_sha256"],
    )
    if not all(shown):
        return Approved(evidence["namespace_id"], {})
    copied = dict(_copied(json.loads(objects[evidence["generation"]["manifest"]]), objects))
    return Approved(evidence["namespace_id"], {name: copied.get(name) for name in names})


def _copied(manifest: Mapping[str, list[dict[str, str]]], objects: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    """Name and SHA-256 of the value of every entry in the copy's data objects that are as the manifest says."""
    for part in manifest["parts"]:
        body = objects.get(part["key"], b"")
        for entry in json.loads(body) if _sha(body) == part["sha256"] else []:
            value = entry["value"].encode()
            yield entry["key"], _sha(base64.b64decode(value) if entry.get("base64") else value)


def _names_sha256(names: Iterable[str]) -> str:
    sorted_names = sorted(name.encode() for name in names)
    return _sha(b"".join(len(name).to_bytes(4, "big") + name for name in sorted_names))


def _sha(data: bytes) -> str:
    return sha256(data).hexdigest()
