"""Objects in R2, through its S3 API. No Django, no models; callers see the types and errors of `store` only."""

import logging
import os
from base64 import b64encode
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from functools import cache
from hashlib import md5, sha256
from http import HTTPStatus
from threading import Lock
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from backups.bucket.store import (
    AccessRefused,
    CredentialsRefused,
    NotOffered,
    ObjectConflict,
    ObjectInfo,
    ObjectLocked,
    ObjectMissing,
    Page,
    StoreError,
    StoreUnavailable,
    Upload,
)
from kvops.cloudflare import RemoteClock, is_loopback
from kvops.refusals import Sentence, Sentence as _, said_by

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_s3.type_defs import GetObjectOutputTypeDef, HeadObjectOutputTypeDef

CHUNK = 64 * 1024
CONNECT_TIMEOUT = 10.0  # seconds
READ_TIMEOUT = 60.0  # seconds
ATTEMPTS = 3
LOCKED = "ObjectLockedByBucketPolicy"
"""R2's code (10069) for a put or a delete of an object that a bucket lock keeps."""
UNKNOWN = {"InvalidAccessKeyId", "SignatureDoesNotMatch"}
"""S3's codes for credentials that it does not know. R2 answers 401 to those of a token that was deleted."""
_making_a_client = Lock()
_LATER = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_MANY_REQUESTS)

# These libraries log request headers and object names at DEBUG.
for _name in ("boto3", "botocore", "s3transfer", "urllib3"):
    logging.getLogger(_name).setLevel(logging.WARNING)


