"""Secrets by reference: `env:NAME`, `file:PATH` or `op://vault/item/field`. Nothing here is stored or logged.

Answers of 1Password are kept in this process for five minutes, because its service accounts have hourly limits.
"""

import os
import time
from pathlib import Path

from kvops.connections import onepassword
from kvops.refusals import Sentence, Sentence as _


class UnresolvedReference(Exception):
    """A reference names nothing readable; the message names the reference, never the secret."""


def resolve(reference: str) -> str:
    """The secret behind a reference; raises UnresolvedReference with the remedy."""
    scheme, _colon, rest = reference.partition(":")
    if scheme == "env" and rest:
        value = os.environ.get(rest, "").strip()
        if not value:
            raise UnresolvedReference(
                _("%(reference)s: the variable %(rest)s is not set in this process.", reference=reference, rest=rest)
            )
        return value
    if scheme == "file" and rest:
        try:
            value = Path(rest).read_text("utf-8").strip()
        except OSError as error:
            raise UnresolvedReference(
                _("%(reference)s: the file cannot be read (%(error)s).", reference=reference, error=error.strerror)
            ) from error
        if not value:
            raise UnresolvedReference(_("%(reference)s: the file is empty.", reference=reference))
        return value
    if scheme == "op" and rest.startswith("//"):
        return _from_1password(reference)
    raise UnresolvedReference(
        _("%(reference)s: a reference is env:NAME, file:PATH or op://vault/item/field.", reference=reference)
    )


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
        raise UnresolvedReference(Sentence("%(reference)s: %(error)s", reference=reference, error=error)) from error
    if not found:
        raise UnresolvedReference(_("%(reference)s: the field is empty.", reference=reference))
    _kept[reference] = (time.monotonic(), found)
    return found
