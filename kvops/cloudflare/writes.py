"""The three calls that change KV. Only `backups.execution`, `deletion`, `restores` and `changes` import it.

No call deletes one key by its path: a name such as `..` would turn it into a call that deletes the namespace. The one
call with a name in its path writes, and refuses such names before it is sent. Nothing here is ever sent twice by
itself.
"""

import base64
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import uuid4

from kvops.cloudflare import _json
from kvops.cloudflare._deadline import By
from kvops.cloudflare._errors import CloudflareError
from kvops.cloudflare._http import ID, ApiClient, Route, checked_id
from kvops.cloudflare._kv import NAME, NAMESPACES, KvEntry, checked, segment
from kvops.refusals import Sentence, Sentence as _, said_by

BULK_LIMIT = 10_000
SHOWN = 3
"""Names. The most that an error text lists, if Cloudflare's answer mentions names that were never sent."""

_UNCLEAN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f]")
"""Control characters grow sixfold in JSON. A value with them is sent as base64, which grows by a third."""


@dataclass(frozen=True, slots=True)
class BulkOutcome:
    """The outcome of a bulk call, as far as its answer tells.

    `unsuccessful` names are not done in every location, so neither done nor undone: read them again. `unknown` names
    were sent, but the answer was lost or contradicts itself; `problem` gives the reason. `contradicts` means that an
    answer came and cannot be true.
    """

    successful_count: int
    unsuccessful: list[str]
    unknown: list[str]
    problem: Sentence | None = None
    contradicts: bool = False


class KVWriter(ApiClient):
    """Writes to KV with a write token; takes the arguments of Cloudflare.

    `until`, by `time.monotonic()`, is the time after which a read that the call relies on is too old. No byte of a
    delete is sent after it: the call raises TooLate, or its names are `unknown`. A write must begin by then, and may
    take longer.
    """

    routes = (
        Route("bulk_delete", "POST", f"{NAMESPACES}/{ID}/bulk/delete", repeatable=False, operation="delete"),
        Route("bulk_put", "PUT", f"{NAMESPACES}/{ID}/bulk", repeatable=False, operation="write"),
        Route("put_value", "PUT", f"{NAMESPACES}/{ID}/values/{NAME}", repeatable=False, operation="write"),
    )

    @property
    def written_at(self) -> float:
        """The time when the end of the newest call was written, by `time.monotonic()`."""
        return self._transport.written_at

    def bulk_delete(self, namespace_id: str, names: Sequence[str], *, until: float | None = None) -> BulkOutcome:
        """Delete up to 10,000 keys in one call that is never repeated.

        Raises InvalidKeyName and ValueError before anything is sent, and CloudflareError only if nothing was deleted. A
        lost answer is an outcome with the names as `unknown`.
        """
        path = f"{NAMESPACES}/{checked_id(namespace_id)}/bulk/delete"
        return self._bulk("POST", path, _distinct(names), json.dumps(list(names)), _by(until, whole=True))

    def bulk_put(self, namespace_id: str, entries: Sequence[KvEntry], *, until: float | None = None) -> BulkOutcome:
        """Write up to 10,000 entries in one call that is never repeated; as bulk_delete."""
        path = f"{NAMESPACES}/{checked_id(namespace_id)}/bulk"
        names = _distinct([entry.name for entry in entries])
        return self._bulk("PUT", path, names, f"[{','.join(map(_pair, entries))}]", _by(until))

    def put_value(self, namespace_id: str, entry: KvEntry, *, until: float | None = None) -> BulkOutcome:
        """Write one entry, of any size and metadata, in one call that is never repeated; as bulk_delete."""
        path = f"{NAMESPACES}/{checked_id(namespace_id)}/values/{segment(entry.name)}"
        body, content_type = entry.data, "application/octet-stream"
        if entry.metadata is not None:
            body, content_type = _form(entry.data, _json.text(_json.parse_json(entry.metadata)))
        query = None if entry.expiration is None else {"expiration": str(entry.expiration)}
        return self._call(
            [entry.name],
            lambda: self._transport.json(
                "PUT",
                path,
                query=query,
                body=body,
                content_type=content_type,
                read=lambda _: BulkOutcome(1, [], []),
                by=_by(until),
            ),
        )

    def _bulk(self, method: str, path: str, names: list[str], body: str, by: By | None) -> BulkOutcome:
        return self._call(
            names,
            lambda: self._transport.json(method, path, body=body.encode(), read=_reader(names), keys=len(names), by=by),
        )

    def _call(self, names: list[str], send: Callable[[], BulkOutcome]) -> BulkOutcome:
        try:
            return send()
        except CloudflareError as error:
            if not error.outcome_unknown:
                raise
            return BulkOutcome(0, [], names, said_by(error))


