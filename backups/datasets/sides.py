"""A key of the backup and a row of D1 as digests, and the problems that one of them shows alone. Pure."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import NamedTuple

from backups.datasets.fields import Fields, Forms

NOT_AN_OBJECT = "not_an_object"
UNKNOWN_FIELD = "unknown_field"
ONLY_IN_D1 = "only_in_d1"
MISSING_IN_D1 = "missing_in_d1"
DUPLICATE = "duplicate"
NO_ROWS = "no_rows"
NO_ID = "no_id"


@dataclass(frozen=True, slots=True)
class Finding:
    """A problem of one key or of one row in it, found before the two sides are compared."""

    name: str
    kind: str
    field: str = ""
    row: str = ""


class KeyRow(NamedTuple):
    """A row in a key; `row` is its id, empty if the key holds one row. `fields` is None if it is no JSON object."""

    row: str
    fields: Forms | Fields | None


class DatasetKey(NamedTuple):
    """A key in the backup with its rows. `name` is None if no name can be made.

    `rows` is None if the value does not hold rows of the dataset's shape, so that its rows in D1 cannot be compared.
    """

    name: str | None
    rows: Sequence[KeyRow] | None
    findings: Sequence[Finding] = ()


class DatasetRow(NamedTuple):
    """A row of D1.

    `name` or `row` is None if the value of the column `nameless` cannot be part of it. `head` is then the beginning
    of the name.
    """

    name: str | None
    head: str
    row: str | None
    nameless: str
    fields: Forms | Fields

    def content(self) -> bytes:
        """The fields, the name and the id in the key as bytes; those of another row are others."""
        fields = [f"p{self.fields.packed.hex()}"] if isinstance(self.fields, Fields) else map(str, self.fields)
        parts = [*fields, f"k{self.name or ''}", f"r{self.row or ''}"]
        text = "\0".join(parts)
        if text.count("\0") >= len(parts):
            text = "\0".join([part.replace("\0", "\0\1") for part in parts])
        return text.encode("utf-8", "surrogatepass")

    def may_be_under(self, prefixes: tuple[str, ...]) -> bool:
        """Whether the row's key is under a prefix; for a row without a name, whether it could be."""
        if self.name is not None:
            return self.name.startswith(prefixes)
        return any(self.head.startswith(prefix) or prefix.startswith(self.head) for prefix in prefixes)


def chained(digest: str, rows: Iterable[DatasetRow]) -> str:
    """The digest of the rows so far and of these rows, in hex. Any pages of the same rows give the same digest."""
    found = bytes.fromhex(digest)
    for row in rows:
        found = sha256(found + row.content()).digest()
    return found.hex()
