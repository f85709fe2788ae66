"""A bulk change on its way, for the tests of bulk changes, their pages and their gate."""

from datetime import UTC, datetime
from functools import partial

from django.utils import timezone

from backups.changes.bulk import requests as bulk_requests, start as bulk_start
from backups.changes.bulk.start import BulkWish
from backups.models import BulkChange, Restore
from kvops import clock
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Category, Namespace, Run
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.prepared import step

PREFIX, MARKED = "mastercache:", "page:"
NAMES = tuple(f"{PREFIX}{letter}" for letter in "abc")
PAGES = tuple(f"{MARKED}{letter}" for letter in "abc")
DAY = 86_400
EXPIRY = BulkWish(Restore.Operation.EXPIRATION, lifetime=DAY)
MARK = BulkWish(Restore.Operation.MARK, value="2026-11-29")
Scope = BulkChange.Scope
outcomes, held = restore_helpers.outcomes, restore_helpers.held


def ready(estate: make.Estate) -> make.Estate:
    """Three keys of each cache in QA and production, scanned; `page:` names a mark."""
    step("keys of caches", build=lambda: _ready(estate))
    return estate


def _ready(estate: make.Estate) -> None:
    make.family(MARKED, Category.CACHE, expiry="regenerate:stale")
    for namespace in (estate.qa, estate.production):
        for name in (*NAMES, *PAGES):
            estate.put(namespace, name, b"\x00\xff" + name.encode(), metadata='{"v":1.0,"w":"x"}')
    cleanup_helpers.scan(estate.qa, estate.production)


def prepared(
    namespace: Namespace, people: make.People, wish: BulkWish = EXPIRY, prefix: str = "", scope: Scope = Scope.ALL
) -> Restore:
    """Chosen, backed up and verified."""
    chosen = prefix or (MARKED if wish.operation == Restore.Operation.MARK else PREFIX)
    build = partial(_prepared, namespace, people, wish, chosen, scope)
    return step("bulk change", namespace, people.operator, wish, chosen, scope, build=build)


def _prepared(namespace: Namespace, people: make.People, wish: BulkWish, chosen: str, scope: Scope) -> Restore:
    restore = bulk_start.begin(namespace, chosen, scope, wish, by=people.operator)
    make.work()
    return fresh(restore)


def submitted(restore: Restore, people: make.People) -> ApprovalRequest:
    """Waiting for another person."""
    return bulk_requests.submit(restore, reason="they never expire", by=people.operator)


def approved(restore: Restore, people: make.People) -> Restore:
    """Submitted, and approved by the reviewer."""
    return step("approved", restore, people.operator, people.reviewer, build=lambda: _approved(restore, people))


def _approved(restore: Restore, people: make.People) -> Restore:
    request = submitted(restore, people)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    return fresh(restore)


def started(restore: Restore, people: make.People) -> Run:
    """Approved and queued."""
    return bulk_requests.start(approved(restore, people), by=people.operator)


def done(namespace: Namespace, people: make.People, wish: BulkWish = EXPIRY, **more: object) -> Restore:
    """Chosen, approved, written and read back."""
    by = people.operator, people.reviewer
    build = partial(_done, namespace, people, wish, **more)
    return step("changed in bulk", namespace, *by, wish, *sorted(more.items()), build=build)


def _done(namespace: Namespace, people: make.People, wish: BulkWish, **more: object) -> Restore:
    restore = prepared(namespace, people, wish, **more)  # type: ignore[arg-type]
    run = started(restore, people)
    make.work()
    run.refresh_from_db()
    assert run.state == Run.State.SUCCEEDED, (run.state, run.error_code, run.error, run.note)
    return fresh(restore)


def accepted(namespace: Namespace, people: make.People, wish: BulkWish = EXPIRY) -> Restore:
    """Done, and the application works."""
    restore = done(namespace, people, wish)
    bulk_requests.accept(restore, note="pages load", by=people.operator)
    return fresh(restore)


def fresh(restore: Restore) -> Restore:
    """The change as it is now."""
    related = ("environment", "namespace", "generation__run", "run", "approval", "bulk__family")
    return Restore.objects.select_related(*related).get(pk=restore.pk)


def in_a_day() -> tuple[int, int]:
    """The bounds of an expiration that was fixed in this test: a day ahead, less the minutes that the test took."""
    now = int(clock.now().timestamp())
    return now + DAY - 600, now + DAY


def local(at: int) -> str:
    """A time as a browser sends it, in the zone of the pages."""
    return timezone.localtime(datetime.fromtimestamp(at, UTC)).strftime("%Y-%m-%dT%H:%M")
