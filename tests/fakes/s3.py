"""A small S3 over real HTTP, in memory: the independent truth about what was stored and asked.

It verifies signatures, Content-MD5 and SHA-256 checksums, refuses aws-chunked bodies as wrangler's
local R2 does, honours If-None-Match, and breaks on request.
"""

import base64
import hashlib
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, formatdate
from http.server import BaseHTTPRequestHandler
from typing import Literal, Self
from urllib.parse import parse_qsl, quote, unquote, urlsplit
from xml.sax.saxutils import escape

from tests.fakes.http import Listener
from tests.fakes.sigv4 import signature_fault

type FaultKind = Literal["torn", "lost_answer", "503", "403", "501"]


@dataclass
class S3Fault:
    """Something to go wrong with the next matching calls.

    `torn` cuts the connection after `after` bytes of the body, of the request when putting and of the
    answer when getting; `lost_answer` does the work and cuts the connection then.
    """

    kind: FaultKind
    method: str
    key: str | None
    after: int
    times: int


@dataclass(frozen=True)
class S3Call:
    """One request as it arrived; status 0 means the connection was cut."""

    method: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    status: int


@dataclass(frozen=True)
class S3Answer:
    """What to send back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] | None = None


class Refusal(Exception):
    """An S3 error answer."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.answer = S3Answer(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())