class R2Store:
    """A bucket of R2, or of another store with an S3 API."""

    def __init__(
        self,
        *,
        endpoint: str,
        bucket: str,
        access_key_id: str,
        secret_access_key: str,
        allowed_hosts: Collection[str],
        connect_timeout: float = CONNECT_TIMEOUT,
        read_timeout: float = READ_TIMEOUT,
        attempts: int = ATTEMPTS,
    ) -> None:
        """Raises AccessRefused for an endpoint that may not be called; nothing is sent yet."""
        self.bucket = bucket
        _check_endpoint(endpoint, allowed_hosts)
        self._client = _client(endpoint, (access_key_id, secret_access_key), (connect_timeout, read_timeout), attempts)
        self._clock = RemoteClock()
        self.answered = False
        self._client.meta.events.register("after-call.s3", self._note_answer)
        self._client.meta.events.register_last("before-call.s3", _expect_nothing)
        self._client.meta.events.register("before-send.s3", _only_to(allowed_hosts))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def put(self, key: str, body: bytes, *, content_type: str = "application/json") -> ObjectInfo:
        """Store a new object; see Store.

        If an answer is lost, the repeated call returns the object that the first one stored. Behind a bucket lock R2
        may refuse the repeated call with 403 instead of 412.
        """
        digest = sha256(body)
        try:
            with self._edge(_("put"), key):
                # The signature covers the body's SHA-256. Content-MD5 is the one checksum that both R2 and wrangler's
                # local R2 verify. With it, boto3 does not use aws-chunked encoding.
                self._client.put_object(
                    Bucket=self.bucket,
                    Key=key,
                    Body=body,
                    ContentType=content_type,
                    ContentMD5=b64encode(md5(body, usedforsecurity=False).digest()).decode(),
                    IfNoneMatch="*",
                    Metadata={"sha256": digest.hexdigest()},
                )
        except (ObjectConflict, ObjectLocked) as refused:
            if self._stored_sha256(key) != digest.digest():
                raise ObjectConflict(said_by(refused)) from refused
        found = self.head(key)
        if found is None:
            raise StoreUnavailable(
                _("%(key)s was put into %(bucket)s and is not there: try again.", key=key, bucket=self.bucket)
            )
        return found

    def ask_to_put(self, key: str) -> None:
        """Ask whether these credentials may put an object, without storing one: no object has the ETag that is named.

        Raises StoreError, such as AccessRefused.
        """
        nobody = f'"{"0" * 32}"'
        try:
            with self._edge(_("put"), key):
                self._client.put_object(Bucket=self.bucket, Key=key, Body=b"", IfMatch=nobody)
        except (ObjectConflict, ObjectMissing):
            return
        ignored = _(
            "%(bucket)s stored an empty %(key)s, although the put had a condition that nothing meets.",
            bucket=self.bucket,
            key=key,
        )
        raise StoreError(ignored)

    def get(self, key: str) -> bytes:
        """The whole object; see Store."""
        return b"".join(self.open(key))

    def open(self, key: str, *, seen: Callable[[ObjectInfo], object] | None = None) -> Iterator[bytes]:
        """The object in chunks; see Store. A body that ends early raises StoreUnavailable."""
        with self._edge(_("get"), key):
            found = self._client.get_object(Bucket=self.bucket, Key=key)
            body = found["Body"]
            if seen is not None:
                seen(_info(key, found))
            try:
                yield from body.iter_chunks(CHUNK)
            finally:
                body.close()

    def head(self, key: str) -> ObjectInfo | None:
        """The store's description of the object; see Store."""
        try:
            with self._edge(_("head"), key):
                found = self._client.head_object(Bucket=self.bucket, Key=key)
        except ObjectMissing:
            return None
        return _info(key, found)

    def page(self, prefix: str, *, after: str = "", limit: int = 1000) -> Page:
        """A page of the listing; see Store.

        It continues by name, because a continuation token may have expired by then.
        """
        with self._edge(_("list"), prefix):
            found = self._client.list_objects_v2(Bucket=self.bucket, Prefix=prefix, StartAfter=after, MaxKeys=limit)
        objects = [
            ObjectInfo(item["Key"], item["Size"], item["ETag"].strip('"'), item["LastModified"])
            for item in found.get("Contents", ())
        ]
        more = found["IsTruncated"]
        if any(later.key <= before for before, later in zip([after, *(o.key for o in objects)], objects, strict=False)):
            raise StoreError(
                _(
                    "The list of %(prefix)s in bucket %(bucket)s is not in the order of its names.",
                    prefix=repr(prefix),
                    bucket=self.bucket,
                )
            )
        if more and not objects:
            raise StoreUnavailable(
                _(
                    "The list of %(prefix)s in bucket %(bucket)s does not move on: try again.",
                    prefix=repr(prefix),
                    bucket=self.bucket,
                )
            )
        return Page(objects, more)

    def uploads(self, prefix: str) -> list[Upload]:
        """The unfinished uploads under the prefix; see Store.

        KVOps puts each object in one piece, so none is its own.
        """
        with self._edge(_("list of unfinished uploads"), prefix):
            found = self._client.list_multipart_uploads(Bucket=self.bucket, Prefix=prefix, MaxUploads=1000)
        return [Upload(item["Key"], item["UploadId"], item["Initiated"]) for item in found.get("Uploads", ())]

    def time(self) -> float | None:
        """The store's clock in its newest answer, in seconds since 1970; None before the first answer."""
        return self._clock.time()

    def _note_answer(self, parsed: dict[str, Any], **_: object) -> None:
        self.answered = True
        self._clock.hear(parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date", ""))

    def _stored_sha256(self, key: str) -> bytes:
        stored = sha256()
        for chunk in self.open(key):
            stored.update(chunk)
        return stored.digest()

    @contextmanager
    def _edge(self, verb: Sentence, key: str) -> Iterator[None]:
        """Turns exceptions of boto3 into StoreError."""
        what = _("%(verb)s of %(key)s in bucket %(bucket)s", verb=verb, key=repr(key), bucket=self.bucket)
        try:
            yield
        except ClientError as error:
            raise _translated(error, what) from error
        except ParamValidationError as error:
            raise StoreError(_("The %(what)s cannot be sent: %(error)s", what=what, error=error)) from error
        except BotoCoreError as error:
            raise StoreUnavailable(
                _("No complete answer to the %(what)s (%(kind)s): try again.", what=what, kind=type(error).__name__)
            ) from error


def _info(key: str, found: "HeadObjectOutputTypeDef | GetObjectOutputTypeDef") -> ObjectInfo:
    return ObjectInfo(key, found["ContentLength"], found["ETag"].strip('"'), found["LastModified"])


def _translated(error: ClientError, what: Sentence) -> StoreError:  # noqa: PLR0911  (one for each error there is)
    details = error.response.get("Error", {})
    answer = error.response.get("ResponseMetadata", {})
    status, code = answer.get("HTTPStatusCode", 0), details.get("Code", "")
    request = answer.get("RequestId") or _("without an id")
    said = _("%(status)s %(code)s, request %(request)s", status=status, code=code, request=request)
    if status == HTTPStatus.PRECONDITION_FAILED:
        return ObjectConflict(
            _("The %(what)s would overwrite an object that holds other bytes (%(said)s).", what=what, said=said)
        )
    if status == HTTPStatus.NOT_IMPLEMENTED:
        return NotOffered(_("The %(what)s is not offered by this store (%(said)s).", what=what, said=said))
    if code == "NoSuchBucket":
        return StoreError(
            _("The %(what)s failed: there is no such bucket, correct the environment (%(said)s).", what=what, said=said)
        )
    if status == HTTPStatus.NOT_FOUND:
        return ObjectMissing(_("The %(what)s found no object (%(said)s).", what=what, said=said))
    if code == LOCKED:
        return ObjectLocked(
            _("A lock of the bucket keeps the object: the %(what)s was refused (%(said)s).", what=what, said=said)
        )
    if status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        unknown = status == HTTPStatus.UNAUTHORIZED or code in UNKNOWN
        return (CredentialsRefused if unknown else AccessRefused)(
            _(
                "The %(what)s was refused: check the R2 credentials and the bucket's locks (%(said)s).",
                what=what,
                said=said,
            )
        )
    if status in _LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return StoreUnavailable(_("The %(what)s cannot be served now: try again (%(said)s).", what=what, said=said))
    return StoreError(_("The %(what)s failed (%(said)s).", what=what, said=said))


def _client(endpoint: str, credentials: tuple[str, str], timeouts: tuple[float, float], attempts: int) -> "S3Client":
    with _making_a_client:
        return _session().client(
            "s3",
            endpoint_url=endpoint,
            region_name="auto",
            aws_access_key_id=credentials[0],
            aws_secret_access_key=credentials[1],
            config=Config(
                signature_version="s3v4",
                # boto3 sends its own checksums in a trailer, which R2 sometimes refuses.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": "path", "payload_signing_enabled": True},
                retries={"mode": "standard", "total_max_attempts": attempts},
                connect_timeout=timeouts[0],
                read_timeout=timeouts[1],
                proxies={},
            ),
        )


@cache
def _session() -> boto3.session.Session:
    """One session for all clients: loading boto3's description of S3 takes a third of a second."""
    # Profiles and shared files of the current user must have no effect.
    variables = {
        "profile": (None, None, None, None),
        "config_file": (None, None, os.devnull, None),
        "credentials_file": (None, None, os.devnull, None),
    }
    return boto3.session.Session(botocore_session=botocore.session.Session(session_vars=variables))


def _check_endpoint(endpoint: str, allowed_hosts: Collection[str]) -> None:
    parts = urlsplit(endpoint)
    host = parts.hostname or ""
    if parts.username or parts.query or parts.fragment or parts.scheme not in ("http", "https"):
        raise AccessRefused(_("The R2 endpoint of host %(host)s must be a plain https address.", host=repr(host)))
    if parts.scheme == "http" and not is_loopback(host):
        raise AccessRefused(
            _("The R2 endpoint %(host)s must use https; plain http is for this machine only.", host=repr(host))
        )
    if host not in allowed_hosts:
        raise AccessRefused(_("The host %(host)s is not among KVOPS_ALLOWED_API_HOSTS.", host=repr(host)))


def _expect_nothing(params: dict[str, dict[str, str]], **_: object) -> None:
    # boto3 waits a second for a "100 Continue" that R2 and wrangler's local R2 never send.
    params["headers"].pop("Expect", None)


class _Prepared(Protocol):
    url: str


def _only_to(allowed_hosts: Collection[str]) -> Callable[..., None]:
    """A check of the final address: boto3 follows a bucket to the region that it is told."""

    def check(request: _Prepared, **_: object) -> None:
        _check_endpoint(request.url.partition("?")[0], allowed_hosts)

    return check
