"""The bucket compared with the backups: orphans, missing objects, changed objects. Nothing is ever deleted.

Once a day per environment, a run lists everything under the environment's prefixes, also those of earlier key
templates. It stages a thousand names at a time and settles the difference in one transaction at its end. An object is
part of a backup, an orphan, missing, changed or gone. An orphan is a part that was written again, or left by a failed
run; gone is an orphan that was deleted outside KVOps. Unfinished multipart uploads are listed too, if the store can.

Objects written meanwhile are judged neither missing nor unknown. A backup's objects are expected only if it was
finished before the listing began, and a name of a backup in writing belongs to that backup. An object with a changed
ETag may still hold the right bytes; only a verification can tell. The pages raise an alarm. The listing misses no
object that a prune run deleted; an object under the name of a deleted backup is an alarm.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from backups.bucket import access as bucket_access, listing as bucket_listing
from backups.bucket.r2 import R2Store
from backups.bucket.store import NotOffered, Upload
from backups.models import Generation, StoredObject
from kvops import clock
from kvops.models import Environment, NotificationEvent, Person, Run
from kvops.notifications import bundles, outbox
from kvops.prefixes import distinct
from kvops.runs import driver as run_driver
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError
from kvops.schedules.jobs import Begun
from kvops.wording import counted, say

PAGE = 1_000
"""Objects per listing call, staged in one transaction."""
COUNTED = 1_000
"""Objects. An alarm counts up to this many, because a page must not count a million."""
NAMED = 20
"""Objects. The audit log names at most this many of the wrong objects."""
MAX_RESTARTS = 3
"""Restarts of a listing after a crash of the database that emptied its unlogged stage."""

Status = StoredObject.Status
TOLD: dict[str, tuple[NotificationEvent, Promise]] = {
    Status.MISSING: (
        NotificationEvent.OBJECT_MISSING,
        _("Objects of backups missing from the bucket of %(environment)s: %(n)s"),
    ),
    Status.CHANGED: (
        NotificationEvent.OBJECT_CHANGED,
        _("Objects of backups changed in the bucket of %(environment)s: %(n)s"),
    ),
    Status.UNKNOWN: (
        NotificationEvent.OBJECT_UNKNOWN,
        _("Objects of no backup in the bucket of %(environment)s: %(n)s"),
    ),
    Status.GONE: (
        NotificationEvent.OBJECT_UNKNOWN,
        _("Objects of no backup deleted outside KVOps in %(environment)s: %(n)s"),
    ),
}
"""The notifications of a listing, by status."""


def _create(
    environment: Environment, *, actor: log.Actor, person: Person | None = None, foreground: bool = False
) -> Run:
    """Create the run of a listing in the caller's transaction. Raises run_driver.AlreadyOpen."""
    return run_driver.create(
        Run.Kind.RECONCILE,
        subject=_subject(environment),
        label=f"{environment.r2_bucket}/{bucket_access.root(environment)}"[:300],
        actor=actor,
        person=person,
        environment=environment,
        foreground=foreground,
    )


start = log.transaction()(_create)
"""`_create` in a transaction of its own."""


def scheduled(environment: Environment, actor: log.Actor) -> Begun:
    """A scheduled listing of the environment's bucket; none until the bucket has a backup."""
    begun = Begun()
    if Generation.objects.filter(environment=environment).exists():
        with begun.or_refused():
            begun.runs.append(_create(environment, actor=actor))
    return begun


def newest_listing(environment: Environment) -> Run | None:
    """The newest listing that ended; its result has the number of objects by status."""
    done = Run.objects.filter(kind=Run.Kind.RECONCILE, subject=_subject(environment), state=Run.State.SUCCEEDED)
    return done.order_by("-pk").first()


@dataclass(frozen=True)
class BucketListings:
    """The listings of an environment's bucket: the newest that ended, and the one in progress."""

    environment: Environment
    listed: Run | None
    running: Run | None
    wrong: Mapping[str, int] = field(default_factory=dict)
    """Unexplained objects with a wrong status, by status. Each number is counted up to `COUNTED` plus one."""

    @property
    def counts(self) -> list[tuple[str, int]]:
        """The objects by status, as that listing counted them."""
        result = self.listed.result if self.listed else {}
        return [(status.value, result.get(f"{status}_objects", 0)) for status in Status]

    @property
    def uploads(self) -> int | None:
        """The number of unfinished uploads; None if the store cannot list them or was never asked."""
        found = self.listed.result.get("unfinished_uploads") if self.listed else None
        return None if found is None else int(found)


def buckets(environments: Collection[Environment]) -> list[BucketListings]:
    """The bucket listings of these environments, in their order; in two queries."""
    runs, wrong = _newest_runs(environments), wrong_objects(environments)
    return [
        BucketListings(
            one,
            next((run for run in runs if run.subject == _subject(one) and not run.is_open), None),
            next((run for run in runs if run.subject == _subject(one) and run.is_open), None),
            wrong[one.pk],
        )
        for one in environments
    ]


def _newest_runs(environments: Collection[Environment]) -> list[Run]:
    """The newest listing of each environment that ended, and the one in progress."""
    mine = [Run.objects.filter(kind=Run.Kind.RECONCILE, subject=_subject(one)).order_by("-pk") for one in environments]
    newest = [runs.filter(state=Run.State.SUCCEEDED)[:1] for runs in mine]
    newest += [runs.filter(state__in=Run.OPEN)[:1] for runs in mine]
    return list(newest[0].union(*newest[1:], all=True)) if newest else []


