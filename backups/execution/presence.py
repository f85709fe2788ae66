"""Whether a backup that a run relies on is in its bucket as it was written, and was verified within a day.

A deletion asks this before its first delete, after every resume or pause, and every quarter of an hour. A restore that
overwrites asks it in the same way about its safety backup. A prune asks it about the backups that replace another one,
right before it erases that one.

Each object's size and ETag are compared with the store's answer when it was put, or when a verification read it
(`StoredObject`). Only the manifest is downloaded. If the ETag of an object is not known, a verification must read the
object first.
"""

from datetime import timedelta
from hashlib import sha256

from django.utils.translation import gettext_lazy as _

from backups.bucket import access as bucket_access
from backups.bucket.store import Store
from backups.generations.verification import ReadBack
from backups.models import Generation, StoredObject
from kvops import clock, timing
from kvops.runs.lease import Lease
from kvops.runs.outcomes import RunError
from kvops.wording import say


def verified_long_ago(generation: Generation) -> bool:
    """Whether the last verification is older than a day."""
    fresh = clock.now() - timedelta(seconds=timing.VERIFIED_FRESH)
    return generation.verified_at is None or generation.verified_at < fresh


def verify_if_needed(generation: Generation, lease: Lease, nothing_done: str) -> bool:
    """Verify the backup within the run if that was long ago or an ETag is not known; False while parts are left.

    Raises RunError if the backup is damaged. `nothing_done` is the sentence that says what was not done.
    """
    known = _written(generation)
    if not verified_long_ago(generation) and all(key in known for key in generation.every_object()):
        return True
    with bucket_access.errors_for_a_run(), bucket_access.store_of(generation) as store:
        over = ReadBack(generation, lease, store, within_another_run=True).step()
    generation.refresh_from_db(fields=["status", "problem", "problem_sentence", "verified_at"])
    if over and generation.status != Generation.Status.VERIFIED:
        sentence = _(
            "Backup %(backup)s was verified again and is damaged. %(problem)s %(nothing)s If its objects can be put "
            "back, verify it and try again."
        )
        facts = {"backup": generation.pk, "problem": generation.why, "nothing": nothing_done}
        raise RunError("backup_damaged", say(sentence, **facts))
    return over


def insist_in_place(generation: Generation, lease: Lease, nothing_done: str) -> None:
    """Raise RunError unless every object is as it was written, and the manifest has its digest."""
    with bucket_access.errors_for_a_run(), bucket_access.store_of(generation) as store:
        if problem := not_in_place(generation, store, lease):
            sentence = _(
                "Backup %(backup)s is not in its bucket as it was written: %(problem)s %(nothing)s Find out who "
                "changed the bucket. If the objects can be put back, verify the backup and try again."
            )
            raise RunError("backup_gone", say(sentence, backup=generation.pk, problem=problem, nothing=nothing_done))


def not_in_place(generation: Generation, store: Store, lease: Lease) -> str:
    """The first object that is not as it was written, in a sentence; empty if there is none. Raises StoreError."""
    known = _written(generation)
    for key in generation.every_object():
        lease.keep()
        found = store.head(key)
        if found is None:
            return say(_("%(key)s is gone."), key=key)
        if key not in known:
            return say(_("the ETag of %(key)s is not known."), key=key)
        if (found.size, found.etag) != known[key]:
            return say(_("%(key)s is another object."), key=key)
    if sha256(store.get(generation.manifest_key)).hexdigest() != generation.manifest_sha256:
        return say(_("%(key)s is another manifest."), key=generation.manifest_key)
    return ""


def _written(generation: Generation) -> dict[str, tuple[int | None, str]]:
    """The size and the ETag of the objects as they were written or last verified; without those not known."""
    mine = StoredObject.objects.filter(environment=generation.environment_id, key__in=generation.every_object())
    rows = mine.exclude(written_etag="").values_list("key", "written_size", "written_etag")
    return {key: (size, etag) for key, size, etag in rows}
