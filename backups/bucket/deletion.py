"""The one call that deletes an object of a bucket. Only `backups.retention.erasure` may import it (import-linter)."""

from backups.bucket.r2 import R2Store
from kvops.refusals import Sentence as _


def erase_permanently(store: R2Store, key: str) -> None:
    """Delete the object; a missing object is no error.

    A bucket lock raises ObjectLocked, other failures StoreError.
    """
    with store._edge(_("delete"), key):
        store._client.delete_object(Bucket=store.bucket, Key=key)
