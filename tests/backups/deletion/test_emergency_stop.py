"""An emergency stop and the deletions it stops: the fake's journal tells what was sent."""

from threading import Event, Thread

import pytest
from django.db import connection

from audit import log
from backups.cleanup import requests as cleanup_requests
from backups.deletion import chunks
from backups.models import CleanupChunk, CleanupException, CleanupStage
from kvops.approvals import emergency_release, gate as approval_gate
from kvops.models import ApprovalRequest, Environment, Run
from kvops.runs import driver as run_driver, emergency
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.fakes.http import Request

pytestmark = pytest.mark.django_db

NAMES = tuple(f"master:a:{number:04}" for number in range(130))
"""A first chunk of 100 and a second one."""


@pytest.fixture
def qa(estate: make.Estate) -> Environment:
    cleanup_helpers.estate_with_masters(estate, NAMES)
    return estate.qa.environment


def release(environment: Environment, people: make.People) -> None:
    asked = emergency_release.ask(environment, by=people.operator, reason="All went well")
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    emergency_release.use(asked, by=people.operator)


def press_before(estate: make.Estate, environment: Environment, people: make.People, route: str, nth: int) -> None:
    """Somebody presses while Cloudflare is about to handle the nth call of a route."""
    seen: list[int] = []

    def press(_request: Request) -> None:
        seen.append(1)
        if len(seen) != nth:
            return
        pressed = Thread(target=_press, args=(environment, people))
        pressed.start()
        pressed.join()

    estate.cloudflare.hook(route, press)


def _press(environment: Environment, people: make.People) -> None:
    try:
        emergency.press(environment, by=people.auditor, reason="Pages are empty")
    finally:
        connection.close()


def deleted(estate: make.Estate) -> int:
    return len(cleanup_helpers.journal(estate))


def test_no_deletion_starts_while_it_is_on(qa: Environment, people: make.People, estate: make.Estate) -> None:
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    emergency.press(qa, by=people.auditor)
    with pytest.raises(approval_gate.ApprovalRefused, match="QA is stopped"):
        cleanup_requests.start_deletion(stage, by=people.operator)
    release(qa, people)
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    assert deleted(estate) == len(NAMES)


@pytest.mark.django_db(transaction=True)
def test_pressed_between_two_chunks_the_next_one_is_not_sent(
    qa: Environment, people: make.People, estate: make.Estate
) -> None:
    request = cleanup_helpers.asked(people)
    run = cleanup_helpers.started(request, people)
    press_before(estate, qa, people, "bulk_delete", 1)
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code) == (Run.State.STOPPED, emergency.CODE)
    assert "Pages are empty" in run.error
    assert deleted(estate) == 100
    assert CleanupStage.objects.get(run=run).chunks.exclude(state__in=["settled", "planned"]).count() == 0


@pytest.mark.django_db(transaction=True)
def test_pressed_while_a_chunk_is_read_that_chunk_is_not_sent(
    qa: Environment, people: make.People, estate: make.Estate
) -> None:
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    press_before(estate, qa, people, "bulk_get", 1)
    make.work()
    run.refresh_from_db()
    assert (run.state, deleted(estate)) == (Run.State.STOPPED, 0)


@pytest.mark.django_db(transaction=True)
def test_pressed_while_the_second_chunk_is_read_the_first_is_settled_before_the_run_ends(
    qa: Environment, people: make.People, estate: make.Estate
) -> None:
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    press_before(estate, qa, people, "bulk_get", 2)
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code, deleted(estate)) == (Run.State.STOPPED, emergency.CODE, 100)
    chunks = CleanupStage.objects.get(run=run).chunks.order_by("number")
    assert list(chunks.values_list("state", flat=True)) == ["settled", "planned"]


@pytest.mark.django_db(transaction=True)
def test_pressed_right_before_the_rights_are_checked_the_run_is_stopped_and_not_failed(
    qa: Environment, people: make.People, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    real = approval_gate.still_valid

    def press_first(approval: ApprovalRequest) -> None:
        emergency.press(qa, by=people.auditor)
        real(approval)

    monkeypatch.setattr(approval_gate, "still_valid", press_first)
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code, deleted(estate)) == (Run.State.STOPPED, emergency.CODE, 0)


@pytest.mark.django_db(transaction=True)
def test_after_the_release_the_run_goes_on_and_ends(qa: Environment, people: make.People, estate: make.Estate) -> None:
    request = cleanup_helpers.asked(people)
    run = cleanup_helpers.started(request, people)
    press_before(estate, qa, people, "bulk_delete", 1)
    make.work()
    with pytest.raises(run_driver.NotResumable, match="QA is stopped"):
        run_driver.resume(Run.objects.get(pk=run.pk), actor=make.SETUP)
    release(qa, people)
    run_driver.resume(Run.objects.get(pk=run.pk), actor=make.SETUP)
    make.work()
    stage = cleanup_helpers.stage_of(request)
    assert (stage.state, stage.deleted, deleted(estate)) == ("confirmed", len(NAMES), len(NAMES))


@pytest.mark.django_db(transaction=True)
def test_what_was_sent_is_settled_by_reading_although_the_answer_was_lost(
    qa: Environment, people: make.People, estate: make.Estate
) -> None:
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    estate.cloudflare.fault("bulk_delete", "effect_then_reset")
    press_before(estate, qa, people, "bulk_delete", 1)
    make.work()
    run.refresh_from_db()
    stage = CleanupStage.objects.get(run=run)
    assert run.state == Run.State.STOPPED
    assert list(stage.chunks.values_list("state", "names")) == [(CleanupChunk.State.SETTLED, 100)]
    assert not stage.exceptions.filter(outcome=CleanupException.Outcome.ALIVE).exists()


@pytest.mark.django_db(transaction=True)
def test_a_run_that_rests_is_woken_to_notice(qa: Environment, people: make.People) -> None:
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    Run.objects.filter(pk=run.pk).update(wake_at="2100-01-01T00:00:00Z")
    emergency.press(qa, by=people.operator)
    make.work()
    run.refresh_from_db()
    assert run.error_code == emergency.CODE


def test_a_stopped_deletion_is_not_ended_early_while_it_is_on(qa: Environment, people: make.People) -> None:
    request = cleanup_helpers.asked(people)
    run = cleanup_helpers.started(request, people)
    emergency.press(qa, by=people.operator)
    make.work()
    with pytest.raises(run_driver.NotResumable, match="QA is stopped"):
        chunks.end_early(cleanup_helpers.stage_of(request), by=people.operator)
    assert Run.objects.get(pk=run.pk).cursor.get("ending") is None


@pytest.mark.django_db(transaction=True)
def test_who_presses_waits_for_an_intent_that_is_being_committed(qa: Environment, people: make.People) -> None:
    pressed = Event()

    def press() -> None:
        _press(qa, people)
        pressed.set()

    thread = Thread(target=press)
    with log.transaction():
        emergency.hold(qa)
        thread.start()
        assert not pressed.wait(0.3)
    thread.join()
    assert emergency.stop_in_force(qa)
