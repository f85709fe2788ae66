"""A bulk change that is not exactly the approved one stops before its first call, and its page says so.

These run on the fakes over HTTP: the calls are what the guards are about.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from functools import partial

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext

from audit import log
from backups.changes.bulk import qa, requests as bulk_requests, start as bulk_start
from backups.changes.bulk.start import BulkWish
from backups.cleanup import requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused, insist_no_round
from backups.models import BulkChange, Generation, Restore
from backups.restores import requests as restore_requests
from backups.restores.moves import RestoreRefused
from kvops import clock, timing
from kvops.approvals import gate as approval_gate
from kvops.approvals.gate import ApprovalRefused
from kvops.models import ApprovalRequest, Category, EmergencyStop, Environment, Role, Run, Scan
from kvops.refusals import Refused
from kvops.runs import emergency
from tests import make
from tests.audit.make import triggers_off
from tests.backups.changes.bulk import helpers as bulk_helpers
from tests.backups.changes.bulk.helpers import DAY, EXPIRY, MARK, NAMES, PREFIX, Scope
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
State, Operation = Restore.State, Restore.Operation


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake bucket over HTTP, in place of the one in memory that other tests of the gate use."""
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    monkeypatch.setattr(timing, "STALE", 0.05)


class ApprovedBulk:
    """A bulk change that is approved, in QA."""

    def __init__(self, estate: make.Estate, people: make.People, restore: Restore) -> None:
        self.estate, self.people, self.restore = estate, people, restore

    def start(self) -> Run:
        return bulk_requests.start(bulk_helpers.fresh(self.restore), by=self.people.operator)

    def run(self) -> Run:
        """Start it, and let the worker work."""
        run = self.start()
        make.work()
        run.refresh_from_db()
        return run

    def edit(self, model: type[Restore | BulkChange], **values: object) -> None:
        """Change the rows past the triggers."""
        with triggers_off(model._meta.db_table):
            model.objects.filter(pk=self.restore.pk).update(**values)


@pytest.fixture
def approved(estate: make.Estate, people: make.People) -> ApprovedBulk:
    bulk_helpers.ready(estate)
    return ApprovedBulk(estate, people, bulk_helpers.approved(bulk_helpers.prepared(estate.qa, people), people))


def nothing_written(estate: make.Estate) -> None:
    assert estate.cloudflare.calls("bulk_put") == []
    assert estate.cloudflare.calls("put_value") == []


def refused(approved: ApprovedBulk, run: Run, code: str) -> None:
    """The run failed with this code before its first write, and the pages lead there."""
    assert (run.state, run.error_code) == (Run.State.FAILED, code), (run.state, run.error_code, run.error)
    nothing_written(approved.estate)
    browser = signed_in(approved.people.auditor)
    assert str(run.shown_error) in browser.get("/changes/bulk/").content.decode().replace("&#x27;", "'")
    overview = signed_in(approved.people.operator2).get("/").content.decode()
    assert f'href="/changes/bulk/{approved.restore.pk}/"' in overview


def stop(approved: ApprovedBulk) -> None:
    emergency.press(approved.restore.environment, reason="no longer needed", by=approved.people.operator2)


def expire(approved: ApprovedBulk) -> None:
    """The time in which the approval can be used is over."""
    request = ApprovalRequest.objects.filter(kind="bulk_change")
    with triggers_off("kvops_approvalrequest"):
        request.update(created_at=F("created_at") - timedelta(days=9), use_by=Now() - timedelta(hours=1))


def damage(approved: ApprovedBulk) -> None:
    """The backup is not verified any more."""
    with triggers_off("backups_generation"):
        Generation.objects.filter(pk=approved.restore.generation_id).update(status="damaged")


def recategorize(_approved: ApprovedBulk) -> None:
    make.change_families(PREFIX, category=Category.LEGACY, expiry="none")


def outside(approved: ApprovedBulk) -> None:
    """The environment allows other hours: those of the day after tomorrow."""
    day = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"][(clock.now() + timedelta(days=2)).weekday()]
    Environment.objects.filter(pk=approved.restore.environment_id).update(hours="01:00-02:00", days=day)


