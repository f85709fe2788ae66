"""Reading Workers KV, and the key names that may be sent to it."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import quote

from kvops.cloudflare import _json
from kvops.cloudflare._errors import (
    ApiError,
    AuthError,
    CursorRefused,
    InvalidKeyName,
    KeyNotFound,
    NameRefused,
    PageForbidden,
    TooLarge,
)
from kvops.cloudflare._http import ID, ApiClient, Route, checked_id
from kvops.refusals import Sentence as _

NAMESPACES = "/storage/kv/namespaces"
METADATA_BYTES = 1024
"""Bytes of metadata that KV takes (developers.cloudflare.com/kv/platform/limits)."""
BULK_GET_LIMIT = 100
MAX_NAME_BYTES = 512

_ONE = f"{NAMESPACES}/{ID}"
NAME = r"(?!(?:\.|%2[eE]){1,2}$)[^/?#]+"  # one segment that no URL library can resolve away
KV_ROUTES = (
    Route("namespaces", "GET", NAMESPACES, repeatable=True),
    Route("namespace", "GET", _ONE, repeatable=True),
    Route("keys", "GET", f"{_ONE}/keys", repeatable=True, operation="list"),
    Route("value", "GET", f"{_ONE}/values/{NAME}", repeatable=True, operation="read"),
    Route("metadata", "GET", f"{_ONE}/metadata/{NAME}", repeatable=True, operation="read"),
    # A value as text can be six times as long. Values over the limit are read singly, as bytes.
    Route("bulk_get", "POST", f"{_ONE}/bulk/get", repeatable=True, operation="read", most=32 * 1024 * 1024),
)


def checked(name: str) -> str:
    """The name unchanged; raises InvalidKeyName for a name that KV cannot hold.

    `.` and `..` matter most: a URL library resolves them, and a call about one key would become a call about the whole
    namespace.
    """
    if name in ("", ".", ".."):
        raise InvalidKeyName(_("A key cannot be named '', '.' or '..'; take it off the list."), name)
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        raise InvalidKeyName(_("A key name here has no UTF-8 form; it can only be handled by hand."), name) from None
    if size > MAX_NAME_BYTES:
        raise InvalidKeyName(
            _("A key name here has %(size)s bytes; KV allows %(most)s.", size=size, most=MAX_NAME_BYTES), name
        )
    return name


def segment(name: str) -> str:
    """The name as a single path segment, `/` included; raises InvalidKeyName."""
    return quote(checked(name), safe="")


@dataclass(frozen=True, slots=True)
class NamespaceInfo:
    """A KV namespace by its id and title."""

    id: str
    title: str


@dataclass(frozen=True, slots=True)
class ListedKey:
    """A listed key. `expiration` is in seconds since 1970.

    `metadata` is JSON text (numbers as spelled, order and duplicates kept). It is None if there is none; the API does
    not tell that apart from a JSON null.
    """

    name: str
    expiration: int | None
    metadata: str | None


@dataclass(frozen=True, slots=True)
class KeyPage:
    """One page of a listing; the last one has no cursor. A page may be empty and have a cursor.

    Names without a UTF-8 form (a lone surrogate) stay in `keys`; `unencodable` counts them.
    """

    keys: list[ListedKey]
    cursor: str | None
    unencodable: int


@dataclass(frozen=True, slots=True)
class Value:
    """A value, byte for byte. `repr` shows neither it nor metadata, here and in KvEntry."""

    data: bytes = field(repr=False)
    expiration: int | None


@dataclass(frozen=True, slots=True)
class KvEntry:
    """A key with its value; the fields are those of ListedKey and Value."""

    name: str
    data: bytes = field(repr=False)
    expiration: int | None
    metadata: str | None = field(repr=False)


class KVReads(ApiClient):
    """The calls about KV that change nothing."""

    def namespaces(self) -> list[NamespaceInfo]:
        """All namespaces of the account."""
        return self._all_pages(NAMESPACES, _read_namespace)

    def namespace(self, namespace_id: str) -> NamespaceInfo:
        """One namespace; raises NotFound."""
        return self._transport.json(
            "GET",
            _path(namespace_id),
            read=lambda envelope: _read_namespace(_json.as_object(envelope.get("result"))),
        )

    def list_keys(
        self, namespace_id: str, *, prefix: str = "", cursor: str | None = None, limit: int = 1000
    ) -> KeyPage:
        """One page of names (`limit` 10 to 1000) in byte order; raises CursorRefused, InvalidKeyName."""
        query = {"limit": str(limit)}
        if not _json.encodable(prefix):
            raise InvalidKeyName(_("A prefix without a UTF-8 form cannot be listed."), prefix)
        if prefix:
            query["prefix"] = prefix  # with a cursor too: without the prefix the next page lists the whole namespace
        if cursor:
            query["cursor"] = cursor
        try:
            return self._transport.json(
                "GET",
                f"{_path(namespace_id)}/keys",
                query=query,
                read=lambda envelope: _read_page(envelope, prefix, cursor),
            )
        except ApiError as error:
            if cursor is None or error.status != HTTPStatus.BAD_REQUEST or isinstance(error, AuthError):
                raise
            raise CursorRefused(
                _("%(error)s The listing must start again from the beginning.", error=error),
                status=error.status,
                codes=error.codes,
                request_id=error.request_id,
            ) from error

    def value(self, namespace_id: str, name: str) -> Value:
        """The exact bytes of one value; raises KeyNotFound, and NameRefused."""
        with _name_in_path():
            data, headers = self._transport.raw("GET", f"{_path(namespace_id)}/values/{segment(name)}")
        expiration = headers.get("expiration", "")
        return Value(data, int(expiration) if expiration.isdigit() else None)

    def metadata(self, namespace_id: str, name: str) -> str | None:
        """The metadata of one key as JSON text; raises KeyNotFound, and NameRefused."""
        with _name_in_path():
            return self._transport.json(
                "GET",
                f"{_path(namespace_id)}/metadata/{segment(name)}",
                read=lambda envelope: _metadata(envelope.get("result")),
            )

    def exact_get(self, namespace_id: str, name: str) -> KvEntry | None:
        """One entry by single reads, None if the key is missing. Two calls.

        A write between the two calls gives an entry that never existed; it fails every later comparison.
        """
        try:
            value = self.value(namespace_id, name)
            metadata = self.metadata(namespace_id, name)
        except KeyNotFound:
            return None
        return KvEntry(name, value.data, value.expiration, metadata)

    def bulk_get(self, namespace_id: str, names: Sequence[str]) -> dict[str, KvEntry | None]:
        """Up to 100 entries, None for a missing key, in as many answers as their values need.

        All entries are in memory together. If their sizes are unknown, use `bulk_get_at_once` with fewer names.
        """
        found = self.bulk_get_at_once(namespace_id, names)
        if found is not None:
            return found
        half = len(names) // 2
        return self.bulk_get(namespace_id, names[:half]) | self.bulk_get(namespace_id, names[half:])

    def bulk_get_at_once(self, namespace_id: str, names: Sequence[str]) -> dict[str, KvEntry | None] | None:
        """Up to 100 entries in one answer, None for a missing key. None alone if several do not fit into one answer.

        Bulk answers are text, so values that came damaged (U+FFFD) are read again singly. A byte order mark at the
        start of a value is lost without a trace; only exact_get sees it.
        """
        if len(names) > BULK_GET_LIMIT:
            raise ValueError(f"bulk get takes at most {BULK_GET_LIMIT} names, not {len(names)}")
        if not names:
            return {}
        request = {"keys": [checked(n) for n in names], "type": "text", "withMetadata": True}
        try:
            found = self._transport.json(
                "POST",
                f"{_path(namespace_id)}/bulk/get",
                body=json.dumps(request).encode(),
                read=_read_bulk,
                keys=len(names),
            )
        except TooLarge:
            if len(names) > 1:
                return None
            return {names[0]: self.exact_get(namespace_id, names[0])}
        return {name: self._whole(namespace_id, name, found) for name in names}

    def _whole(self, namespace_id: str, name: str, found: dict[str, "_FoundValue | None"]) -> KvEntry | None:
        if name not in found:  # a name absent from the answer is not the same as a missing key
            return self.exact_get(namespace_id, name)
        entry = found[name]
        if entry is None:
            return None
        if "\ufffd" not in entry.value and _json.encodable(entry.value):
            return KvEntry(name, entry.value.encode(), entry.expiration, entry.metadata)
        try:
            value = self.value(namespace_id, name)
        except KeyNotFound:
            return None
        return KvEntry(name, value.data, value.expiration, entry.metadata)


class _FoundValue(NamedTuple):
    value: str
    expiration: int | None
    metadata: str | None


@contextmanager
def _name_in_path() -> Iterator[None]:
    """Around a request with a key's name in its path: tells the edge's refusal of the name from other answers."""
    try:
        yield
    except PageForbidden as page:
        raise NameRefused(
            _("Cloudflare refuses a request for this key's name: its value cannot be read singly. %(page)s", page=page),
            status=page.status,
            request_id=page.request_id,
        ) from page


def _path(namespace_id: str) -> str:
    return f"{NAMESPACES}/{checked_id(namespace_id)}"


def _metadata(value: _json.Value) -> str | None:
    return None if value is None else _json.text(value)


def _expiration(value: _json.Value) -> int | None:
    return None if value is None else _json.as_int(value)


def _read_namespace(item: _json.Object) -> NamespaceInfo:
    return NamespaceInfo(_json.as_text(item.get("id")), _json.as_text(item.get("title")))


def _read_page(envelope: _json.Object, prefix: str, cursor: str | None) -> KeyPage:
    keys = [_read_key(_json.as_object(item)) for item in _json.as_list(envelope.get("result"))]
    if not all(key.name.startswith(prefix) for key in keys):
        raise _json.Malformed(_("a listed name lies outside the prefix"))
    following = _json.as_object(envelope.get("result_info")).get("cursor")
    following = None if following is None else _json.as_text(following) or None
    if following is not None and following == cursor:
        raise _json.Malformed(_("the listing does not move on"))
    return KeyPage(
        keys,
        following,
        sum(not _json.encodable(key.name) for key in keys),
    )


def _read_key(item: _json.Object) -> ListedKey:
    return ListedKey(
        _json.as_text(item.get("name")),
        _expiration(item.get("expiration")),
        _metadata(item.get("metadata")),
    )


def _read_bulk(envelope: _json.Object) -> dict[str, _FoundValue | None]:
    result = _json.as_object(envelope.get("result"))
    return {
        name: None if item is None else _read_found(_json.as_object(item))
        for name, item in _json.as_object(result.get("values")).items()
    }


def _read_found(item: _json.Object) -> _FoundValue:
    return _FoundValue(
        _json.as_text(item.get("value")),
        _expiration(item.get("expiration")),
        _metadata(item.get("metadata")),
    )


def metadata_text(typed: str) -> str | None:
    """Metadata that a person typed, as the API returns it; None for `null`. Raises ValueError if KV would refuse it."""
    found = _metadata(_json.parse_json(typed))
    if found is not None and len(found.encode()) > METADATA_BYTES:
        raise ValueError(f"metadata takes at most {METADATA_BYTES} bytes")
    return found


def marked_metadata(metadata: str | None, member: str, value: str) -> str | None:
    """The metadata with one member set to a text, and every other member as it was spelled.

    None if there is metadata that is no object, repeats a name, or would be too long.
    """
    found = {} if metadata is None else _json.parse_json(metadata)
    if not isinstance(found, dict) or isinstance(found, _json.Repeated):
        return None
    text = _json.text({**found, member: value})
    return text if len(text.encode()) <= METADATA_BYTES else None
