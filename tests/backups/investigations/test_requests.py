"""Investigations: a cache is copied for a question, and its copy goes with it, by an approval and by R2 itself."""

import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError
from django.db.transaction import atomic

from audit import verify
from audit.models import Entry
from backups.bucket import protection as bucket_protection
from backups.bucket.deletion import erase_permanently
from backups.bucket.r2 import R2Store
from backups.generations import scope, start as generation_start
from backups.investigations import requests as investigation_requests
from backups.investigations.requests import KIND, InvestigationRefused
from backups.models import Generation, Investigation
from backups.retention import pins
from backups.retention.inputs import Retention
from backups.retention.pins import PinRefused
from kvops import clock
from kvops.approvals import gate as approval_gate, standing
from kvops.models import ApprovalRequest, Category, Environment, Family, Notification, Person, Role, Run
from kvops.runs import driver as run_driver, emergency
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.fakes.cloudflare_api import FakeBucket
from tests.gate.world import past_the_triggers
from tests.signing import fresh, signed_in

pytestmark = pytest.mark.django_db

NAMES = ("mastercache:a", "mastercache:b")


@pytest.fixture
def cached(estate: make.Estate, people: make.People) -> make.Estate:
    """QA with two keys of a cache, and a bucket whose guards are known."""
    for name in NAMES:
        estate.put(estate.qa, name)
    bucket_protection.ask_cloudflare(estate.qa.environment)
    return estate


def start(
    estate: make.Estate, people: make.People, *, work: Callable[[], object] = make.work, **values: object
) -> Investigation:
    asked: dict[str, object] = {"title": "Wrong totals", "reason": "Customers see zero", "days": 7} | values
    family = Family.objects.get(pattern="mastercache:")
    made = investigation_requests.start(estate.qa, family=family, by=people.operator, **asked)  # type: ignore[arg-type]
    work()
    return now(made)


def now(investigation: Investigation) -> Investigation:
    related = ("environment", "run", "generation__namespace")
    return Investigation.objects.select_related(*related).get(pk=investigation.pk)


def approve(investigation: Investigation, people: make.People) -> ApprovalRequest:
    request = standing.newest_request(KIND, investigation.subject)
    assert request
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    request.refresh_from_db()
    return request


def close(investigation: Investigation, people: make.People) -> Investigation:
    investigation_requests.close(investigation, reason="A join was wrong", by=people.operator)
    make.work()
    return now(investigation)


def page(person: Person, address: str) -> str:
    return signed_in(person).get(address).content.decode()


def look(environment: Environment) -> None:
    investigation_requests.end_due(environment)
    make.work()


def test_a_cache_is_backed_up_where_r2_deletes_it(cached: make.Estate, people: make.People) -> None:
    made = start(cached, people)
    assert (made.generation.status, made.generation.keys, made.state) == ("verified", 2, "open")
    assert {key.split("/")[0] for key in cached.s3.objects} == {"investigations"}
    assert made.generation.retain_until == made.ends_at


def test_people_are_told_of_the_backup_and_of_one_that_was_not_made(cached: make.Estate, people: make.People) -> None:
    Environment.objects.update(slack="env:TEST_SLACK")
    made = start(cached, people)
    told = Notification.objects.filter(event="generation.made", subject=f"generation:{made.generation_id}")
    assert [one.environment for one in told] == [made.environment]
    cached.cloudflare.fault("bulk_get", "refusal", status=400, code=10022, times=99)
    failed = start(cached, people, title="Once more").generation.run
    told = Notification.objects.filter(event="generation.failed", subject=f"run:{failed.pk}")
    assert {one.person for one in told} >= {people.operator, people.operator2}


def test_closing_deletes_the_backup_under_the_approval_that_stands(cached: make.Estate, people: make.People) -> None:
    made = start(cached, people)
    request = approve(made, people)
    over = close(made, people)
    assert (over.state, over.generation.status, cached.s3.objects) == ("over", "deleted", {})
    assert over.run
    assert (over.run.approval, request.state) == (request, "approved")
    assert verify.verify().ok