NOT_STARTED: dict[str, Callable[[ApprovedBulk], object]] = {
    "another policy": lambda _approved: make.another_policy(),
    "another category": recategorize,
    "operator revoked": lambda approved: make.revoke(approved.people.operator, Role.OPERATOR),
    "reviewer revoked": lambda approved: make.revoke(approved.people.reviewer, Role.REVIEWER),
    "emergency stop": stop,
    "approval expired": expire,
    "backup damaged": damage,
    "outside the hours": outside,
    "another list": lambda approved: approved.edit(Restore, names_sha256="1" * 64),
    "another lifetime": lambda approved: approved.edit(BulkChange, lifetime=3_600),
    "another scope": lambda approved: approved.edit(BulkChange, scope="none"),
}


@pytest.mark.parametrize("what", NOT_STARTED)
def test_what_changed_since_the_approval_is_not_started(approved: ApprovedBulk, what: str) -> None:
    NOT_STARTED[what](approved)
    with pytest.raises(Refused):
        approved.start()
    assert not Run.objects.filter(kind="bulk_change").exists()
    nothing_written(approved.estate)


STOPPED: dict[str, tuple[Callable[[ApprovedBulk], object], str]] = {
    "another policy": (lambda _approved: make.another_policy(), "stale"),
    "operator revoked": (lambda approved: make.revoke(approved.people.operator, Role.OPERATOR), "rights_gone"),
    "reviewer revoked": (lambda approved: make.revoke(approved.people.reviewer, Role.REVIEWER), "rights_gone"),
    "backup damaged": (damage, "stale"),
    "another list": (lambda approved: approved.edit(Restore, names_sha256="1" * 64), "wrong_set"),
    "another lifetime": (lambda approved: approved.edit(BulkChange, lifetime=3_600), "stale"),
    "another account": (
        lambda _approved: Environment.objects.filter(slug="qa").update(account_id="f" * 32), "wrong_target"
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", STOPPED)
def test_what_changed_since_the_start_stops_it_before_the_first_call(approved: ApprovedBulk, what: str) -> None:
    act, code = STOPPED[what]
    run = approved.start()
    act(approved)
    make.work()
    run.refresh_from_db()
    refused(approved, run, code)


def test_the_emergency_stop_halts_a_started_change(approved: ApprovedBulk) -> None:
    run = approved.start()
    stop(approved)
    make.work()
    run.refresh_from_db()
    assert (run.state, EmergencyStop.objects.in_force().count()) == (Run.State.STOPPED, 1)
    nothing_written(approved.estate)


def test_a_stopped_change_is_ended_early_and_what_was_sent_is_compared(approved: ApprovedBulk) -> None:
    run = approved.start()
    restore_helpers.stop_in_doubt(approved.estate, run)
    bulk_requests.end_early(bulk_helpers.fresh(approved.restore), by=approved.people.operator)
    make.work()
    restore = bulk_helpers.fresh(approved.restore)
    assert (restore.state, restore.written, restore.left) == (State.DONE, 3, 0)


def test_the_approver_does_not_start_it(approved: ApprovedBulk) -> None:
    make.grant(approved.people.reviewer, Role.OPERATOR)
    with pytest.raises(Refused):
        bulk_requests.start(approved.restore, by=approved.people.reviewer)
    nothing_written(approved.estate)


def test_a_rejected_request_returns_it_with_the_reason(estate: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.prepared(bulk_helpers.ready(estate).qa, people)
    request = bulk_helpers.submitted(restore, people)
    approval_gate.reject(request, by=people.reviewer, shown=request.digest, reason="too many as agreed")
    restore = bulk_helpers.fresh(restore)
    assert (restore.state, "too many as agreed" in restore.shown_returned_because) == (State.PREPARED, True)


# QA first


def test_production_needs_an_accepted_change_in_qa(estate: make.Estate, people: make.People) -> None:
    bulk_helpers.ready(estate)
    restore = bulk_helpers.prepared(estate.production, people)
    with pytest.raises(RestoreRefused, match="QA first"):
        bulk_helpers.submitted(restore, people)
    bulk_helpers.done(estate.qa, people)
    with pytest.raises(RestoreRefused, match="QA first"):
        bulk_helpers.submitted(restore, people)


def test_an_accepted_change_in_qa_opens_production(estate: make.Estate, people: make.People) -> None:
    bulk_helpers.ready(estate)
    earlier = bulk_helpers.accepted(estate.qa, people)
    restore = bulk_helpers.done(estate.production, people)
    assert (restore.bulk.repeats_id, restore.written) == (earlier.pk, 3)


LONGER = BulkWish(Operation.EXPIRATION, lifetime=DAY + 1)
OTHER_QA: dict[str, Callable[[make.Estate, make.People], object]] = {
    "a longer life": lambda estate, people: bulk_helpers.accepted(estate.qa, people, LONGER),
    "a later time": lambda estate, people: bulk_helpers.accepted(estate.qa, people, in_two_days()),
    "undone since": lambda estate, people: undo(bulk_helpers.accepted(estate.qa, people), people),
    "another family": lambda estate, people: bulk_helpers.accepted(estate.qa, people, MARK),
    "too long ago": lambda estate, people: age(bulk_helpers.accepted(estate.qa, people)),
}


def in_two_days() -> BulkWish:
    return BulkWish(Operation.EXPIRATION, until=int(clock.now().timestamp()) + 2 * DAY)


def undo(restore: Restore, people: make.People) -> None:
    """Restore the keys from the backup of the change."""
    restore_helpers.done(restore.generation, people, on_conflict=restore_helpers.Policy.OVERWRITE)


def age(restore: Restore) -> None:
    with triggers_off("backups_bulkchange"):
        BulkChange.objects.filter(pk=restore.pk).update(accepted_at=Now() - timedelta(seconds=timing.QA_EVIDENCE + 60))


@pytest.mark.parametrize("what", OTHER_QA)
def test_another_acceptance_opens_nothing(estate: make.Estate, people: make.People, what: str) -> None:
    bulk_helpers.ready(estate)
    OTHER_QA[what](estate, people)
    with pytest.raises(RestoreRefused, match="QA first"):
        bulk_helpers.submitted(bulk_helpers.prepared(estate.production, people), people)


def test_a_change_whose_qa_was_undone_is_not_started(estate: make.Estate, people: make.People) -> None:
    earlier = bulk_helpers.accepted(bulk_helpers.ready(estate).qa, people)
    restore = bulk_helpers.approved(bulk_helpers.prepared(estate.production, people), people)
    undo(earlier, people)
    before = len(estate.cloudflare.calls("bulk_put"))
    with pytest.raises(RestoreRefused, match="was undone"):
        bulk_requests.start(restore, by=people.operator)
    make.work()
    assert len(estate.cloudflare.calls("bulk_put")) == before


def test_other_keys_than_those_of_qa_are_a_risk_to_accept(estate: make.Estate, people: make.People) -> None:
    one = bulk_helpers.done(bulk_helpers.ready(estate).qa, people, prefix=NAMES[0])
    bulk_requests.accept(one, note="pages load", by=people.operator)
    request = bulk_helpers.submitted(bulk_helpers.prepared(estate.production, people), people)
    page = signed_in(people.reviewer).get(f"/approvals/{request.pk}/").content.decode()
    assert f"{NAMES[0]}*" in re.sub(r"<[^>]*>", "", page)
    with pytest.raises(ApprovalRefused, match="names risks"):
        approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest, accepted=[qa.DIFFERS])


def test_it_is_accepted_once_and_only_when_something_was_written(estate: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.prepared(bulk_helpers.ready(estate).qa, people)
    with pytest.raises(RestoreRefused, match="Only a change that was written"):
        bulk_requests.accept(restore, note="no longer needed", by=people.operator)
    bulk_helpers.started(restore, people)
    make.work()
    bulk_requests.accept(restore, note="pages load", by=people.operator)
    with pytest.raises(RestoreRefused, match="only once"):
        bulk_requests.accept(restore, note="again as agreed", by=people.operator)
    with pytest.raises(RestoreRefused, match="Describe"):
        bulk_requests.accept(restore, note=" ", by=people.operator)


# What can be chosen


def test_a_time_that_came_too_close_is_not_started(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk_helpers.ready(estate)
    at = int(clock.now().timestamp()) + 3_700
    wish = BulkWish(Operation.EXPIRATION, until=at)
    restore = bulk_helpers.approved(bulk_helpers.prepared(estate.qa, people, wish), people)
    restore_helpers.move_time(estate, monkeypatch, at - 3_000)
    with pytest.raises(RestoreRefused, match="at least one hour"):
        bulk_requests.start(restore, by=people.operator)
    nothing_written(estate)


def test_too_many_keys_are_refused(estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch) -> None:
    bulk_helpers.ready(estate)
    monkeypatch.setattr(bulk_start, "MOST", 2)
    with pytest.raises(RestoreRefused, match="These are 3"):
        bulk_start.begin(estate.qa, PREFIX, Scope.ALL, EXPIRY, by=people.operator)
    assert not BulkChange.objects.exists()


def test_names_of_an_old_scan_are_refused(estate: make.Estate, people: make.People) -> None:
    bulk_helpers.ready(estate)
    Scan.objects.update(completed_at=Now() - timedelta(days=2))
    with pytest.raises(RestoreRefused, match="was not scanned within a day"):
        bulk_start.begin(estate.qa, PREFIX, Scope.ALL, EXPIRY, by=people.operator)


# Beside other writes


def test_a_restore_and_a_change_of_the_same_keys_wait_for_each_other(approved: ApprovedBulk) -> None:
    estate, people = approved.estate, approved.people
    estate.put(estate.qa, NAMES[0], b"newer")
    over = restore_helpers.Policy.OVERWRITE
    backup = approved.restore.generation
    first, second = (
        restore_helpers.approved(restore_helpers.prepared(backup, people, on_conflict=over), people) for _ in range(2)
    )
    restore_requests.start(first, by=people.operator)
    with pytest.raises(RestoreRefused, match=f"are being written: /restores/{first.pk}/"):
        approved.start()
    make.work()
    approved.start()
    with pytest.raises(RestoreRefused, match=f"are being written: /changes/bulk/{approved.restore.pk}/"):
        restore_requests.start(second, by=people.operator)


def test_two_changes_of_the_same_keys_wait_for_each_other(approved: ApprovedBulk) -> None:
    other = bulk_helpers.approved(bulk_helpers.prepared(approved.estate.qa, approved.people), approved.people)
    approved.start()
    with pytest.raises(RestoreRefused, match="are being written"):
        bulk_requests.start(other, by=approved.people.operator)


# Beside deletions


def test_a_change_does_not_start_while_the_same_keys_are_deleted(approved: ApprovedBulk) -> None:
    cleanup_helpers.started(cleanup_helpers.asked(approved.people, PREFIX), approved.people)
    with pytest.raises(RestoreRefused, match="A deletion of the same family is under way"):
        approved.start()
    nothing_written(approved.estate)
    assert set(NAMES) <= set(bulk_helpers.held(approved.estate, approved.estate.qa))


def test_a_deletion_does_not_start_while_the_same_keys_are_changed(approved: ApprovedBulk) -> None:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(approved.people, PREFIX), approved.people)
    approved.start()
    with pytest.raises(CleanupRefused, match="A bulk change of the same family is under way"):
        cleanup_requests.start_deletion(stage, by=approved.people.operator)
    assert approved.estate.cloudflare.calls("bulk_delete") == []


def test_both_starts_hold_the_row_of_the_namespace_before_they_look_for_each_other(approved: ApprovedBulk) -> None:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(approved.people, PREFIX), approved.people)
    restore = bulk_helpers.fresh(approved.restore)
    asked = []
    for look in (partial(insist_no_round, stage), partial(bulk_requests._insist_family_at_rest, restore)):
        with log.transaction(), CaptureQueriesContext(connection) as queries:
            look()
        asked.append(queries.captured_queries[0]["sql"])
    for lock in asked:
        assert f'FROM "kvops_namespace" WHERE "kvops_namespace"."id" = {approved.estate.qa.pk} ' in lock
        assert lock.endswith("FOR NO KEY UPDATE")
