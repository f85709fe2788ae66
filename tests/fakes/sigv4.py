"""Signature version 4, computed from its specification and not with boto's code."""

import hashlib
import hmac
from collections.abc import Mapping
from urllib.parse import quote


def signature_fault(
    credentials: tuple[str, str], target: str, query: Mapping[str, str], headers: Mapping[str, str], body: bytes
) -> tuple[int, str] | None:
    """Status and code of what is wrong with a request, or None; `target` is method, newline, path."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        return (403, "AccessDenied")
    given = dict(item.strip().split("=", 1) for item in rest.split(","))
    access_key_id, _, scope = given["Credential"].partition("/")
    if access_key_id != credentials[0]:
        return (403, "InvalidAccessKeyId")
    payload = headers.get("x-amz-content-sha256", "")
    if payload.startswith("STREAMING-"):
        return (501, "NotImplemented")
    if payload not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
        return (400, "XAmzContentSHA256Mismatch")
    pairs = sorted((quote(name, safe="-_.~"), quote(value, safe="-_.~")) for name, value in query.items())
    signed = given["SignedHeaders"].split(";")
    canonical = "\n".join(
        [
            target,
            "&".join(f"{name}={value}" for name, value in pairs),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed),
            "",
            given["SignedHeaders"],
            payload,
        ]
    )
    hashed = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", headers.get("x-amz-date", ""), scope, hashed])
    key = f"AWS4{credentials[1]}".encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    if "host" not in signed or not hmac.compare_digest(key.hex(), given["Signature"]):
        return (403, "SignatureDoesNotMatch")
    return None
