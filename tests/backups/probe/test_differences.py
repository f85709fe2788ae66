"""A Cloudflare that behaves otherwise: each planted difference is found, with what breaks."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from tests.backups.probe.conftest import Scratch
from tests.fakes.faults import failure
from tests.fakes.http import Reply, Request
from tests.fakes.s3 import S3Answer

type Change = Callable[[Any], object]
type Plant = Callable[[Scratch, pytest.MonkeyPatch], None]


def answers(route: str, change: Change) -> Plant:
    """The difference that changes the JSON of each good answer of a route."""

    def bend(_request: Request, reply: Reply) -> Reply:
        if reply.status != 200:
            return reply
        document = json.loads(reply.body)
        change(document)
        return replace(reply, body=json.dumps(document, ensure_ascii=False).encode())

    return lambda scratch, _: scratch.cloudflare.bend(route, bend)


def refuses(route: str, status: int, code: int, *, when: Callable[[Request, Reply], bool]) -> Plant:
    """The difference that refuses some calls of a route."""

    def bend(request: Request, reply: Reply) -> Reply:
        return failure(status, code, "planted") if when(request, reply) else reply

    return lambda scratch, _: scratch.cloudflare.bend(route, bend)


def without_header(name: str) -> Plant:
    def drop(_request: Request, reply: Reply) -> Reply:
        reply.headers.pop(name, None)
        return reply

    def plant(scratch: Scratch, _: pytest.MonkeyPatch) -> None:
        for route in ("namespace", "keys", "value", "metadata", "bulk_get", "bulk_put", "put_value", "bulk_delete"):
            scratch.cloudflare.bend(route, drop)
        for route in ("query", "bucket_lock"):
            scratch.cloudflare.bend(route, drop)

    return plant


def body(route: str, change: Callable[[bytes], bytes]) -> Plant:
    """The difference that changes the bytes of each good answer of a route."""

    def bend(_request: Request, reply: Reply) -> Reply:
        return replace(reply, body=change(reply.body)) if reply.status == 200 else reply

    return lambda scratch, _: scratch.cloudflare.bend(route, bend)


def _each(document: Any, change: Change) -> None:
    for item in document["result"]:
        change(item)


def _no_nulls(document: Any) -> None:
    values = document["result"]["values"]
    document["result"]["values"] = {name: value for name, value in values.items() if value is not None}


def _no_marks(document: Any) -> None:
    for item in document["result"]["values"].values():
        if item is not None:
            item["value"] = item["value"].replace("\ufffd", "")


def _spelled_by_hand(document: Any) -> None:
    document["result"].sort(key=lambda item: item["name"].encode("utf-16-be"))


def _one_short(document: Any) -> None:
    if document["result_info"]["cursor"]:
        document["result"].pop()


def _named(document: Any) -> None:
    document["result"]["unsuccessful_keys"] = ["kvops-probe-x"]


def _counts_nothing(request: Request, reply: Reply) -> Reply:
    if b"never-written" not in request.body:
        return reply
    return replace(reply, body=reply.body.replace(b'"successful_key_count": 1', b'"successful_key_count": 0'))


def _as_text(document: Any) -> None:
    for row in document["result"][0]["results"]:
        row.update({name: str(value) for name, value in row.items() if isinstance(value, int)})


def _writes_with_the_read_token(scratch: Scratch, _: pytest.MonkeyPatch) -> None:
    account = scratch.estate.qa.environment.account_id
    scratch.cloudflare.add_token("qa-read-token", account=account, permission="write")


def _puts_over(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    put = scratch.s3.put
    monkeypatch.setattr(scratch.s3, "put", lambda key, sent, _headers: put(key, sent, {}))


def _lists_from_the_start(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = scratch.s3.list
    monkeypatch.setattr(scratch.s3, "list", lambda query: listing({**query, "start-after": ""}))


def _lists_no_uploads(scratch: Scratch, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"
    monkeypatch.setattr(scratch.s3, "list_uploads", lambda _query: S3Answer(200, empty))


def _ignores_its_lock(scratch: Scratch, _: pytest.MonkeyPatch) -> None:
    scratch.cloudflare.bucket(scratch.estate.qa.environment.account_id, scratch.s3.bucket).lock("kvops-probe-")


def _deletes_nothing(scratch: Scratch, _: pytest.MonkeyPatch) -> None:
    kept: dict[str, object] = {}

    def remember(request: Request, reply: Reply) -> Reply:
        found = json.loads(reply.body)["result"]["values"] if reply.status == 200 else {}
        kept.update({name: value for name, value in found.items() if value is not None})
        stale = {name: value or kept.get(name) for name, value in found.items()}
        return replace(reply, body=json.dumps({**json.loads(reply.body), "result": {"values": stale}}).encode())

    scratch.cloudflare.bend("bulk_get", remember)


DIFFERENCES: dict[str, tuple[Plant, str]] = {
    "a missing key has another code": (
        refuses("value", 404, 10000, when=lambda _request, reply: reply.status == 404),
        "missing key",
    ),
    "a missing namespace looks like a missing key": (
        refuses("keys", 404, 10009, when=lambda _request, reply: reply.status == 404),
        "missing namespace",
    ),
    "an unknown token is a bad request": (
        refuses("namespace", 400, 6003, when=lambda _request, reply: reply.status == 401),
        "unknown token",
    ),
    "the read token writes": (_writes_with_the_read_token, "read token"),
    "the list has no metadata": (
        answers("keys", lambda found: _each(found, lambda item: item.pop("metadata", None))),
        "list: metadata",
    ),
    "a page is one name short": (answers("keys", _one_short), "list: cursor and prefix"),
    "the list is in the order of UTF-16": (answers("keys", _spelled_by_hand), "list: order"),
    "a bad cursor is not found": (
        refuses("keys", 404, 10001, when=lambda _request, reply: reply.status == 400),
        "list: bad cursor",
    ),
    "bulk get takes fifty": (
        refuses("bulk_get", 400, 10029, when=lambda request, _reply: request.body.count(b"get:") > 50),
        "bulk get: 100 names",
    ),
    "bulk get leaves missing keys out": (answers("bulk_get", _no_nulls), "bulk get: missing key"),
    "bulk get drops bad bytes": (answers("bulk_get", _no_marks), "bytes that are not UTF-8"),
    "a single read drops the mark": (
        body("value", lambda data: data.removeprefix(b"\xef\xbb\xbf")),
        "byte order mark",
    ),
    "an odd name in a path is not found": (
        refuses("value", 404, 10009, when=lambda request, _reply: "%1F" in request.path),
        "odd names: single read",
    ),
    "an attack is a bad request": (
        refuses("value", 400, 7003, when=lambda request, _reply: "script" in request.path),
        "names like an attack",
    ),
    "bulk put names a key": (answers("bulk_put", _named), "bulk put: answer"),
    "a missing key is not counted as deleted": (
        lambda scratch, _: scratch.cloudflare.bend("bulk_delete", _counts_nothing),
        "bulk delete of a missing key",
    ),
    "a deleted key stays in bulk get": (_deletes_nothing, "list and get after a delete"),
    "the list has no expiration": (
        answers("keys", lambda found: _each(found, lambda item: item.pop("expiration", None))),
        "expiration",
    ),
    "bulk get answers without a result": (
        answers("bulk_get", lambda found: found.update(result=None)),
        "bulk get: 100 names",
    ),
    "no Ratelimit": (without_header("Ratelimit"), "Ratelimit"),
    "D1 gives numbers as text": (answers("query", _as_text), "D1: types"),
    "D1 has another code": (
        refuses("query", 400, 7400, when=lambda _request, reply: reply.status == 400),
        "D1: refused statement",
    ),
    "R2 puts over an object": (_puts_over, "R2: put over an object"),
    "R2 lists from the start": (_lists_from_the_start, "R2: listing"),
    "R2 lists no uploads": (_lists_no_uploads, "R2: unfinished uploads"),
    "R2 ignores its lock": (_ignores_its_lock, "R2: lock"),
}


@pytest.mark.parametrize("difference", DIFFERENCES)
def test_a_planted_difference_is_found(scratch: Scratch, monkeypatch: pytest.MonkeyPatch, difference: str) -> None:
    plant, behaviour = DIFFERENCES[difference]
    plant(scratch, monkeypatch)
    found = {one["name"]: one["consequence"] for one in scratch.report()["findings"] if one["state"] == "differs"}
    assert found.get(behaviour), found
