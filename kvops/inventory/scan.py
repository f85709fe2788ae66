"""Scans: a namespace is listed page by page into a stage, then merged into the inventory.

There is one checkpoint per page; the pages change in one transaction at the end. A scan that stops half-way changes
nothing; tried again, it continues from its cursor. Stages are unlogged tables, which a crash of Postgres empties. So
a scan counts its stage before it concludes anything, and starts over if rows are missing, at most three times. Bucket
listings and integrity checks do the same.
"""

from concurrent.futures import Future
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

from django.utils.translation import gettext_lazy as _, gettext_noop

from audit import log
from audit.actions import Action
from kvops.cloudflare import MAX_NAME_BYTES, CursorRefused, KeyPage, ListedKey as Listed
from kvops.connections.calls import Calls
from kvops.inventory import expiry as key_expiry, merge as inventory_merge, unexplained as unexplained_deletions
from kvops.models import Environment, Namespace, Person, Run, Scan
from kvops.names import storable, workable
from kvops.notifications import bundles
from kvops.refusals import Refused
from kvops.runs import driver as run_driver, lease as run_lease, outcomes
from kvops.schedules.jobs import Begun
from kvops.wording import counted, say

MAX_RESTARTS = 3
"""Restarts of a listing before it fails. A listing restarts if Cloudflare refuses its cursor, or a crash of Postgres
empties its stage."""


class ScanRefused(Refused):
    """The scan cannot be started this way; the message gives the reason."""


def _create_scan(
    namespace: Namespace, *, actor: log.Actor, person: Person | None = None, prefix: str = "", foreground: bool = False
) -> Scan:
    """A scan of a namespace, or of a prefix of it, in a new run. Raises ScanRefused and run_driver.AlreadyOpen."""
    if prefix and (not storable(prefix) or len(prefix.encode()) > MAX_NAME_BYTES):
        raise ScanRefused(say(_("A prefix is text without NUL of at most %(most)s bytes."), most=MAX_NAME_BYTES))
    environment = Namespace.objects.select_for_update(of=["self"], no_key=True).get(pk=namespace.pk).environment
    run = run_driver.create(
        Run.Kind.SCAN,
        subject=f"namespace:{namespace.pk}",
        label=f"{namespace} {prefix}".strip()[:300],
        actor=actor,
        person=person,
        environment=environment,
        foreground=foreground,
    )
    made = Scan.objects.create(namespace=namespace, run=run, prefix=prefix)
    log.record(
        Action.SCAN_STARTED,
        actor=actor,
        environment=environment.slug,
        subject=f"run:{run.pk}",
        subject_label=str(namespace),
        details={"scan": made.pk, "prefix": prefix},
    )
    return made


start_scan = log.transaction()(_create_scan)
"""The same in a transaction of its own."""


def scan_all(environment: Environment, actor: log.Actor) -> Begun:
    """Scan each namespace of the environment, for a schedule. Namespaces with an open scan are reported."""
    begun = Begun()
    for namespace in environment.namespaces.select_related("environment").order_by("binding"):
        with begun.or_refused():
            begun.runs.append(_create_scan(namespace, actor=actor).run)
    return begun


@dataclass(frozen=True)
class _Listing:
    """The progress of the listing, stored as the cursor of the run."""

    page: str | None = None
    staged: int = 0
    unstorable: int = 0
    last: str = ""
    ordered: bool = True
    complete: bool = False
    restarts: int = 0

    def take(self, page: KeyPage) -> tuple["_Listing", list[Listed]]:
        """The listing after this page, and the workable keys of the page."""
        keys = [key for key in page.keys if workable(key.name)]
        names = [self.last, *(key.name for key in keys)]
        ordered = all(before < after for before, after in pairwise(names))
        after = replace(
            self,
            page=page.cursor,
            staged=self.staged + len(keys),
            unstorable=self.unstorable + len(page.keys) - len(keys),
            last=names[-1],
            ordered=self.ordered and ordered,
            complete=page.cursor is None,
        )
        return after, keys