class FakeS3:
    """One bucket. Put into `objects` what should be there; `journal` holds every call."""

    def __init__(self, bucket: str = "backups", *, page_size: int = 1000, port: int = 0) -> None:
        self.bucket = bucket
        self.access_key_id = "AKIDFAKE"
        self.secret_access_key = "fake-secret"
        self.page_size = page_size
        self.dates: Callable[[], float] = time.time  # what the Date of an answer says
        self.objects: dict[str, bytes] = {}
        self.erased: dict[str, bytes] = {}
        self.metadata: dict[str, dict[str, str]] = {}
        self.stored_at: dict[str, datetime] = {}
        self.uploads: list[tuple[str, str, datetime]] = []  # key, id, begun: of uploads in parts that nobody finished
        self.journal: list[S3Call] = []
        self._locks: list[str] = []
        self._faults: list[S3Fault] = []
        self._hooks: list[Callable[[str, str], None]] = []
        self._started_at = datetime.now(UTC)
        self.lock = threading.Lock()
        self._server = _S3Listener(("127.0.0.1", port), type("Handler", (_S3Handler,), {"fake": self}))
        self._server.daemon_threads = True
        self._server.block_on_close = False

    @property
    def endpoint(self) -> str:
        """The address to give to a client."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()
        self._server.server_close()

    def fault(self, kind: FaultKind, method: str, *, key: str | None = None, after: int = 0, times: int = 1) -> None:
        """Break the next `times` calls of this method, for one key or any."""
        self._faults.append(S3Fault(kind, method, key, after, times))

    def hook(self, act: Callable[[str, str], None]) -> None:
        """Let `act(method, key)` run when a call has arrived, before its body is read and before anything is done."""
        self._hooks.append(act)

    def keep(self, prefix: str) -> None:
        """Keep every object under the prefix for ever: nothing is put over it, and it is not deleted."""
        self._locks.append(prefix)

    def _insist_not_locked(self, key: str) -> None:
        """R2 looks at its locks before any condition of the call."""
        if key in self.objects and any(map(key.startswith, self._locks)):
            raise Refusal(403, "ObjectLockedByBucketPolicy")

    def heal(self) -> None:
        """Take back every fault and hook."""
        self._faults.clear()
        self._hooks.clear()

    def arrived(self, method: str, key: str) -> None:
        """Tell the hooks of a call."""
        for act in list(self._hooks):
            act(method, key)

    def corrupt(self, key: str, bit: int) -> None:
        """Flip one bit of a stored object, counted from its first byte's lowest bit."""
        body = bytearray(self.objects[key])
        body[bit // 8] ^= 1 << bit % 8
        self.objects[key] = bytes(body)

    def calls(self, method: str) -> list[S3Call]:
        """The calls of one method, in order."""
        return [call for call in self.journal if call.method == method]

    def take_fault(self, method: str, key: str) -> S3Fault | None:
        """The fault that is due for this call."""
        for fault in self._faults:
            if fault.times and fault.method == method and fault.key in (None, key):
                fault.times -= 1
                return fault
        return None

    def put(self, key: str, body: bytes, headers: Mapping[str, str]) -> S3Answer:
        """PutObject."""
        if "x-amz-copy-source" in headers:
            raise Refusal(501, "NotImplemented")
        self._insist_not_locked(key)
        if headers.get("if-none-match") == "*" and key in self.objects:
            raise Refusal(412, "PreconditionFailed")
        if "if-match" in headers and (key not in self.objects or self._etag(key) != headers["if-match"]):
            raise Refusal(412, "PreconditionFailed")
        self.objects[key] = body
        self.stored_at[key] = datetime.now(UTC)
        self.metadata[key] = {
            name.removeprefix("x-amz-meta-"): value for name, value in headers.items() if name.startswith("x-amz-meta-")
        }
        return S3Answer(200, headers={"ETag": self._etag(key)})

    def get(self, key: str, headers: Mapping[str, str]) -> S3Answer:
        """GetObject and HeadObject, whole or a range of bytes."""
        if key not in self.objects:
            raise Refusal(404, "NoSuchKey")
        body = self.objects[key]
        described = {
            "ETag": self._etag(key),
            "Last-Modified": format_datetime(self.stored_at.get(key, self._started_at), usegmt=True),
            **{f"x-amz-meta-{name}": value for name, value in self.metadata.get(key, {}).items()},
        }
        wanted = headers.get("range", "")
        if not wanted.startswith("bytes="):
            return S3Answer(200, body, described)
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        start = int(first) if first else max(len(body) - int(last), 0)
        end = min(int(last), len(body) - 1) if first and last else len(body) - 1
        if start > end:
            raise Refusal(416, "InvalidRange")
        described["Content-Range"] = f"bytes {start}-{end}/{len(body)}"
        return S3Answer(206, body[start : end + 1], described)

    def delete(self, key: str) -> S3Answer:
        """DeleteObject."""
        self._insist_not_locked(key)
        if key in self.objects:
            self.erased[key] = self.objects.pop(key)
        return S3Answer(204)

    def list(self, query: Mapping[str, str]) -> S3Answer:
        """ListObjectsV2."""
        after = base64.urlsafe_b64decode(query.get("continuation-token", "")).decode() or query.get("start-after", "")
        matching = sorted(key for key in self.objects if key.startswith(query.get("prefix", "")) and key > after)
        size = min(int(query.get("max-keys", "1000")), self.page_size)
        page, rest = matching[:size], matching[size:]
        written = [quote(key, safe="/") if query.get("encoding-type") == "url" else escape(key) for key in page]
        items = "".join(
            f"<Contents><Key>{shown}</Key><Size>{len(self.objects[key])}</Size><ETag>{self._etag(key)}</ETag>"
            f"<LastModified>{self.stored_at.get(key, self._started_at):%Y-%m-%dT%H:%M:%SZ}</LastModified></Contents>"
            for key, shown in zip(page, written, strict=True)
        )
        token = base64.urlsafe_b64encode(page[-1].encode()).decode() if rest else ""
        following = f"<NextContinuationToken>{token}</NextContinuationToken>" if rest else ""
        encoding = "<EncodingType>url</EncodingType>" if query.get("encoding-type") == "url" else ""
        return S3Answer(
            200,
            f"<ListBucketResult><Name>{self.bucket}</Name><IsTruncated>{str(bool(rest)).lower()}</IsTruncated>"
            f"<KeyCount>{len(page)}</KeyCount>{encoding}{items}{following}</ListBucketResult>".encode(),
        )

    def list_uploads(self, query: Mapping[str, str]) -> S3Answer:
        """ListMultipartUploads."""
        items = "".join(
            f"<Upload><Key>{escape(key)}</Key><UploadId>{upload_id}</UploadId>"
            f"<Initiated>{begun:%Y-%m-%dT%H:%M:%SZ}</Initiated></Upload>"
            for key, upload_id, begun in sorted(self.uploads)[: int(query.get("max-uploads", "1000"))]
            if key.startswith(query.get("prefix", ""))
        )
        head = f"<Bucket>{self.bucket}</Bucket><IsTruncated>false</IsTruncated>"
        return S3Answer(200, f"<ListMultipartUploadsResult>{head}{items}</ListMultipartUploadsResult>".encode())

    def begin_upload(self, key: str) -> S3Answer:
        """CreateMultipartUpload."""
        upload_id = f"upload-{len(self.journal)}"
        self.uploads.append((key, upload_id, datetime.now(UTC)))
        named = f"<Bucket>{self.bucket}</Bucket><Key>{escape(key)}</Key><UploadId>{upload_id}</UploadId>"
        return S3Answer(200, f"<InitiateMultipartUploadResult>{named}</InitiateMultipartUploadResult>".encode())

    def abort_upload(self, key: str, upload_id: str) -> S3Answer:
        """AbortMultipartUpload."""
        left = [one for one in self.uploads if one[:2] != (key, upload_id)]
        if len(left) == len(self.uploads):
            raise Refusal(404, "NoSuchUpload")
        self.uploads = left
        return S3Answer(204)

    def _etag(self, key: str) -> str:
        return f'"{hashlib.md5(self.objects[key]).hexdigest()}"'


class _S3Listener(Listener):
    def handle_error(self, request: object, client_address: object) -> None:
        """Show what broke; a client that hangs up is part of the play."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _S3Handler(BaseHTTPRequestHandler):
    fake: FakeS3
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def log_message(self, *args: object) -> None:
        """The journal is the log."""

    def handle_expect_100(self) -> bool:
        """As R2 and wrangler's local R2: no word before the answer."""
        return True

    def _serve(self) -> None:
        target = urlsplit(self.path)
        key = unquote(target.path).removeprefix("/").partition("/")[2]
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.fake.arrived(self.command, key)
        fault = self.fake.take_fault(self.command, key)
        kind = fault.kind if fault else None
        if fault and kind == "torn" and self.command == "PUT":
            self.rfile.read(fault.after)
            self._note(key, query, headers, 0)
            self._cut()
            return
        body = self.rfile.read(int(headers.get("content-length", "0")))
        with self.fake.lock:
            try:
                self._check(kind, target.path, query, headers, body)
                answer = self._answer(key, query, headers, body)
            except Refusal as refusal:
                answer = refusal.answer
            self._note(key, query, headers, 0 if kind in ("torn", "lost_answer") else answer.status)
        if fault is None or kind not in ("torn", "lost_answer"):
            self._send(answer, len(answer.body))
            return
        if kind == "torn":
            self._send(answer, fault.after)
        self._cut()

    do_GET = do_HEAD = do_PUT = do_DELETE = do_POST = _serve  # noqa: N815

    def _check(
        self,
        kind: FaultKind | None,
        path: str,
        query: Mapping[str, str],
        headers: Mapping[str, str],
        body: bytes,
    ) -> None:
        if kind == "503":
            raise Refusal(503, "ServiceUnavailable")
        if kind == "501":
            raise Refusal(501, "NotImplemented")
        if kind == "403":
            raise Refusal(403, "AccessDenied")
        credentials = (self.fake.access_key_id, self.fake.secret_access_key)
        if refusal := signature_fault(credentials, f"{self.command}\n{path}", query, headers, body):
            raise Refusal(*refusal)
        _check_body(headers, body)
        if unquote(path).split("/")[1] != self.fake.bucket:
            raise Refusal(404, "NoSuchBucket")

    def _answer(self, key: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes) -> S3Answer:
        match self.command:
            case "PUT" if key and not query.keys() - {"x-id"}:
                return self.fake.put(key, body, headers)
            case "GET" if not key and query.get("list-type") == "2":
                return self.fake.list(query)
            case "GET" if not key and "uploads" in query:
                return self.fake.list_uploads(query)
            case "GET" | "HEAD" if key and not query.keys() - {"x-id"}:
                return self.fake.get(key, headers)
            case "DELETE" if key and not query.keys() - {"x-id"}:
                return self.fake.delete(key)
        return self._upload(key, query)

    def _upload(self, key: str, query: Mapping[str, str]) -> S3Answer:
        """The calls about uploads in parts, as far as there are any."""
        if key and self.command == "POST" and "uploads" in query:
            return self.fake.begin_upload(key)
        if key and self.command == "DELETE" and "uploadId" in query:
            return self.fake.abort_upload(key, query["uploadId"])
        raise Refusal(501, "NotImplemented")

    def _note(self, key: str, query: Mapping[str, str], headers: Mapping[str, str], status: int) -> None:
        self.fake.journal.append(S3Call(self.command, key, query, headers, status))

    def _send(self, answer: S3Answer, count: int) -> None:
        self.send_response_only(answer.status)
        self.send_header("Date", formatdate(self.fake.dates(), usegmt=True))
        self.send_header("x-amz-request-id", f"fake-{len(self.fake.journal)}")
        for name, value in (answer.headers or {}).items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body[:count])
        self.wfile.flush()

    def _cut(self) -> None:
        # Linger 0 makes the close a reset, as a failing network does.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()


def _check_body(headers: Mapping[str, str], body: bytes) -> None:
    if "aws-chunked" in headers.get("content-encoding", "") or "transfer-encoding" in headers:
        raise Refusal(501, "NotImplemented")
    stated = {
        "content-md5": hashlib.md5(body).digest(),
        "x-amz-checksum-sha256": hashlib.sha256(body).digest(),
    }
    for name, digest in stated.items():
        if name in headers and headers[name] != base64.b64encode(digest).decode():
            raise Refusal(400, "BadDigest")
