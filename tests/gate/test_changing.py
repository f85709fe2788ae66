"""A change of a key that is not exactly the approved one stops before its first call, and its page says so.

These run on the fakes over HTTP: the objects and the calls are what the guards are about.
"""

import json
import time
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256

import pyrage
import pytest
from django.db.models import F
from django.db.models.functions import Now

from backups.bucket import protection as bucket_protection
from backups.changes import propose, requests as change_requests, reverse as reverse_change, run as change_run
from backups.changes.moves import ChangeRefused
from backups.changes.propose import Wish
from backups.models import GenerationEntry, KeyChange
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.cloudflare import KvEntry
from kvops.models import ApprovalRequest, EmergencyStop, Person, Role, Run
from kvops.runs import driver as run_driver, emergency
from tests import keys, make
from tests.audit.make import sql, triggers_off
from tests.backups.changes import helpers as change_helpers
from tests.backups.changes.helpers import KEY, NEW, OLD
from tests.signing import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting")]
State = KeyChange.State
type Break = Callable[["ApprovedChange"], object]


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fake bucket over HTTP, in place of the one in memory that other tests of the gate use."""
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    monkeypatch.setattr(timing, "STALE", 0.05)


class ApprovedChange:
    """A change that is approved, in an environment."""

    def __init__(self, estate: make.Estate, people: make.People, change: KeyChange) -> None:
        self.estate, self.people, self.change = estate, people, change

    def edit(self, **values: object) -> None:
        """Change the row past the triggers."""
        sql("SET CONSTRAINTS ALL IMMEDIATE")
        with triggers_off("backups_keychange"):
            KeyChange.objects.filter(pk=self.change.pk).update(**values)

    def put_object(self, body: bytes) -> None:
        """Overwrite the proposal in the bucket."""
        self.estate.s3.objects[self.change.object_key] = body

    def run(self) -> Run:
        """Start it, and let the worker work."""
        run = change_requests.start(change_helpers.fresh(self.change), by=self.people.operator)
        return self.worked(run)

    def worked(self, run: Run) -> Run:
        make.work()
        run.refresh_from_db()
        return run


@pytest.fixture
def approved(estate: make.Estate, people: make.People) -> ApprovedChange:
    change_helpers.ready(estate)
    change = change_helpers.approved(change_helpers.proposed(estate.qa, people), people)
    return ApprovedChange(estate, people, change)


def nothing_written(approved: ApprovedChange) -> None:
    assert approved.estate.cloudflare.calls("put_value") == []
    held = change_helpers.held(approved.estate, approved.estate.qa)
    assert held is None or held.data != NEW


def said(approved: ApprovedChange, sentence: str) -> None:
    """The page of the change says it, and so does the list."""
    browser = signed_in(approved.people.auditor)
    for address in (f"/changes/{approved.change.pk}/", "/changes/"):
        assert sentence in browser.get(address).content.decode().replace("&#x27;", "'"), address
    overview = signed_in(approved.people.operator2).get("/").content.decode()
    assert f'href="/changes/{approved.change.pk}/"' in overview


DRIFTS: dict[str, Callable[[make.Estate], object]] = {
    "value": lambda estate: estate.put(estate.qa, KEY, b"changed by wrangler", metadata='{"v":1}'),
    "metadata": lambda estate: estate.put(estate.qa, KEY, OLD, metadata='{"v":2}'),
    "expiration": lambda estate: estate.put(estate.qa, KEY, OLD, metadata='{"v":1}', expiration=4_000_000_000),
    "gone": lambda estate: estate.cloudflare.namespace(estate.qa.namespace_id).delete(KEY),
}


@pytest.mark.parametrize("part", DRIFTS)
def test_a_drifted_live_entry_stops_it(approved: ApprovedChange, part: str) -> None:
    DRIFTS[part](approved.estate)
    change_helpers.refused(approved.run(), "drifted")
    nothing_written(approved)
    said(approved, "is not as it was when the change was made")


def test_a_key_that_appeared_stops_the_change_that_creates_it(estate: make.Estate, people: make.People) -> None:
    change_helpers.ready(estate)
    change = change_helpers.approved(change_helpers.proposed(estate.qa, people, "mail:new"), people)
    estate.put(estate.qa, "mail:new", b"theirs")
    found = ApprovedChange(estate, people, change)
    change_helpers.refused(found.run(), "drifted")
    assert estate.cloudflare.calls("put_value") == []
    said(found, "is there already")


def another(approved: ApprovedChange) -> bytes:
    """A proposal of the same change with another value, as somebody with the recipients could make it."""
    body = json.loads(pyrage.decrypt(approved.estate.s3.objects[approved.change.object_key], [keys.OFFLINE]))
    body["new"]["value"] = "ZXZpbA=="
    return bytes(pyrage.encrypt(json.dumps(body).encode(), [keys.OPERATIONS.to_public()]))


def test_another_object_under_the_same_name_stops_it(approved: ApprovedChange) -> None:
    approved.put_object(another(approved))
    change_helpers.refused(approved.run(), "wrong_proposal")
    nothing_written(approved)
    said(approved, "is another object than the one proposed")


def test_an_object_that_is_gone_stops_it(approved: ApprovedChange) -> None:
    del approved.estate.s3.objects[approved.change.object_key]
    change_helpers.refused(approved.run(), "wrong_proposal")
    nothing_written(approved)
    said(approved, "is gone. Prepare the change again.")


def test_another_object_of_the_row_stops_it_after_the_start(approved: ApprovedChange) -> None:
    run = change_requests.start(change_helpers.fresh(approved.change), by=approved.people.operator)
    body = another(approved)
    approved.estate.s3.objects["proposals/qa/forged.json.age"] = body
    approved.edit(object_key="proposals/qa/forged.json.age", object_sha256=sha256(body).hexdigest())
    change_helpers.refused(approved.worked(run), "wrong_proposal")
    nothing_written(approved)
    said(approved, "The proposal is another object than the approved one.")


def test_another_object_of_the_row_is_refused_at_the_start(approved: ApprovedChange) -> None:
    approved.edit(object_sha256="0" * 64)
    with pytest.raises(ChangeRefused):
        change_requests.start(change_helpers.fresh(approved.change), by=approved.people.operator)
    assert change_helpers.fresh(approved.change).state == State.ENDED
    nothing_written(approved)


def test_a_backup_whose_entry_differs_from_the_old_value_stops_it(approved: ApprovedChange) -> None:
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    with triggers_off("backups_generationentry"):
        GenerationEntry.objects.filter(generation=approved.change.generation).update(digest=b"\1" * 32)
    change_helpers.refused(approved.run(), "wrong_backup")
    nothing_written(approved)
    said(approved, "does not hold the old value that the change was made from")


def test_another_backup_stops_it(approved: ApprovedChange) -> None:
    other = change_helpers.proposed(approved.estate.production, approved.people).generation
    run = change_requests.start(change_helpers.fresh(approved.change), by=approved.people.operator)
    approved.edit(generation=other)
    change_helpers.refused(approved.worked(run), "wrong_backup")
    nothing_written(approved)
    said(approved, "The backup of the old value is another one than the approved one.")


def test_a_backup_that_is_not_in_its_bucket_any_more_stops_it(approved: ApprovedChange) -> None:
    backup = approved.change.generation
    assert backup is not None
    run = change_requests.start(change_helpers.fresh(approved.change), by=approved.people.operator)
    del approved.estate.s3.objects[backup.object_keys()[0]]
    change_helpers.refused(approved.worked(run), "backup_gone")
    nothing_written(approved)


@pytest.mark.parametrize("who", ["operator", "reviewer"])
def test_a_removed_role_stops_it(approved: ApprovedChange, who: str) -> None:
    run = change_requests.start(change_helpers.fresh(approved.change), by=approved.people.operator)
    person: Person = getattr(approved.people, who)
    make.revoke(person, Role(who))
    change_helpers.refused(approved.worked(run), "rights_gone")
    nothing_written(approved)
    said(approved, f"is no longer {'an operator' if who == 'operator' else 'a reviewer'}.")


def test_an_emergency_stop_stops_it(approved: ApprovedChange) -> None:
    run = change_requests.start(change_helpers.fresh(approved.change), by=approved.people.operator)
    emergency.press(approved.estate.qa.environment, by=approved.people.auditor, reason="look at this")
    approved.worked(run)
    assert (run.state, run.error_code) == (Run.State.STOPPED, emergency.CODE)
    assert EmergencyStop.objects.in_force().exists()
    nothing_written(approved)
    said(approved, "pressed the emergency stop")


def test_a_sent_value_is_read_back_though_the_emergency_stop_is_on(approved: ApprovedChange) -> None:
    run = change_requests.start(change_helpers.fresh(approved.change), by=approved.people.operator)
    run_driver.drive(run.pk)
    emergency.press(approved.estate.qa.environment, by=approved.people.auditor, reason="look at this")
    approved.worked(run)
    assert change_helpers.fresh(approved.change).outcome == KeyChange.Outcome.WRITTEN


def sent(approved: ApprovedChange) -> Run:
    """The run after it sent the value once."""
    run = change_requests.start(change_helpers.fresh(approved.change), by=approved.people.operator)
    run_driver.drive(run.pk)
    return run


def test_a_change_that_is_ended_after_a_stale_read_is_read_once_more(approved: ApprovedChange) -> None:
    run = sent(approved)
    approved.edit(settled_at=Now())  # a stale read showed the old entry, and a retry was planned
    run_driver.request_stop(run, actor=make.SETUP)
    approved.worked(run)
    change_requests.end_early(change_helpers.fresh(approved.change), by=approved.people.operator)
    approved.worked(run)
    assert change_helpers.fresh(approved.change).outcome == KeyChange.Outcome.WRITTEN


def test_a_stale_read_after_the_write_overwrites_no_newer_value(
    approved: ApprovedChange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "STALE", 1.0)
    run = sent(approved)
    approved.estate.put(approved.estate.qa, KEY, b"theirs")
    old, real, begun = KvEntry(KEY, OLD, None, '{"v":1}'), change_run._ChangeRun._live, time.monotonic()
    monkeypatch.setattr(
        change_run._ChangeRun, "_live", lambda one: old if time.monotonic() < begun + 0.9 else real(one)
    )
    approved.worked(run)
    assert change_helpers.fresh(approved.change).outcome == KeyChange.Outcome.DIFFERENT
    assert len(approved.estate.cloudflare.calls("put_value")) == 1


def test_another_entry_after_an_attempt_ends_the_change_without_a_claim_that_nothing_was_written(
    approved: ApprovedChange,
) -> None:
    run = sent(approved)
    approved.edit(settled_at=Now())
    approved.estate.put(approved.estate.qa, KEY, b"theirs")
    approved.worked(run)
    assert change_helpers.fresh(approved.change).outcome == KeyChange.Outcome.DIFFERENT
    assert len(approved.estate.cloudflare.calls("put_value")) == 1


def test_another_policy_stops_it(approved: ApprovedChange) -> None:
    run = change_requests.start(change_helpers.fresh(approved.change), by=approved.people.operator)
    make.another_policy()
    change_helpers.refused(approved.worked(run), "stale")
    nothing_written(approved)


@pytest.mark.parametrize("who", ["reviewer", "nobody"])
def test_who_approved_or_is_no_operator_does_not_start_it(approved: ApprovedChange, who: str) -> None:
    with pytest.raises((ChangeRefused, approval_gate.ApprovalRefused)):
        change_requests.start(change_helpers.fresh(approved.change), by=getattr(approved.people, who))
    nothing_written(approved)


def test_a_resumed_run_writes_once_the_old_entry_is_back(approved: ApprovedChange) -> None:
    approved.estate.put(approved.estate.qa, KEY, b"for a moment")
    run = approved.run()
    change_helpers.refused(run, "drifted")
    approved.estate.put(approved.estate.qa, KEY, OLD, metadata='{"v":1}')
    run_driver.resume(run, actor=make.SETUP)
    approved.worked(run)
    assert change_helpers.fresh(approved.change).outcome == KeyChange.Outcome.WRITTEN


def test_a_read_that_grew_too_old_before_the_write_stops_it(
    approved: ApprovedChange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "READ_FRESH", 0.0)
    change_helpers.refused(approved.run(), "too_slow")
    nothing_written(approved)
    said(approved, "could not be read quickly enough before the write")


def test_an_expiration_that_comes_too_close_stops_it(estate: make.Estate, people: make.People) -> None:
    change_helpers.ready(estate)
    soon = int(time.time()) + 30
    change = change_helpers.approved(change_helpers.proposed(estate.qa, people, KEY, expiration=(soon,)), people)
    found = ApprovedChange(estate, people, change)
    change_helpers.refused(found.run(), "expires_soon")
    nothing_written(found)


# QA first


def production(estate: make.Estate, people: make.People, **wish: object) -> KeyChange:
    change_helpers.ready(estate)
    return change_helpers.proposed(estate.production, people, KEY, **wish)


def accepted_in_qa(estate: make.Estate, people: make.People) -> KeyChange:
    change = change_helpers.done(estate.qa, people)
    change_requests.accept(change, note="sent a mail, it arrived", by=people.operator)
    return change


def test_production_without_a_change_of_qa_and_without_a_reason_is_refused(
    estate: make.Estate, people: make.People
) -> None:
    change = production(estate, people)
    with pytest.raises(ChangeRefused, match="Name the accepted change in QA"):
        change_requests.submit(change, reason="no longer needed", by=people.operator)


def test_a_reason_in_place_of_qa_is_a_risk_that_the_reviewer_accepts_by_name(
    estate: make.Estate, people: make.People
) -> None:
    change = production(estate, people)
    request = change_requests.submit(
        change, reason="no longer needed", no_qa_because="only in production", by=people.operator
    )
    with pytest.raises(approval_gate.ApprovalRefused, match="names risks"):
        approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest, accepted=["qa_not_repeated"])
    assert change_helpers.fresh(change).state == State.APPROVED


def test_an_expiration_alone_has_no_exception(estate: make.Estate, people: make.People) -> None:
    change = production(estate, people, value=None, expiration=(4_000_000_000,))
    with pytest.raises(ChangeRefused, match="changed in QA first"):
        change_requests.submit(change, reason="no longer needed", no_qa_because="in a hurry", by=people.operator)


def test_production_repeats_the_accepted_change_of_qa(estate: make.Estate, people: make.People) -> None:
    change_helpers.ready(estate)
    first = accepted_in_qa(estate, people)
    change = change_helpers.proposed(estate.production, people)
    request = change_requests.submit(change, reason="no longer needed", repeats=first, by=people.operator)
    shown = json.loads(request.evidence)
    assert (shown["qa"]["change"], shown["risks"]) == (first.pk, [])


@pytest.mark.parametrize("why", ["another key", "not accepted", "too old", "reversed"])
def test_a_change_of_qa_that_does_not_count_is_refused(estate: make.Estate, people: make.People, why: str) -> None:
    change_helpers.ready(estate)
    first = accepted_in_qa(estate, people)
    found = ApprovedChange(estate, people, first)
    if why == "another key":
        found.edit(name="mail:other")
    elif why == "not accepted":
        found.edit(accepted_at=None, accepted_by=None, accepted_note="")
    elif why == "too old":
        found.edit(accepted_at=F("accepted_at") - timedelta(days=8))
    else:
        other = change_helpers.done(estate.qa, people, value=OLD)
        ApprovedChange(estate, people, other).edit(reverses=first)
    change = change_helpers.proposed(estate.production, people)
    with pytest.raises(ChangeRefused, match="no accepted change of the same key"):
        change_requests.submit(change, reason="no longer needed", repeats=first, by=people.operator)


@pytest.mark.parametrize("value", [NEW, None])
def test_a_change_of_qa_that_changed_fewer_parts_is_not_repeated(
    estate: make.Estate, people: make.People, value: bytes | None
) -> None:
    change_helpers.ready(estate)
    first = accepted_in_qa(estate, people)
    change = change_helpers.proposed(estate.production, people, value=value, expiration=(4_000_000_000,))
    with pytest.raises(ChangeRefused, match="changed the same parts"):
        change_requests.submit(change, reason="no longer needed", repeats=first, by=people.operator)


def test_a_change_of_qa_that_was_reversed_after_the_approval_stops_the_start(
    estate: make.Estate, people: make.People
) -> None:
    change_helpers.ready(estate)
    first = accepted_in_qa(estate, people)
    change = change_helpers.approved(change_helpers.proposed(estate.production, people), people, repeats=first)
    other = change_helpers.done(estate.qa, people, value=OLD)
    ApprovedChange(estate, people, other).edit(reverses=first)
    with pytest.raises(ChangeRefused, match="differs from the approved one"):
        change_requests.start(change, by=people.operator)
    assert change_helpers.fresh(change).state == State.ENDED


def test_an_approval_past_its_deadline_starts_nothing(approved: ApprovedChange) -> None:
    sql("SET CONSTRAINTS ALL IMMEDIATE")
    with triggers_off("kvops_approvalrequest"):
        ApprovalRequest.objects.filter(keychange=approved.change).update(
            decided_at=F("decided_at") - timedelta(days=3), use_by=F("use_by") - timedelta(days=3)
        )
    with pytest.raises(approval_gate.ApprovalRefused):
        change_requests.start(change_helpers.fresh(approved.change), by=approved.people.operator)
    nothing_written(approved)


def test_only_the_person_who_typed_the_value_submits_it(estate: make.Estate, people: make.People) -> None:
    change_helpers.ready(estate)
    change = change_helpers.proposed(estate.qa, people)
    with pytest.raises(ChangeRefused, match="nobody else submits it"):
        change_requests.submit(change, reason="no longer needed", by=people.operator2)
    page = signed_in(people.operator2).get(f"/changes/{change.pk}/").content.decode()
    assert "nobody else submits it" in page
    assert f'action="/changes/{change.pk}/submit"' not in page


# Reversing


def test_a_reverse_change_replaces_no_newer_value(estate: make.Estate, people: make.People) -> None:
    change_helpers.ready(estate)
    change = change_helpers.done(estate.qa, people)
    estate.put(estate.qa, KEY, b"theirs")
    back = reverse_change.prepare(change, by=people.operator)
    make.work()
    back = change_helpers.fresh(back)
    assert back.prepare_run is not None
    change_helpers.refused(back.prepare_run, "changed_again")
    assert (back.object_key, change_helpers.proposals(estate)) == ("", [])


# Proposing


def test_nothing_is_proposed_without_a_lifecycle_rule_or_under_a_lock(estate: make.Estate, people: make.People) -> None:
    change_helpers.ready(estate)
    guards = estate.cloudflare.bucket(make.ACCOUNTS["qa"], estate.s3.bucket)
    whole, guards.lifecycle = guards.lifecycle, []
    for locked in (False, True):
        if locked:
            guards.lifecycle = whole
            guards.lock("proposals/", days=1)
        bucket_protection.ask_cloudflare(estate.qa.environment)
        with pytest.raises(ChangeRefused, match="lifecycle rule"):
            propose.propose(estate.qa, KEY, old=None, wish=Wish(value=NEW), by=people.operator)
    assert change_helpers.proposals(estate) == []


def test_a_proposal_that_cannot_be_stored_is_given_up(estate: make.Estate, people: make.People) -> None:
    change_helpers.ready(estate)
    old = propose.live_entry(estate.qa, KEY)
    estate.s3.fault("403", "PUT", times=9)
    with pytest.raises(ChangeRefused, match="could not be stored"):
        propose.propose(estate.qa, KEY, old=old, wish=Wish(value=NEW), by=people.operator)
    assert KeyChange.objects.get().state == State.ENDED
    estate.s3._faults.clear()


@pytest.mark.parametrize(("name", "new"), [("master:1", False), ("mastercache:1", True), ("unknown:1", True)])
def test_only_settings_and_known_unclassified_keys_are_changed(
    estate: make.Estate, people: make.People, name: str, new: bool
) -> None:
    change_helpers.ready(estate)
    estate.put(estate.qa, name, OLD)
    old = None if new else propose.live_entry(estate.qa, name)
    with pytest.raises(ChangeRefused):
        propose.propose(estate.qa, name, old=old, wish=Wish(value=NEW), by=people.operator)


def test_a_request_is_about_one_key_for_its_reviewer(approved: ApprovedChange) -> None:
    request = ApprovalRequest.objects.get(kind="put_key")
    shown = json.loads(request.evidence)
    assert (shown["names"]["count"], shown["names"]["first"], shown["action"]) == (1, KEY, "put_key")
    assert OLD.decode() not in request.evidence
    assert NEW.decode() not in request.evidence
