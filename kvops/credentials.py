"""Secrets by reference: `env:NAME` or `file:PATH`. Nothing here is stored or logged."""

import os
from pathlib import Path


class UnresolvedReference(Exception):
    """A reference names nothing readable; the message names the reference, never the secret."""


def resolve(reference: str) -> str:
    """The secret behind a reference; raises UnresolvedReference with what to do."""
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
    raise UnresolvedReference(f"{reference}: a reference is env:NAME or file:PATH.")
