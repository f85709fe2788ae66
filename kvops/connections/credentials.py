"""Secrets by reference: `env:NAME`, `file:PATH` or `op://vault/item/field`. Nothing here is stored or logged.

Answers of 1Password are kept in this process for five minutes, because its service accounts have hourly limits.
"""

import os
import time
from pathlib import Path

from kvops.connections import onepassword


class UnresolvedReference(Exception):
    """A reference names nothing readable; the message names the reference, never the secret."""


def resolve(reference: str) -> str:
    """The secret behind a reference; raises UnresolvedReference with the remedy."""
    scheme, _, rest = reference.partition(":")
    if scheme == "env" and rest:
        value = os.environ.get(rest, "").strip()
        if not value:
            raise UnresolvedReference(f"{reference}: the variable {rest} is not set in this process.")
        return value
    if scheme == "file" and rest:
        try:
            value = Path(rest).read_text("utf-8").strip()
        except OSError as error:
            raise UnresolvedReference(f"{reference}: the file cannot be read ({error.strerror}).") from error
        if not value:
            raise UnresolvedReference(f"{reference}: the file is empty.")
        return value
    if scheme == "op" and rest.startswith("//"):
        return _from_1password(reference)
    raise UnresolvedReference(f"{reference}: a reference is env:NAME, file:PATH or op://vault/item/field.")


KEPT = 300.0
"""Seconds. An answer of 1Password is kept this long, because service accounts have hourly limits."""

_kept: dict[str, tuple[float, str]] = {}


def _from_1password(reference: str) -> str:
    asked_at, known = _kept.get(reference, (0.0, ""))
    if known and time.monotonic() - asked_at < KEPT:
        return known
    try:
        found = onepassword.resolve(reference).strip()
    except onepassword.Unavailable as error:
        raise UnresolvedReference(f"{reference}: {error}") from error
    if not found:
        raise UnresolvedReference(f"{reference}: the field is empty.")
    _kept[reference] = (time.monotonic(), found)
    return found
