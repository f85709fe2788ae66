"""The value of one key on both sides of a comparison, for a person who asks for it. The request is recorded first."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from backups import archive
from backups.bucket.store import StoreError
from backups.comparisons import text_diff
from backups.generations import start as generation_start
from backups.generations.values import ENCRYPTED, ValueHidden, record_view
from backups.models import Generation, GenerationEntry
from kvops.cloudflare import CloudflareError
from kvops.connections import clients
from kvops.inventory import value as key_value
from kvops.models import Namespace, Person


@dataclass(frozen=True)
class Side:
    """One side of a comparison: a backup, or the current contents of KV. An absent key has no facts."""

    generation: Generation | None
    there: bool
    size: int | None = None
    expiration: int | None = None
    metadata: str | None = None
    data: bytes | None = None


@dataclass(frozen=True)
class TwoSides:
    """A key on both sides. Without `compared` its values are not shown, and `hidden` has the reason."""

    name: str
    first: Side
    second: Side
    hidden: str | Promise
    compared: text_diff.Compared | None
    equal: bool


def view_difference(generation: Generation, other: Generation | Namespace, name: str, *, by: Person) -> TwoSides:
    """A key in a backup and in the other backup or KV. Masked or encrypted values are not read.

    Raises ValueHidden with a sentence if one of the two cannot be read.
    """
    against = f"backup {other.pk}" if isinstance(other, Generation) else str(other)
    record_view(generation, name, by, {"against": against})
    hidden = _hidden(generation, other, name)
    masked = bool(hidden)
    try:
        first = _facts(generation, name) if masked else _backed_up(generation, name)
        if isinstance(other, Namespace):
            second = _live(other, name, masked=masked)
        else:
            second = _facts(other, name) if masked else _backed_up(other, name)
    except (archive.Damaged, StoreError, CloudflareError) as problem:
        raise ValueHidden(*problem.args) from problem
    compared = None if masked else text_diff.compared(first.data, second.data)
    return TwoSides(name, first, second, hidden, compared, not masked and first.data == second.data)


def _hidden(generation: Generation, other: Generation | Namespace, name: str) -> str | Promise:
    """The reason why the values are not shown; empty if they are."""
    if key_value.category_of(generation.namespace, name).sensitive:
        return _("Masked: the key is a setting or unclassified.")
    encrypted = generation.encrypted or (isinstance(other, Generation) and other.encrypted)
    return ENCRYPTED if encrypted else ""


def _facts(generation: Generation, name: str) -> Side:
    """The facts about the entry in Postgres."""
    kept = generation.entries.filter(name=name, outcome=GenerationEntry.Outcome.KEPT).first()
    return Side(generation, kept is not None, kept.size if kept else None, kept.expiration if kept else None)


def _backed_up(generation: Generation, name: str) -> Side:
    """The entry in the backup."""
    entry = generation_start.read_entry(generation, name)
    if entry is None:
        return Side(generation, there=False)
    return Side(generation, True, len(entry.data), entry.expiration, entry.metadata, entry.data)


def _live(namespace: Namespace, name: str, *, masked: bool) -> Side:
    """The current entry in KV."""
    with clients.reader(namespace.environment) as client:
        entry = client.exact_get(namespace.namespace_id, name)
    if entry is None:
        return Side(None, there=False)
    if masked:
        return Side(None, True, len(entry.data), entry.expiration)
    return Side(None, True, len(entry.data), entry.expiration, entry.metadata, entry.data)
