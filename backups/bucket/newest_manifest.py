"""Was the database rolled back? The newest manifest of each environment is read for `kvops.rollback`.

A worker reads it every five minutes, because the sweep asks for it. Each process reads it before its first step of a
deletion or a restore, and then again after five minutes. A backup reads it once more before it stores its own
manifest, which would be the newest and hide another one.

A bucket of a million objects is not listed for that. Names of backups carry their times, so in each folder the
listing begins at the backups of the last two days (`listing.settled`). Only a backup in writing may get its manifest
under an older name; that name is asked for directly. Events after the newest manifest are not noticed.
"""

import logging
import time
from collections.abc import Callable, Iterator
from heapq import nlargest

from backups import archive
from backups.bucket import access as bucket_access, listing as bucket_listing
from backups.bucket.r2 import R2Store
from backups.bucket.store import ObjectInfo, ObjectMissing, StoreError
from backups.models import Generation
from kvops import prefixes, rollback, timing
from kvops.connections import skew
from kvops.models import DatabaseRollback, Environment, Skew
from kvops.runs.outcomes import RunError, Stopped

logger = logging.getLogger(__name__)

TRIES = 5
"""Manifests. Beginning at the newest, at most this many are read until one is valid."""

_looked: dict[tuple[int, str, str], float] = {}
"""The time of this process's last look into each bucket. A new process looks before its first step."""


def look_for_rollback(environment: Environment) -> DatabaseRollback | None:
    """Compare the newest manifest in the bucket with the audit log. A bucket that does not answer proves nothing."""
    try:
        return compare_newest_manifest(environment)
    except StoreError as error:
        logger.warning(
            "Whether the bucket of %s shows a rollback of the database is not known: %s", environment.slug, error
        )
        return None


def compare_newest_manifest(
    environment: Environment, keep: Callable[[], None] = lambda: None
) -> DatabaseRollback | None:
    """Compare the newest manifest with the audit log; `keep` is called between the pages.

    Raises StoreError if the bucket cannot be read.
    """
    with bucket_access.store(environment) as store:
        seen = _newest(store, environment, keep)
        skew.measure(environment, Skew.Service.R2, store.time())
    _looked[_key(environment)] = time.monotonic()
    return rollback.compare_manifest(environment, seen) if seen else None


def read_newest(environment: Environment) -> rollback.Seen | None:
    """The newest valid manifest; None if the bucket has none. Raises StoreError if the bucket cannot be read."""
    with bucket_access.store(environment) as store:
        return _newest(store, environment, lambda: None)


def insist_none(environment: Environment) -> None:
    """Before a step that changes KV, check that the database was not rolled back and that its clock is right.

    Raises Stopped, RunError and TryLater.
    """
    looked = _looked.get(_key(environment))
    wrong = skew.why_skewed(environment, Skew.Service.R2)
    if wrong or looked is None or time.monotonic() - looked > timing.LOOK:
        with bucket_access.errors_for_a_run():
            compare_newest_manifest(environment)
    if why := rollback.why_read_only():
        raise Stopped(rollback.CODE, why)
    if why := skew.why_skewed(environment, Skew.Service.R2):
        raise RunError(skew.CODE, why)


def _key(environment: Environment) -> tuple[int, str, str]:
    return (environment.pk, environment.r2_endpoint, environment.r2_bucket)


def _newest(store: R2Store, environment: Environment, keep: Callable[[], None]) -> rollback.Seen | None:
    """The content of the newest valid manifest; None if the bucket has none."""
    found = {
        one.key: one for one in (*_listed(store, environment, keep), *_of_backups_in_writing(store, environment, keep))
    }
    for info in nlargest(TRIES, found.values(), key=lambda one: (one.last_modified, one.key)):
        try:
            document = archive.parse_manifest(store.get(info.key))
        except (archive.ManifestError, ObjectMissing) as problem:
            logger.warning("%s is passed over: %s", info.key, problem)
            continue
        return rollback.Seen(info.key, info.last_modified, document.audit_sequence, document.audit_hash)
    return None


def _listed(store: R2Store, environment: Environment, keep: Callable[[], None]) -> Iterator[ObjectInfo]:
    """The manifests in the bucket, except those that this database has long known and need not list."""
    settled = bucket_listing.settled(environment.pk, environment.r2_bucket, keep=TRIES)
    for root in prefixes.distinct(
        [*bucket_access.roots(environment), *bucket_listing.roots(environment.pk, environment.r2_bucket)]
    ):
        after, more = "", True
        while more:
            keep()
            page = store.page(root, after=after)
            yield from (one for one in page.objects if one.key.endswith(archive.manifest_key("")))
            more = page.more
            if page.objects:
                last = page.objects[-1].key
                after = max(last, settled.get(last[: last.rindex("/") + 1], ""), key=str.encode)


def _of_backups_in_writing(store: R2Store, environment: Environment, keep: Callable[[], None]) -> Iterator[ObjectInfo]:
    """The manifests of backups that this database believes to be in writing, or to have failed."""
    writing = Generation.objects.filter(
        environment=environment, bucket=environment.r2_bucket, status=Generation.Status.WRITING
    )
    for stem in writing.values_list("stem", flat=True):
        keep()
        if info := store.head(archive.manifest_key(stem)):
            yield info