def test_its_end_deletes_the_backup_without_anybody(
    cached: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    long_ago = clock.now() - timedelta(days=7) + timedelta(seconds=3)
    monkeypatch.setattr(investigation_requests, "clock", SimpleNamespace(now=lambda: long_ago))
    made = start(cached, people)
    monkeypatch.undo()
    approve(made, people)
    look(made.environment)
    assert now(made).state == "open"
    time.sleep(max(clock.seconds_until(made.ends_at), 0))
    look(made.environment)
    assert (now(made).state, cached.s3.objects) == ("over", {})


def test_each_object_is_in_the_record_before_it_goes(cached: make.Estate, people: make.People) -> None:
    made = start(cached, people)
    approve(made, people)
    objects = list(reversed(made.generation.every_object()))
    close(made, people)
    told = Entry.objects.filter(action="object.deleting").order_by("seq")
    assert [entry.details["object"] for entry in told] == objects
    assert {entry.details["investigation"] for entry in told} == {made.pk}


def test_without_an_approval_the_backup_stays_and_people_are_told_once(
    cached: make.Estate, people: make.People
) -> None:
    made = close(start(cached, people), people)
    for _ in range(2):
        look(made.environment)
    assert (made.state, made.generation.status) == ("closed", "verified")
    assert Notification.objects.filter(event="generation.past_deadline", person=people.operator).count() == 1


def test_a_closed_investigation_ends_as_soon_as_it_is_approved(cached: make.Estate, people: make.People) -> None:
    made = close(start(cached, people), people)
    approve(made, people)
    look(made.environment)
    assert now(made).state == "over"


def test_after_a_rejection_an_operator_asks_again(cached: make.Estate, people: make.People) -> None:
    made = start(cached, people)
    request = standing.newest_request(KIND, made.subject)
    assert request
    approval_gate.reject(request, by=people.reviewer, shown=request.digest, reason="Why a week?")
    investigation_requests.ask_again(made, by=people.operator)
    approve(made, people)
    with pytest.raises(InvestigationRefused, match="approval is in force"):
        investigation_requests.ask_again(made, by=people.operator)


def no_rule(estate: make.Estate) -> None:
    bucket(estate).lifecycle.clear()


def disabled(estate: make.Estate) -> None:
    no_rule(estate)
    bucket(estate).expire("investigations/", enabled=False)


def too_late(estate: make.Estate) -> None:
    no_rule(estate)
    bucket(estate).expire("investigations/", days=31)


def too_early(estate: make.Estate) -> None:
    bucket(estate).expire("investigations/qa/", days=3)


def elsewhere(estate: make.Estate) -> None:
    no_rule(estate)
    bucket(estate).expire("investigations/production/")


def bucket(estate: make.Estate) -> FakeBucket:
    environment = estate.qa.environment
    return estate.cloudflare.bucket(environment.account_id, environment.r2_bucket)


@pytest.mark.parametrize("change", [no_rule, disabled, too_late, too_early, elsewhere])
def test_nothing_is_backed_up_that_r2_would_not_delete_in_time(
    cached: make.Estate, people: make.People, change: Callable[[make.Estate], None]
) -> None:
    change(cached)
    bucket_protection.ask_cloudflare(cached.qa.environment)
    with pytest.raises(InvestigationRefused, match=r"R2 deletes investigation backups|no lifecycle rule"):
        start(cached, people)
    assert not Generation.objects.exists()


def test_nothing_is_backed_up_into_a_bucket_nothing_is_known_of(estate: make.Estate, people: make.People) -> None:
    with pytest.raises(InvestigationRefused, match="not asked yet"):
        start(estate, people)


def test_a_lifecycle_rule_that_deletes_backups_is_told(cached: make.Estate, people: make.People) -> None:
    bucket(cached).expire("qa/", days=90)
    protection = bucket_protection.ask_cloudflare(cached.qa.environment)
    assert (protection.deletes, protection.good) == (["expiry-3"], False)
    assert Entry.objects.filter(action="bucket.unguarded").exists()
    assert "delete backups" in page(people.auditor, "/backups/")


@pytest.mark.parametrize("pattern", ["master:", "mastercache:secret"])
def test_only_caches_are_backed_up(cached: make.Estate, people: make.People, pattern: str) -> None:
    category = Category.LEGACY if pattern == "master:" else Category.SETTINGS
    Family.objects.get_or_create(binding="SETTINGS", pattern=pattern, defaults={"category": category})
    family = Family.objects.get(pattern="mastercache:" if category == Category.SETTINGS else "master:")
    with pytest.raises(InvestigationRefused, match=r"Not all keys under .* are cache"):
        investigation_requests.start(
            cached.qa, family=family, title="x", reason="no longer needed", days=1, by=people.operator
        )


def test_a_key_that_is_no_cache_after_all_fails_the_backup(cached: make.Estate, people: make.People) -> None:
    family = Family.objects.get(pattern="mastercache:")
    made = investigation_requests.start(
        cached.qa, family=family, title="x", reason="no longer needed", days=1, by=people.operator
    )
    Family.objects.filter(pk=family.pk).update(category=Category.LEGACY)
    make.work()
    run = now(made).generation.run
    assert (run.state, run.error_code, cached.s3.objects) == ("failed", "not_a_cache", {})


def test_an_investigation_whose_backup_was_never_finished_is_over_when_it_is_closed(
    cached: make.Estate, people: make.People
) -> None:
    cached.cloudflare.fault("bulk_get", "refusal", status=403, code=10000, times=99)
    made = start(cached, people)
    assert made.generation.status == "writing"
    assert close(made, people).state == "over"
    with pytest.raises(run_driver.NotResumable, match="no longer made"):
        run_driver.resume(made.generation.run, actor=make.SETUP)


def test_a_routine_backup_of_a_cache_is_refused(cached: make.Estate) -> None:
    with pytest.raises(scope.BackupRefused, match="investigation"):
        generation_start.start_backup(cached.qa, prefixes=["mastercache:"], actor=make.SETUP)


@pytest.mark.parametrize(("days", "title", "reason"), [(0, "x", "x"), (31, "x", "x"), (1, " ", "x"), (1, "x", " ")])
def test_an_investigation_has_a_name_a_reason_and_an_end(
    cached: make.Estate, people: make.People, days: int, title: str, reason: str
) -> None:
    with pytest.raises(InvestigationRefused):
        start(cached, people, days=days, title=title, reason=reason)


@pytest.mark.parametrize("who", ["reviewer", "auditor"])
def test_only_an_operator_opens_or_closes_one(cached: make.Estate, people: make.People, who: str) -> None:
    person, family = getattr(people, who), Family.objects.get(pattern="mastercache:")
    with pytest.raises(InvestigationRefused, match="operator"):
        investigation_requests.start(cached.qa, family=family, title="x", reason="no longer needed", days=1, by=person)
    made = start(cached, people)
    with pytest.raises(InvestigationRefused, match="operator"):
        investigation_requests.close(made, reason="no longer needed", by=person)


def stopped(made: Investigation, people: make.People) -> None:
    emergency.press(made.environment, by=people.operator, reason="no longer needed")


def rights_gone(made: Investigation, people: make.People) -> None:
    make.revoke(people.reviewer, Role.REVIEWER)


def moved(made: Investigation, people: make.People) -> None:
    Environment.objects.filter(pk=made.environment_id).update(account_id="f" * 32)


def withdrawn(made: Investigation, people: make.People) -> None:
    request = standing.newest_request(KIND, made.subject)
    assert request
    approval_gate.withdraw(request, by=people.operator, reason="no longer needed")


@pytest.mark.parametrize("change", [stopped, rights_gone, moved, withdrawn])
def test_nothing_goes_that_is_no_longer_as_approved(
    cached: make.Estate, people: make.People, change: Callable[[Investigation, make.People], None]
) -> None:
    made = start(cached, people)
    approve(made, people)
    change(made, people)
    closed = close(made, people)
    assert (closed.run, closed.generation.status) == (None, "verified")
    assert not cached.s3.calls("DELETE")


@pytest.mark.parametrize("change", [stopped, rights_gone, withdrawn])
def test_a_run_that_was_begun_looks_again(
    cached: make.Estate, people: make.People, change: Callable[[Investigation, make.People], None]
) -> None:
    made = start(cached, people)
    approve(made, people)
    investigation_requests.close(made, reason="no longer needed", by=people.operator)
    change(now(made), people)
    make.work()
    assert now(made).generation.status == "verified"
    assert not cached.s3.calls("DELETE")


def test_whoever_approved_does_not_close_it(cached: make.Estate, people: make.People) -> None:
    make.grant(people.reviewer, Role.OPERATOR)
    made = start(cached, people)
    approve(made, people)
    with pytest.raises(InvestigationRefused, match="another person"):
        investigation_requests.close(made, reason="no longer needed", by=people.reviewer)


def test_whoever_reads_the_backup_is_waited_for(cached: make.Estate, people: make.People) -> None:
    made = start(cached, people)
    approve(made, people)
    generation_start.start_verification(made.generation, actor=make.SETUP)
    investigation_requests.close(made, reason="no longer needed", by=people.operator)
    assert now(made).run is None
    make.work()
    look(made.environment)
    assert now(made).state == "over"


def test_retention_leaves_the_backup_to_its_investigation(cached: make.Estate, people: make.People) -> None:
    made = start(cached, people)
    (kept,) = Retention().of([made.generation])
    assert (kept.verdict.state, kept.verdict.due_at, kept.verdict.may_from) == ("investigation", made.ends_at, None)
    with pytest.raises(PinRefused, match="cannot be pinned"):
        pins.pin(made.generation, reason="no longer needed", by=people.operator)


def test_the_database_lets_no_backup_go_before_the_end(cached: make.Estate, people: make.People) -> None:
    made = start(cached, people)
    approve(made, people)
    with pytest.raises(IntegrityError, match="at its end"), atomic():
        Generation.objects.filter(pk=made.generation_id).update(status="deleting")


def test_an_auditor_finds_in_the_history_why_the_backup_went(cached: make.Estate, people: make.People) -> None:
    made = start(cached, people)
    approve(made, people)
    close(made, people)
    history = page(people.auditor, "/backups/history/")
    assert f"/investigations/{made.pk}/" in history
    assert "Wrong totals: A join was wrong" in history
    assert "A join was wrong" in page(people.auditor, f"/investigations/{made.pk}/")


def test_an_operator_opens_one_on_its_page(cached: make.Estate, people: make.People) -> None:
    family = Family.objects.get(pattern="mastercache:").pk
    form = {"environment": "qa", "family": family, "title": "Wrong totals", "reason": "The totals are zero", "days": 3}
    answer = signed_in(people.operator).post("/investigations/new/", form)
    made = Investigation.objects.get()
    assert answer["Location"] == f"/investigations/{made.pk}/"
    assert (made.asked_by, made.title) == (people.operator, "Wrong totals")
    assert signed_in(people.operator).post(f"/investigations/{made.pk}/close", {"reason": ""}).status_code == 422
    signed_in(people.operator).post(f"/investigations/{made.pk}/close", {"reason": "Found as agreed"})
    assert now(made).closed_because == "Found as agreed"


def test_its_page_moves_until_the_backup_is_read_back(cached: make.Estate, people: make.People) -> None:
    made = start(cached, people, work=lambda: None)
    run_driver.drive(made.generation.run_id)
    assert now(made).generation.status == "complete"
    address, operator = f"/investigations/{made.pk}/live", signed_in(people.operator)
    assert "HX-Refresh" not in operator.get(address)
    assert "every 2s" in operator.get(address).content.decode()
    make.work()
    assert operator.get(address)["HX-Refresh"] == "true"


def test_the_reviewer_is_shown_what_would_go_and_when(cached: make.Estate, people: make.People) -> None:
    made = start(cached, people)
    request = standing.newest_request(KIND, made.subject)
    assert request
    shown = page(people.reviewer, f"/approvals/{request.pk}/")
    assert "Customers see zero" in shown
    assert f"{made.ends_at.astimezone(ZoneInfo('Asia/Tokyo')):%Y-%m-%d %H:%M}" in shown
    form = {"decision": "approve", "shown": request.digest, "confirm": made.generation.bucket}
    assert fresh(people.reviewer).post(f"/approvals/{request.pk}/decide", form).status_code == 302
    assert "closed, at its end at the latest" in page(people.auditor, f"/approvals/{request.pk}/")


def test_who_wants_to_back_up_a_cache_is_led_here(cached: make.Estate, people: make.People) -> None:
    cleanup_helpers.scan(cached.qa)
    shown = page(people.operator, "/backups/new/?env=qa&binding=SETTINGS&prefix=mastercache:")
    assert "/investigations/new/?environment=qa" in shown
    assert "Start the backup" not in shown


def test_the_list_says_how_to_add_the_missing_rule(cached: make.Estate, people: make.People) -> None:
    no_rule(cached)
    bucket_protection.ask_cloudflare(cached.qa.environment)
    assert "npx wrangler r2 bucket lifecycle add" in page(people.operator, "/investigations/")


def test_a_backup_that_is_still_there_an_hour_after_its_end_is_an_alarm(
    cached: make.Estate, people: make.People
) -> None:
    made = close(start(cached, people), people)
    assert "should have been deleted" not in page(people.auditor, "/")
    with past_the_triggers():
        Investigation.objects.update(closed_at=made.created_at - timedelta(hours=2))
    assert "The backup of 1 investigation should have been deleted" in page(people.auditor, "/")


class KilledInInvestigation(BaseException):
    """The worker is gone, whatever would catch an exception."""


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_worker_that_dies_at_an_object_is_taken_over(
    cached: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, after: bool
) -> None:
    made = start(cached, people)
    approve(made, people)

    def dies(store: R2Store, key: str) -> None:
        if after:
            erase_permanently(store, key)
        raise KilledInInvestigation

    monkeypatch.setattr("backups.retention.erasure.erase_permanently", dies)
    with pytest.raises(KilledInInvestigation):
        close(made, people)
    monkeypatch.setattr("backups.retention.erasure.erase_permanently", erase_permanently)
    Run.objects.filter(kind="prune_investigation").update(lease_until=now(made).created_at - timedelta(hours=1))
    make.work()
    assert (now(made).state, cached.s3.objects) == ("over", {})
    assert Entry.objects.filter(action="object.deleting").count() == 4


def test_an_approval_that_is_over_is_followed_by_another_and_the_backup_goes(
    cached: make.Estate, people: make.People
) -> None:
    made = start(cached, people)
    request = approve(made, people)
    investigation_requests.close(made, reason="Found as agreed", by=people.operator)
    approval_gate.withdraw(request, by=people.operator, reason="Not yet as agreed")
    make.work()
    look(made.environment)
    before = Run.objects.get(kind="prune_investigation")
    assert (before.error_code, now(made).state) == ("rights_gone", "deleting")
    investigation_requests.ask_again(now(made), by=people.operator)
    approve(made, people)
    look(made.environment)
    assert (now(made).state, cached.s3.objects) == ("over", {})
    with pytest.raises(run_driver.NotResumable):
        run_driver.resume(before, actor=make.SETUP)