def _by(until: float | None, *, whole: bool = False) -> By | None:
    return None if until is None else By(until, whole)


def _distinct(names: Sequence[str]) -> list[str]:
    if not 0 < len(names) <= BULK_LIMIT:
        raise ValueError(f"a bulk call takes 1 to {BULK_LIMIT} names, not {len(names)}")
    if len(set(names)) != len(names):
        raise ValueError("a name stands twice in one bulk call")
    return [checked(name) for name in names]


def _pair(entry: KvEntry) -> str:
    """One element of a bulk put. Its metadata is inserted as the JSON text it is."""
    members = {"key": json.dumps(entry.name)}
    if _is_text(entry.data):
        members["value"] = json.dumps(entry.data.decode(), ensure_ascii=False)
    else:
        members["value"] = json.dumps(base64.b64encode(entry.data).decode())
        members["base64"] = "true"
    if entry.expiration is not None:
        members["expiration"] = str(entry.expiration)
    if entry.metadata is not None:
        members["metadata"] = _json.text(_json.parse_json(entry.metadata))
    return "{" + ",".join(f'"{name}":{value}' for name, value in members.items()) + "}"


def _is_text(data: bytes) -> bool:
    """Whether the value survives as a JSON string, and is not much longer in that form."""
    try:
        return not _UNCLEAN.search(data.decode())
    except UnicodeDecodeError:
        return False


def _form(data: bytes, metadata: str) -> tuple[bytes, str]:
    """A form, and its content type. The value is a file in it, so that no server takes the value for text."""
    boundary = uuid4().hex
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="'
    value = 'value"; filename="value"\r\nContent-Type: application/octet-stream\r\n\r\n'
    start, end = f'{head}metadata"\r\n\r\n{metadata}\r\n{head}{value}', f"\r\n--{boundary}--\r\n"
    return b"".join([start.encode(), data, end.encode()]), f"multipart/form-data; boundary={boundary}"


def _reader(names: list[str]) -> Callable[[_json.Object], BulkOutcome]:
    def read(envelope: _json.Object) -> BulkOutcome:
        result = _json.as_object(envelope.get("result"))
        count = _json.as_int(result.get("successful_key_count"))
        # Absent or null is allowed (OpenAPI: optional, nullable). Then the count alone must say that all is done.
        named = result.get("unsuccessful_keys")
        failed = [] if named is None else [_json.as_text(name) for name in _json.as_list(named)]
        if count + len(set(failed)) != len(names) or not set(failed) <= set(names):
            strangers = ", ".join(repr(name[:60]) for name in sorted(set(failed) - set(names))[:SHOWN])
            sentence = _("Cloudflare's answer contradicts itself: %(done)s done and %(failed)s not, of %(sent)s sent.")
            if strangers:
                sentence = _(
                    "Cloudflare's answer contradicts itself: %(done)s done and %(failed)s not, of %(sent)s sent, and "
                    "never sent: %(strangers)s."
                )
            facts = {"done": count, "failed": len(failed), "sent": len(names), "strangers": strangers}
            return BulkOutcome(0, [], names, Sentence(sentence.template, **facts), contradicts=True)
        return BulkOutcome(count, failed, [])

    return read