def wrong_objects(environments: Collection[Environment]) -> dict[int, dict[str, int]]:
    """The unexplained objects with a wrong status, by environment and status, as `BucketListings.wrong` has them."""
    unexplained = StoredObject.objects.needing_a_look().order_by().values_list("environment", "status")
    some = [
        unexplained.filter(environment=one, status=status)[: COUNTED + 1] for one in environments for status in Status
    ]
    counted = Counter(some[0].union(*some[1:], all=True)) if some else Counter()
    return {
        one.pk: {status.value: n for status in Status if (n := counted[one.pk, status.value])} for one in environments
    }


def _subject(environment: Environment) -> str:
    return f"environment:{environment.slug}"


def reconcile(lease: Lease) -> Again | None:
    """One step of a listing: a page per transaction. After the last page it settles the difference."""
    environment = lease.run.environment
    if environment is None:
        raise RunError("no_environment", gettext_noop("The environment of this run is gone."))
    with bucket_access.errors_for_a_run():
        here = (environment.r2_bucket, environment.r2_endpoint)
        if (lease.run.cursor.get("bucket"), lease.run.cursor.get("endpoint")) != here:
            _begin(lease, environment)
        with bucket_access.store(environment) as store:
            while lease.run.cursor["roots"]:
                _page(lease, store)
                if lease.tired:
                    return Again()
            lease.keep()
            uploads = _uploads(store, environment)
    return _settle(lease, environment, uploads)


def _uploads(store: R2Store, environment: Environment) -> list[Upload] | None:
    """The unfinished uploads under the environment's prefixes; None if the store cannot list them."""
    try:
        return [upload for root in bucket_access.roots(environment) for upload in store.uploads(root)]
    except NotOffered:
        return None


def _begin(lease: Lease, environment: Environment) -> None:
    bucket = environment.r2_bucket
    prefixes = distinct([*bucket_access.roots(environment), *bucket_listing.roots(environment.pk, bucket)])
    place = {"roots": prefixes, "bucket": bucket, "endpoint": environment.r2_endpoint, "after": "", "staged": 0}
    with lease.checkpoint(cursor={**lease.run.cursor, **place}, done=0):
        bucket_listing.clear_objects(environment.pk)


def _page(lease: Lease, store: R2Store) -> None:
    at: dict[str, Any] = lease.run.cursor
    page = store.page(at["roots"][0], after=at["after"], limit=PAGE)
    if any("\0" in found.key for found in page.objects):
        held = gettext_noop("The name of an object in the bucket holds a NUL; remove that object by hand.")
        raise RunError("odd_name", held)
    staged = at["staged"] + len(page.objects)
    following = {"after": page.objects[-1].key} if page.more else {"after": "", "roots": at["roots"][1:]}
    note = counted(gettext_noop("Objects listed: %(n)s."), staged)
    with lease.checkpoint(cursor={**at, "staged": staged, **following}, done=staged, note=note):
        bucket_listing.stage_objects(lease.run, page.objects)


def _tell(run: Run, environment: Environment, begun: datetime) -> None:
    """Notify people of wrong objects that are new in this listing, once for each status."""
    for status, (event, title) in TOLD.items():
        new = StoredObject.objects.needing_a_look().filter(environment=environment, status=status, status_at__gte=begun)
        names = list(new.order_by("key").values_list("key", flat=True)[:5])
        n = new[: COUNTED + 1].count()
        if names:
            outbox.post(
                event,
                subject=f"run:{run.pk}",
                title=say(title, environment=environment.name, n=n if n <= COUNTED else f"> {COUNTED}"),
                lines=names,
                link=f"{reverse('backups:storage')}?environment={environment.slug}&status={status}#objects",
                environment=environment,
                occasion=status,
            )


def _settle(lease: Lease, environment: Environment, uploads: list[Upload] | None) -> Again | None:
    at, before, begun = lease.run.cursor, newest_listing(environment), clock.now()
    bucket_listing.analyze()
    result: dict[str, int] = {}  # filled within the transaction that ends the run with it
    try:
        with lease.checkpoint(Done(result), note=""):
            counts = bucket_listing.settle(
                lease.run, bucket=at["bucket"], staged=at["staged"], before=before.created_at if before else None
            )
            result.update({f"{status}_objects": count for status, count in counts.items()})
            if uploads is not None:
                bucket_listing.keep_uploads(environment, uploads)
                result["unfinished_uploads"] = len(uploads)
            found = bucket_listing.found_since(lease.run, begun, NAMED)
            with bundles.one_bundle(f"run:{lease.run.pk}"):
                _tell(lease.run, environment, begun)
            differs = bool(uploads or found or sum(counts.values()) > counts[Status.KNOWN])
            log.record(
                Action.STORAGE_DIFFERS if differs else Action.STORAGE_RECONCILED,
                actor=lease.actor,
                environment=environment.slug,
                subject=f"run:{lease.run.pk}",
                subject_label=lease.run.label[:200],
                details={**result, **({"new": [f"{one.status}: {one.key[:200]}" for one in found]} if found else {})},
            )
    except bucket_listing.ListingMismatch as mismatch:
        restarts = at.get("restarts", 0) + 1
        too_often = restarts > MAX_RESTARTS
        note = gettext_noop("The listed names were lost. Listing from the beginning.")
        with lease.checkpoint(cursor={} if too_often else {"restarts": restarts}, done=0, note=note):
            bucket_listing.clear_objects(environment.pk)
        if too_often:
            sentence = say(_("%(mismatch)s Nothing was changed; try again to list anew."), mismatch=mismatch)
            raise RunError("stage_mismatch", sentence) from mismatch
        return Again()
    return None
