"""What each documented route of Workers KV, D1 and the guards of R2 buckets does, over what is in memory."""

import base64
import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import count, islice
from urllib.parse import parse_qs, unquote_to_bytes

from tests.fakes.code import FakeCode
from tests.fakes.faults import ApiFault
from tests.fakes.http import Reply, Request
from tests.fakes.namespaces import FakeNamespace, Item, Stored
from tests.fakes.past import Remembering
from tests.fakes.rawjson import Text, elements, members

BULK_GET_BYTES = 25 * 1024 * 1024
VALUE_BYTES = 25 * 1024 * 1024
METADATA_BYTES = 1024
NAME_BYTES = 512


class ApiProblem(Exception):
    """A refusal: status, code and message."""

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message


@dataclass(slots=True)
class Answered:
    """What the last read of a key was told, and when: the SHA-256 of the value (None: no such key), and the rest."""

    at: float
    value: str | None
    expiration: int | None = None
    metadata: str | None = None


@dataclass
class FakeBucket:
    """How a bucket is guarded; its objects are in the fake S3. Rules and `custom` are as the API gives them."""

    rules: list[dict[str, object]] = field(default_factory=list)
    lifecycle: list[dict[str, object]] = field(default_factory=list)
    r2_dev: bool = False
    custom: list[dict[str, object]] = field(default_factory=list)

    def lock(self, prefix: str, *, days: float = 14, enabled: bool = True, **condition: object) -> None:
        """One more rule: by age, unless another condition is given."""
        by = condition or {"type": "Age", "maxAgeSeconds": int(days * 86_400)}
        self.rules.append({"id": f"rule-{len(self.rules) + 1}", "enabled": enabled, "prefix": prefix, "condition": by})

    def expire(self, prefix: str, *, days: float = 30, enabled: bool = True, **condition: object) -> None:
        """One more rule that deletes objects: by age, unless another condition is given."""
        by = condition or {"type": "Age", "maxAge": int(days * 86_400)}
        rule = {"id": f"expiry-{len(self.lifecycle) + 1}", "enabled": enabled, "conditions": {"prefix": prefix}}
        self.lifecycle.append(rule | {"deleteObjectsTransition": {"condition": by}})

    def connect(self, domain: str, *, enabled: bool = True) -> None:
        """One more domain of the team's own."""
        status = {"ownership": "active", "ssl": "active"}
        self.custom.append({"domain": domain, "enabled": enabled, "status": status})


ABORTING = [
    {
        "id": "Default Multipart Abort Rule",
        "enabled": True,
        "conditions": {"prefix": ""},
        "abortMultipartUploadsTransition": {"condition": {"type": "Age", "maxAge": 604_800}},
    }
]
"""The rule that each bucket is born with (developers.cloudflare.com/r2/buckets/object-lifecycles)."""


EDGE = Reply(403, b"<!DOCTYPE html><title>Forbidden</title>", {"Content-Type": "text/html"})
"""What Cloudflare's edge answers for a name in a path that it takes for an attack."""


@dataclass(slots=True)
class Context:
    """One call: what it is about, and what it did to which key (SHA-256 of the values).

    `read` holds, for each deleted or written key, what its last read was told before.
    """

    request: Request
    account: str
    target: str  # namespace or database id
    name: str  # key name
    permission: str
    fault: ApiFault | None
    deleted: dict[str, str | None] = field(default_factory=dict)
    written: dict[str, str] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)
    read: dict[str, Answered] = field(default_factory=dict)
    beside: dict[str, tuple[int | None, str | None]] = field(default_factory=dict)

    def query(self, name: str, default: str) -> str:
        """One query parameter."""
        return parse_qs(self.request.query, keep_blank_values=True).get(name, [default])[-1]

    def has(self, kind: str) -> ApiFault | None:
        """The fault of this call if it is of that kind."""
        return self.fault if self.fault and self.fault.kind == kind else None