def scan(lease: run_lease.Lease) -> outcomes.Again | None:
    """Work on a scan for one step: list and, after the last page, merge."""
    mine = Scan.objects.select_related("namespace__environment").get(run=lease.run)
    if Scan.objects.complete().filter(namespace=mine.namespace, pk__gt=mine.pk).exists():
        raise outcomes.RunError(
            "superseded", gettext_noop("A newer scan of this namespace is complete. Start a new one instead.")
        )
    listing = _Listing(**lease.run.cursor)
    if not listing.complete:
        listing = _list(lease, mine, listing)
    return _merge(lease, mine, listing) if listing.complete else outcomes.Again()


def _list(lease: run_lease.Lease, mine: Scan, listing: _Listing) -> _Listing:
    """List until the end of the step; every page and the cursor after it are one transaction.

    The next page is requested meanwhile.
    """
    before = lease.run.calls
    with Calls(mine.namespace.environment, lease.keep) as calls:

        def ask(cursor: str | None) -> Future[KeyPage]:
            namespace_id, prefix = mine.namespace.namespace_id, mine.prefix
            return calls.submit(lambda: calls.client.list_keys(namespace_id, prefix=prefix, cursor=cursor))

        asked = ask(listing.page)
        while True:
            try:
                page = calls.outcome(asked)
            except CursorRefused as error:
                note = gettext_noop("The cursor was refused; listing from the beginning.")
                sentence = _("Cloudflare refused the listing half-way. %(error)s")
                over = outcomes.RunError("cursor_refused", say(sentence, error=error))
                listing = _from_the_beginning(lease, mine, listing, note, over)
                asked = ask(None)
                continue
            last = page.cursor is None or lease.tired
            if not last:
                asked = ask(page.cursor)
            listing, keys = listing.take(page)
            with lease.checkpoint(
                cursor=asdict(listing),
                done=listing.staged,
                calls=before + calls.client.calls,
                note=counted(gettext_noop("Keys listed: %(n)s."), listing.staged),
            ):
                inventory_merge.stage_keys(mine, keys)
            if last:
                return listing


def _from_the_beginning(
    lease: run_lease.Lease, mine: Scan, listing: _Listing, note: str, over: outcomes.RunError
) -> _Listing:
    """Empty the stage, because a new listing may differ from the old one. Raises `over` after too many restarts."""
    too_often = listing.restarts >= MAX_RESTARTS
    fresh = _Listing(restarts=0 if too_often else listing.restarts + 1)
    with lease.checkpoint(cursor=asdict(fresh), done=0, note=note):
        inventory_merge.clear_keys(mine)
    if too_often:
        raise over
    return fresh


def _merge(lease: run_lease.Lease, mine: Scan, listing: _Listing) -> outcomes.Again | None:
    with lease.checkpoint(no_further=True, note=gettext_noop("Comparing with the inventory.")):
        pass  # the merge begins with a renewed lease
    inventory_merge.analyze()
    result: dict[str, int] = {}  # filled within the transaction that ends the run with it
    try:
        with lease.checkpoint(outcomes.Done(result), done=listing.staged, total=listing.staged):
            merged = inventory_merge.merge(
                mine,
                staged=listing.staged,
                ordered=listing.ordered,
                unstorable=listing.unstorable,
                calls=lease.run.calls,
            )
            result.update(asdict(merged), unstorable=listing.unstorable, calls=lease.run.calls)
            log.record(
                Action.SCAN_FINISHED,
                actor=lease.actor,
                environment=mine.namespace.environment.slug,
                subject=f"run:{lease.run.pk}",
                subject_label=str(mine.namespace),
                details={"scan": mine.pk, "prefix": mine.prefix, **result},
            )
            with bundles.one_bundle(f"run:{lease.run.pk}"):
                unexplained_deletions.report(
                    mine, deletions=merged.unexplained, new=merged.unexpected, actor=lease.actor
                )
                key_expiry.report(mine, actor=lease.actor)
    except inventory_merge.ScanMismatch as mismatch:
        note = gettext_noop("The listed names were lost. Listing from the beginning.")
        over = outcomes.RunError(
            "stage_mismatch",
            say(_("%(mismatch)s Nothing was changed; try again to list anew."), mismatch=mismatch),
        )
        _from_the_beginning(lease, mine, listing, note, over)
        return outcomes.Again()
    return None
