"""The entry that a bulk change writes in place of one in its backup: only the expiration or only one member differs."""

from dataclasses import replace

from backups.models import BulkChange
from kvops.cloudflare import KvEntry, marked_metadata


def changed(bulk: BulkChange, entry: KvEntry) -> KvEntry | None:
    """The entry with the expiration or the mark; None if its metadata takes no mark.

    An expiration without its time changes nothing: the start has fixed it before a run exists.
    """
    if bulk.member:
        metadata = marked_metadata(entry.metadata, bulk.member, bulk.value)
        return None if metadata is None else replace(entry, metadata=metadata)
    return entry if bulk.expiration is None else replace(entry, expiration=bulk.expiration)