def success(result: Text, **more: str) -> Reply:
    """A successful envelope around JSON text."""
    parts: dict[str, Text] = {"success": "true", "errors": "[]", "messages": "[]", "result": result, **more}
    return Reply(200, members(parts).encode(), {"Content-Type": "application/json"})


class Api:
    """The estate and the routes over it; the clock is seconds since 1970 and may be replaced.

    `lag` says how old the answer to the next read of a key may be; only a namespace that remembers can give an old one.
    """

    def __init__(self) -> None:
        self.namespaces: dict[str, FakeNamespace] = {}
        self.databases: dict[str, tuple[str, str, sqlite3.Connection]] = {}
        self.buckets: dict[tuple[str, str], FakeBucket] = {}
        self.code: dict[str, FakeCode] = {}
        self.clock: Callable[[], float] = lambda: 0.0
        self.lag: Callable[[str, str], float] | None = None
        self.reads: dict[tuple[str, str], Answered] = {}
        self.refused_names: set[str] = set()
        self.token_status = "active"
        self._serial = count()

    def verify_token(self, _context: Context) -> Reply:
        """What is said of a token that is known."""
        return success(json.dumps({"id": "f" * 32, "status": self.token_status}))

    # Code

    def code_of(self, context: Context) -> FakeCode:
        """The deployed code of the account."""
        return self.code.setdefault(context.account, FakeCode())

    # Namespaces

    def list_namespaces(self, context: Context) -> Reply:
        found = [n for n in self.namespaces.values() if n.account == context.account]
        return numbered(context, [_namespace(n) for n in found], 20)

    def get_namespace(self, context: Context) -> Reply:
        return success(json.dumps(_namespace(self._namespace(context))))

    def delete_namespace(self, context: Context) -> Reply:
        del self.namespaces[self._namespace(context).id]
        return success("null")

    # Keys

    def list_keys(self, context: Context) -> Reply:
        namespace = self._namespace(context)
        limit = int(context.query("limit", "1000"))
        if not 10 <= limit <= 1000:
            raise ApiProblem(400, 10001, "limit must be 10 to 1000")
        after = _position(context.query("cursor", ""))
        live = filter(self._lives, self._walk(namespace, context.query("prefix", ""), after))
        items = list(islice(live, limit + 1))
        page, more = items[:limit], len(items) > limit
        if context.has("empty_page"):
            page, more = [], True
        cursor = ""
        if more:
            position = [next(self._serial), page[-1].name if page else after]
            cursor = base64.urlsafe_b64encode(json.dumps(position).encode()).decode()
        info = json.dumps({"count": len(page), "cursor": cursor})
        return success(f"[{','.join(map(_listed, page))}]", result_info=info)

    def get_value(self, context: Context) -> Reply:
        if context.name in self.refused_names:
            return EDGE
        item = self._item(context, "value")
        headers = {"Content-Type": "application/octet-stream"}
        if item.expiration is not None:
            headers["expiration"] = str(item.expiration)
        return Reply(200, item.data, headers)

    def get_metadata(self, context: Context) -> Reply:
        if context.name in self.refused_names:
            return EDGE
        return success(self._item(context, "metadata").metadata or "null")

    def put_value(self, context: Context) -> Reply:
        data, metadata = context.request.body, None
        content_type = context.request.headers.get("Content-Type", "")
        if content_type.startswith("multipart/form-data"):
            parts = _multipart(data, content_type)
            if set(parts) != {"value", "metadata"}:
                raise ApiProblem(400, 10047, "value and metadata are expected")
            data, metadata = parts["value"], parts["metadata"].decode()
        sent = {key: context.query(key, "") for key in ("expiration", "expiration_ttl")}
        self._write(context, context.name, data, metadata, {k: v for k, v in sent.items() if v})
        return success("null")

    def delete_value(self, context: Context) -> Reply:
        self._delete(context, context.name)
        return success("null")

    def bulk_get(self, context: Context) -> Reply:
        namespace, body = self._namespace(context), _body(context)
        names = body.get("keys") if isinstance(body, dict) else None
        if not isinstance(body, dict) or not isinstance(names, list) or not 0 < len(names) <= 100:
            raise ApiProblem(400, 10029, "1 to 100 keys are expected")
        live = {str(name): self._read(namespace, "bulk_get", str(name)) for name in names}
        if sum(len(item.data) for item in live.values() if item) > BULK_GET_BYTES:
            raise ApiProblem(413, 10022, "the values are over 25 MiB in all")
        full, parsed = body.get("withMetadata") is True, body.get("type") == "json"
        values = {name: _bulk_value(item, full, parsed) if item else "null" for name, item in live.items()}
        return success({"values": values})

    def bulk_put(self, context: Context) -> Reply:
        try:
            pairs = elements(context.request.body.decode())
            entries = {json.loads(pair["key"]): pair for pair in pairs}
        except (ValueError, KeyError) as error:
            raise ApiProblem(400, 10012, "invalid request body") from error

        def write(name: str) -> None:
            pair = entries[name]
            data = str(json.loads(pair["value"])).encode()
            if pair.get("base64") == "true":
                data = base64.b64decode(data)
            self._write(context, name, data, pair.get("metadata"), pair)

        return self._bulk(context, list(entries), write)

    def bulk_delete(self, context: Context) -> Reply:
        names = _body(context)
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ApiProblem(400, 10012, "invalid request body")
        return self._bulk(context, names, lambda name: self._delete(context, name))

    # D1

    def list_databases(self, context: Context) -> Reply:
        found: list[dict[str, object]] = [
            {"uuid": uuid, "name": name, "version": "production"}
            for uuid, (account, name, _) in self.databases.items()
            if account == context.account
        ]
        return numbered(context, found, 1000)

    def run_query(self, context: Context) -> Reply:
        account, _, database = self.databases.get(context.target, ("", "", None))
        if database is None or account != context.account:
            raise ApiProblem(404, 7404, "The database could not be found")
        body = _body(context)
        if not isinstance(body, dict):
            raise ApiProblem(400, 7400, "invalid request body")
        database.execute(f"PRAGMA query_only = {context.permission == 'read'}")
        results = []
        for statement in body.get("batch") or [body]:
            try:
                cursor = database.execute(statement["sql"], statement.get("params") or [])
            except sqlite3.Error as error:
                raise ApiProblem(400, 7500, f"{error}: SQLITE_ERROR") from error
            columns = [column[0] for column in cursor.description or ()]
            rows = [dict(zip(columns, map(_cell, row), strict=True)) for row in cursor]
            meta = {
                "rows_read": len(rows),
                "rows_written": max(cursor.rowcount, 0),
                "duration": 0.1,
            }
            results.append({"results": rows, "success": True, "meta": meta})
        database.commit()
        return success(json.dumps(results))

    # R2

    def bucket_lock(self, context: Context) -> Reply:
        return success(json.dumps({"rules": self._bucket(context).rules}))

    def bucket_lifecycle(self, context: Context) -> Reply:
        return success(json.dumps({"rules": [*ABORTING, *self._bucket(context).lifecycle]}))

    def managed_domain(self, context: Context) -> Reply:
        name = sha256(f"{context.account}/{context.target}".encode()).hexdigest()[:32]
        managed = {"bucketId": name, "domain": f"pub-{name}.r2.dev", "enabled": self._bucket(context).r2_dev}
        return success(json.dumps(managed))

    def custom_domains(self, context: Context) -> Reply:
        return success(json.dumps({"domains": self._bucket(context).custom}))

    def _bucket(self, context: Context) -> FakeBucket:
        bucket = self.buckets.get((context.account, context.target))
        if bucket is None:
            raise ApiProblem(404, 10006, "The specified bucket does not exist.")
        return bucket

    # What the routes share

    def _namespace(self, context: Context) -> FakeNamespace:
        namespace = self.namespaces.get(context.target)
        if namespace is None or namespace.account != context.account:
            raise ApiProblem(404, 10013, "namespace not found")
        return namespace

    def _lives(self, item: Item) -> bool:
        return item.expiration is None or item.expiration > self.clock()

    def _item(self, context: Context, route: str) -> Item:
        item = self._read(self._namespace(context), route, context.name)
        if item is None:
            raise ApiProblem(404, 10009, "get: 'key not found'")
        return item

    def _walk(self, namespace: FakeNamespace, prefix: str, after: str | None) -> Iterator[Item]:
        if self.lag is not None and isinstance(namespace, Remembering):
            return namespace.walk_as_of(prefix, after, self.clock() - self.lag("keys", ""))
        return namespace.walk(prefix, after)

    def _read(self, namespace: FakeNamespace, route: str, name: str) -> Item | None:
        """A key as one read of it sees it, which is remembered; None when it is not there."""
        if self.lag is not None and isinstance(namespace, Remembering):
            item = namespace.as_of(name, self.clock() - self.lag(route, name))
        else:
            item = namespace.get(name)
        if item is not None and not self._lives(item):
            item = None
        if isinstance(namespace, Stored):
            self._remember((namespace.id, name), route, item)
        return item

    def _remember(self, key: tuple[str, str], route: str, item: Item | None) -> None:
        if item is None:
            self.reads[key] = Answered(self.clock(), None)
            return
        before = self.reads.get(key)
        if route == "metadata" and before:  # after its value, which has a time of its own
            before.metadata = item.metadata
        elif route == "value" and before:
            self.reads[key] = Answered(self.clock(), sha256(item.data).hexdigest(), item.expiration, before.metadata)
        else:
            value = sha256(item.data).hexdigest()
            self.reads[key] = Answered(self.clock(), value, item.expiration, item.metadata)

    def _delete(self, context: Context, name: str) -> None:
        namespace = self._namespace(context)
        item = namespace.delete(name)
        if answered := self.reads.get((namespace.id, name)):
            context.read[name] = answered
        lives = item is not None and self._lives(item)
        context.deleted[name] = sha256(item.data).hexdigest() if item and lives else None

    def _write(
        self,
        context: Context,
        name: str,
        data: bytes,
        metadata: str | None,
        times: dict[str, str],
    ) -> None:
        expiration = int(times["expiration"]) if "expiration" in times else None
        if "expiration_ttl" in times:
            expiration = int(self.clock()) + int(times["expiration_ttl"])
        if expiration is not None and expiration < self.clock() + 60:
            raise ApiProblem(400, 10034, "expiration must be at least 60 seconds ahead")
        if name in ("", ".", "..") or len(name.encode()) > NAME_BYTES:
            raise ApiProblem(400, 10012, "this is not a name for a key")
        if len(data) > VALUE_BYTES or len((metadata or "").encode()) > METADATA_BYTES:
            raise ApiProblem(413, 10022, "the value or its metadata is too large")
        namespace = self._namespace(context)
        before = namespace.get(name)
        if answered := self.reads.get((namespace.id, name)):
            context.read[name] = answered
        if before is not None and self._lives(before):
            context.replaced[name] = sha256(before.data).hexdigest()
        namespace.put(Item(name, data, expiration, None if metadata == "null" else metadata))
        context.written[name] = sha256(data).hexdigest()
        kept = None if metadata in {None, "null"} else json.dumps(json.loads(metadata or ""), sort_keys=True)
        context.beside[name] = (expiration, kept)

    def _bulk(self, context: Context, names: list[str], act: Callable[[str], None]) -> Reply:
        self._namespace(context)
        if len(names) > 10_000:
            raise ApiProblem(400, 10022, "at most 10000 keys")
        kept = _some(context.has("partial"), names) + _some(context.has("says_done"), names)
        for name in names:
            if name not in kept:
                act(name)
        failed = _some(context.has("partial"), names) + _some(context.has("says_undone"), names)
        done = len(names) - len(failed) - bool(context.has("wrong_count")) + bool(context.has("count_too_high"))
        if strangers := context.has("unknown_names"):
            failed += strangers.names or ["never:sent"]
            done -= len(failed)
        if context.has("named_twice"):
            failed, done = names[:1] * 2, len(names) - 2
        result: dict[str, object] = {"successful_key_count": done, "unsuccessful_keys": failed}
        if context.has("names_null"):
            result["unsuccessful_keys"] = None
        if context.has("fewer_unnamed"):
            result = {"successful_key_count": done - 1, "unsuccessful_keys": None}
        if context.has("names_absent"):
            del result["unsuccessful_keys"]
        return success(json.dumps(result))


