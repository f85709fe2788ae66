"""The contract suite on a real account, which is a fake one here: refusals, allowance, leftovers and findings."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from inspect import getmembers, isfunction
from pathlib import Path
from typing import Any

import pytest

from tests.contract import (
    account,
    test_account,
    test_buckets,
    test_code,
    test_listing,
    test_objects,
    test_reading,
    test_writing,
)
from tests.contract.__main__ import main
from tests.contract.findings import BY_FILE, CONSEQUENCES
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.faults import failure
from tests.fakes.http import Reply, Request
from tests.fakes.s3 import FakeS3, S3Answer

OWNER, NAMESPACE, DATABASE = "d" * 32, "9" * 32, "00000000-0000-4000-8000-000000000009"
BUCKET = "kvops-contract-files"
LEFT = "contract:0123456789ab:x"


@dataclass
class Scratch:
    """An account with a scratch namespace, bucket and database, and the file that names them."""

    cloudflare: FakeCloudflare
    s3: FakeS3
    file: Path

    def write(self, **more: str | float) -> None:
        """Write the file."""
        told = {
            "account_id": OWNER,
            "namespace_id": NAMESPACE,
            "database_id": DATABASE,
            "bucket": self.s3.bucket,
            "read_token": "scratch-read",
            "write_token": "scratch-write",
            "r2_key": self.s3.access_key_id,
            "r2_secret": self.s3.secret_access_key,
            "api": self.cloudflare.base_url,
            "r2": self.s3.endpoint,
            "seen_within": 2.0,
            **more,
        }
        self.file.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in told.items() if value))

    def run(self, allowance: int = account.MOST) -> tuple[int, str]:
        """The command as `make contract` calls it: exit code and output."""
        command = [sys.executable, "-m", "tests.contract", str(self.file), str(allowance)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout + done.stderr

    @property
    def names(self) -> list[str]:
        """The names that are there."""
        return [item.name for item in self.cloudflare.namespace(NAMESPACE).walk("", None)]

    @property
    def written(self) -> list[str]:
        """The names and objects that were ever written or deleted."""
        names = [name for call in self.cloudflare.journal for name in (*call.written, *call.deleted)]
        return names + [call.key for method in ("PUT", "DELETE") for call in self.s3.calls(method)]


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    with FakeCloudflare() as fake, FakeS3(BUCKET) as s3:
        fake.add_token("scratch-read", account=OWNER, permission="read")
        fake.add_token("scratch-write", account=OWNER, permission="write")
        fake.add_namespace(OWNER, NAMESPACE, "kvops-contract")
        fake.add_bucket(OWNER, BUCKET)
        fake.add_database(OWNER, DATABASE, "kvops-contract-rows")
        found = Scratch(fake, s3, tmp_path / "contract.toml")
        found.write()
        yield found


def states(said: str) -> dict[str, str]:
    """The state of each finding."""
    lines = [line for line in said.splitlines() if line.startswith(("as expected ", "differs  ", "not known  "))]
    return {line[12:]: line[:12].strip() for line in lines}


def test_the_fake_account_behaves_and_all_that_was_made_is_removed(scratch: Scratch) -> None:
    scratch.cloudflare.put(NAMESPACE, LEFT, b"of a run that was killed")
    scratch.s3.objects["contract/0123456789ab/x.json"] = b"{}"
    code, said = scratch.run()
    found = states(said)
    assert (code, [name for name, state in found.items() if state == "differs"]) == (0, []), said
    assert len(found) > 50
    assert found["a locked object is neither deleted nor overwritten"] == "not known"
    assert found["a put over an object is refused and the first bytes stay"] == "as expected"
    assert "Removed what an earlier run left: 2." in said
    assert (scratch.names, scratch.s3.objects, scratch.s3.uploads) == ([], {}, [])
    sent = len(scratch.cloudflare.journal) + len(scratch.s3.journal)
    assert f"requests: {sent} of {account.MOST}" in said
    assert "a delete is seen after at most" in said
    ours = (account.NAMES.fullmatch, account.OBJECTS.fullmatch)
    assert [name for name in scratch.written if not any(match(name) for match in ours)] == []


def answers(route: str, change: Callable[[Any], object]) -> Callable[[Scratch], None]:
    """The difference that changes the JSON of each good answer of a route."""

    def bend(_request: Request, reply: Reply) -> Reply:
        if reply.status != 200:
            return reply
        document = json.loads(reply.body)
        change(document)
        return replace(reply, body=json.dumps(document, ensure_ascii=False).encode())

    return lambda scratch: scratch.cloudflare.bend(route, bend)


def refuses(route: str, status: int, code: int, *, when: Callable[[Request, Reply], bool]) -> Callable[[Scratch], None]:
    """The difference that refuses some calls of a route."""

    def bend(request: Request, reply: Reply) -> Reply:
        return failure(status, code, "planted") if when(request, reply) else reply

    return lambda scratch: scratch.cloudflare.bend(route, bend)


def without_ratelimit(scratch: Scratch) -> None:
    def drop(_request: Request, reply: Reply) -> Reply:
        reply.headers.pop("Ratelimit", None)
        return reply

    scratch.cloudflare.bend("value", drop)


def puts_over(scratch: Scratch) -> None:
    put = scratch.s3.put

    def over(key: str, body: bytes, headers: Mapping[str, str]) -> S3Answer:
        return put(key, body, {name: value for name, value in headers.items() if name != "if-none-match"})

    scratch.s3.put = over  # type: ignore[method-assign]


def lists_no_uploads(scratch: Scratch) -> None:
    def none(query: Mapping[str, str]) -> S3Answer:
        assert query
        empty = b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"
        return S3Answer(200, empty)

    scratch.s3.list_uploads = none  # type: ignore[method-assign]


def _no_metadata(document: Any) -> None:
    for item in document["result"]:
        item.pop("metadata", None)


def _no_nulls(document: Any) -> None:
    values = document["result"].get("values", {})
    document["result"]["values"] = {name: value for name, value in values.items() if value is not None}


def _as_text(document: Any) -> None:
    for row in document["result"][0]["results"]:
        row.update({name: str(value) for name, value in row.items() if isinstance(value, int)})


DIFFERENCES: dict[str, tuple[Callable[[Scratch], None], str]] = {
    "a missing key has another code": (
        refuses("value", 404, 10000, when=lambda _request, reply: reply.status == 404),
        "a missing key is 404 with its code",
    ),
    "an unknown token is a bad request": (
        refuses("keys", 400, 6003, when=lambda _request, reply: reply.status == 401),
        "an unknown token is refused",
    ),
    "the list has no metadata": (answers("keys", _no_metadata), "a listed key shows expiration and metadata"),
    "a bad cursor is not found": (
        refuses("keys", 404, 10001, when=lambda request, _reply: "not-a-cursor" in request.query),
        "a cursor that is none is refused",
    ),
    "bulk get takes fifty": (
        refuses("bulk_get", 400, 10029, when=lambda request, _reply: request.body.count(b'",') > 50),
        "bulk get takes a hundred names",
    ),
    "no Ratelimit": (without_ratelimit, "every answer tells the rate limit and its request id"),
    "D1 gives numbers as text": (answers("query", _as_text), "d1 answers a query with rows"),
    "D1 has another code": (
        refuses("query", 400, 7400, when=lambda _request, reply: reply.status == 400),
        "d1 refuses bad sql",
    ),
    "R2 puts over an object": (puts_over, "a put over an object is refused and the first bytes stay"),
    "R2 lists no uploads": (lists_no_uploads, "an upload in parts is listed until it is aborted"),
}


def test_planted_differences_are_found_with_what_breaks(scratch: Scratch) -> None:
    for plant, _name in DIFFERENCES.values():
        plant(scratch)
    code, said = scratch.run()
    found = states(said)
    assert (code, {name: found.get(name) for _, name in DIFFERENCES.values() if found.get(name) != "differs"}) == (
        1,
        {},
    )
    assert "what breaks: A backup could be overwritten by another one." in said
    assert "as expected" in found.values()


def test_without_requests_left_the_rest_is_not_known_and_all_is_removed(scratch: Scratch) -> None:
    code, said = scratch.run(allowance=140)
    assert (code, scratch.names, scratch.s3.objects) == (0, [], {}), said
    assert len(scratch.cloudflare.journal) + len(scratch.s3.journal) <= 140
    assert list(states(said).values()).count("not known") > 20
    assert "these are spent" in said


def test_what_cannot_be_removed_is_named_and_the_next_run_removes_it(scratch: Scratch) -> None:
    scratch.cloudflare.put(NAMESPACE, LEFT, b"v")
    scratch.s3.objects["contract/0123456789ab/x.json"] = b"{}"
    scratch.s3.keep("contract/")
    scratch.cloudflare.fault("bulk_delete", "error", times=99)
    target = account.load(scratch.file, "200")
    found = account.clean(target)
    assert (found.left, found.locked) == ([LEFT], ["contract/0123456789ab/x.json"])
    scratch.cloudflare.heal()
    assert (account.clean(target).left, scratch.names) == ([], [])


def foreign_name(scratch: Scratch) -> None:
    scratch.cloudflare.put(NAMESPACE, "somebody's", b"v")


def foreign_object(scratch: Scratch) -> None:
    scratch.s3.objects["qa/backups/kv/x.json"] = b"v"


def no_scratch_namespace(scratch: Scratch) -> None:
    scratch.cloudflare.add_namespace(OWNER, NAMESPACE, "settings")


def no_scratch_database(scratch: Scratch) -> None:
    scratch.write(database_id="00000000-0000-4000-8000-000000000008")
    scratch.cloudflare.add_database(OWNER, "00000000-0000-4000-8000-000000000008", "masters")


REFUSALS: dict[str, tuple[Callable[[Scratch], object], str]] = {
    "a missing field": (lambda scratch: scratch.write(write_token=""), "lacks write_token"),
    "no TOML": (lambda scratch: scratch.file.write_text("{"), "cannot be read"),
    "one token for both": (lambda scratch: scratch.write(write_token="scratch-read"), "are the same"),
    "a token that nobody has": (lambda scratch: scratch.write(write_token="nobody"), "cannot start"),
    "another host": (lambda scratch: scratch.write(api="https://example.com/client/v4"), "no host of Cloudflare"),
    "a namespace of another name": (no_scratch_namespace, "The namespace is settings"),
    "a bucket of another name": (lambda scratch: scratch.write(bucket="backups"), "The bucket is backups"),
    "a database of another name": (no_scratch_database, "The database is masters"),
    "a namespace with other keys": (foreign_name, 'The namespace holds "somebody\'s"'),
    "a bucket with other objects": (foreign_object, "The bucket holds 'qa/backups/kv/x.json'"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_a_target_that_is_no_scratch_one_is_refused_before_anything_is_written(
    scratch: Scratch, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    spoil, sentence = REFUSALS[what]
    spoil(scratch)
    assert main([str(scratch.file), "900"]) == 2
    assert sentence in capsys.readouterr().err
    assert scratch.written == []


@pytest.mark.parametrize("allowance", ["", "many", "0", "40", "3001", "-1"])
def test_without_an_allowance_nothing_is_sent(
    scratch: Scratch, capsys: pytest.CaptureFixture[str], allowance: str
) -> None:
    arguments = ["--", str(scratch.file), allowance]
    assert main(arguments) == 2
    assert "ALLOWANCE=3000" in capsys.readouterr().err
    assert scratch.cloudflare.journal == []


def test_requests_wait_for_their_turn() -> None:
    waits: list[float] = []
    allowance = account.Allowance(account.MOST, sleep=waits.append)
    for _ in range(account.PACE):
        allowance.take()
    assert waits == []
    allowance.take()
    assert (len(waits), account.WINDOW - 10 < waits[0] <= account.WINDOW) == (1, True)


def test_each_consequence_is_of_a_test_that_is_there() -> None:
    files = (test_account, test_buckets, test_code, test_listing, test_objects, test_reading, test_writing)
    assert {one.__name__.rpartition(".")[2] for one in files} == BY_FILE.keys()
    assert CONSEQUENCES.keys() <= {name for one in files for name, _function in getmembers(one, isfunction)}
