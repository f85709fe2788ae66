"""What a copy in a bucket is worth, said by plain JSON and SHA-256 and none of the product's own code."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

type Held = dict[str, tuple[bytes, int | None, str | None]]
"""A name to its value, expiration and metadata."""


def held(objects: Mapping[str, bytes], stem: str) -> Held | None:
    """What can be restored from the copy of this stem; None when it is not whole."""
    manifest = _manifest(objects, stem)
    if manifest is None or _sha(objects, f"{stem}.RESTORE.md") != manifest["restore_sha256"]:
        return None
    found: Held = {}
    for part in manifest["parts"]:
        if _sha(objects, part["key"]) != part["sha256"] or _sha(objects, part["digests_key"]) != part["digests_sha256"]:
            return None
        entries = dict(_entries(objects[part["key"]]))
        if len(entries) != part["keys"] or entries.keys() & found.keys():
            return None
        found |= entries
    return found if len(found) == manifest["counts"]["keys"] else None


def named(objects: Mapping[str, bytes], stem: str) -> set[str]:
    """The objects that the copy's manifest names, with itself; none without one."""
    manifest = _manifest(objects, stem)
    if manifest is None:
        return set()
    parts: Sequence[dict[str, Any]] = manifest["parts"]
    keys = {part[name] for part in parts for name in ("key", "digests_key")}
    return {*keys, f"{stem}.RESTORE.md", f"{stem}.manifest.json"}


def canonical(metadata: str | None) -> str | None:
    """Metadata so that two spellings compare equal only where every number, member and order is the same."""
    if metadata is None:
        return None
    return repr(json.loads(metadata, parse_int=_Spelled, parse_float=_Spelled, object_pairs_hook=list))


class _Spelled(str):
    """A number as it was written."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"number {self}"


def _manifest(objects: Mapping[str, bytes], stem: str) -> dict[str, Any] | None:
    try:
        found = json.loads(objects.get(f"{stem}.manifest.json", b""))
    except ValueError:
        return None  # somebody else's
    return found if isinstance(found, dict) else None


def _entries(body: bytes) -> Iterator[tuple[str, tuple[bytes, int | None, str | None]]]:
    for line in body.decode().split("\n"):
        if line.startswith("{"):
            entry = json.loads(line.removesuffix(","))
            value = entry["value"].encode()
            data = base64.b64decode(value) if entry.get("base64") else value
            _, found, metadata = line.removesuffix(",").rpartition('"metadata":')
            yield entry["key"], (data, entry.get("expiration"), canonical(metadata[:-1]) if found else None)


def _sha(objects: Mapping[str, bytes], key: str) -> str | None:
    return sha256(objects[key]).hexdigest() if key in objects else None