def _some(fault: ApiFault | None, names: list[str]) -> list[str]:
    """The names a fault is about, of those that were sent; the first when it names none."""
    if fault is None:
        return []
    return names[:1] if fault.names is None else [name for name in names if name in fault.names]


def _namespace(namespace: FakeNamespace) -> dict[str, object]:
    return {"id": namespace.id, "title": namespace.title, "supports_url_encoding": True}


def numbered(context: Context, found: list[dict[str, object]], size: int) -> Reply:
    """One page of what was found."""
    page, per_page = int(context.query("page", "1")), int(context.query("per_page", str(size)))
    part = found[(page - 1) * per_page : page * per_page]
    info = {"count": len(part), "page": page, "per_page": per_page, "total_count": len(found)}
    return success(json.dumps(part), result_info=json.dumps(info))


def _position(cursor: str) -> str | None:
    try:
        return json.loads(base64.urlsafe_b64decode(cursor))[1] if cursor else None
    except (ValueError, LookupError, TypeError) as error:
        raise ApiProblem(400, 10001, "invalid cursor") from error


def _listed(item: Item) -> str:
    shown = {"name": json.dumps(item.name)}
    if item.expiration is not None:
        shown["expiration"] = str(item.expiration)
    if item.metadata is not None:
        shown["metadata"] = item.metadata
    return members(shown)


def _bulk_value(item: Item, full: bool, parsed: bool) -> Text:
    text = item.data.decode("utf-8-sig", "replace")  # as Cloudflare's runtime decodes
    if parsed:
        try:
            json.loads(text)
        except ValueError as error:
            raise ApiProblem(400, 10012, "a value is not JSON") from error
    value = text if parsed else json.dumps(text, ensure_ascii=False)  # as Cloudflare's runtime does
    if not full:
        return value
    shown = {"value": value, "metadata": item.metadata or "null"}
    if item.expiration is not None:
        shown["expiration"] = str(item.expiration)
    return shown


def _body(context: Context) -> object:
    try:
        return json.loads(context.request.body)
    except ValueError as error:
        raise ApiProblem(400, 10012, "invalid request body") from error


def _cell(value: object) -> object:
    return list(value) if isinstance(value, bytes) else value


def _multipart(body: bytes, content_type: str) -> dict[str, bytes]:
    boundary = b"--" + content_type.partition("boundary=")[2].strip('"').encode()
    parts: dict[str, bytes] = {}
    for part in body.split(boundary)[1:-1]:
        head, _, payload = part.partition(b"\r\n\r\n")
        parts[head.decode().partition('name="')[2].partition('"')[0]] = payload[:-2]
    return parts


def decoded(segments: Iterable[str]) -> list[str]:
    """Path segments with their percent signs resolved."""
    try:
        return [unquote_to_bytes(segment).decode() for segment in segments]
    except UnicodeDecodeError as error:
        raise ApiProblem(400, 7003, "the path is not UTF-8") from error
