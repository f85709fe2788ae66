"""Deleted keys that come back: found, reported, acknowledged, never deleted again."""

import time
from datetime import timedelta

import pytest
from django.test import Client

from audit.actions import Action
from audit.models import Entry
from backups.cleanup import completion, evidence as cleanup_evidence, preparation, qa, requests as cleanup_requests
from backups.cleanup.pages.facts import StageFacts
from backups.cleanup.proofs import proofs
from backups.cleanup.stages import CleanupRefused
from backups.deletion import late_check, listing, proof
from backups.models import CleanupStage, Reappearance, Restore, RestoreChunk, RestoreEntry
from backups.restores import requests as restore_requests, undo as stage_undo
from kvops import clock, timing
from kvops.models import Category, Notification, NotificationEvent, Run
from kvops.overview import status as overview_status
from kvops.runs import driver as run_driver
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.gate.world import past_the_triggers

pytestmark = pytest.mark.django_db
State = CleanupStage.State
NAMES = cleanup_helpers.NAMES


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    monkeypatch.setattr(timing, "LATE_CHECK", 0.1)


@pytest.fixture
def confirmed(estate: make.Estate, people: make.People) -> CleanupStage:
    """QA, proven gone; its late check waits."""
    cleanup_helpers.estate_with_masters(estate)
    return cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)


def looked(stage: CleanupStage) -> dict[str, bool]:
    """After both looks: what is there again, and whether as in the copy."""
    make.work(late=True)
    return dict(stage.reappearances.values_list("name", "same"))


def late_run(stage: CleanupStage) -> Run:
    return Run.objects.get(subject=f"stage:{stage.pk}/late", kind=Run.Kind.LATE_CHECK)


def test_a_proof_leaves_a_run_that_looks_again(confirmed: CleanupStage) -> None:
    assert confirmed.late_run == late_run(confirmed)
    assert late_run(confirmed).is_open
    assert looked(confirmed) == {}
    assert (late_run(confirmed).state, late_run(confirmed).result) == (Run.State.SUCCEEDED, {"reappeared": 0})


@pytest.mark.hazard("B8")
@pytest.mark.parametrize("same", [True, False])
def test_a_deleted_key_that_reappeared_is_reported_and_not_deleted(
    estate: make.Estate, confirmed: CleanupStage, same: bool
) -> None:
    estate.put(estate.qa, NAMES[0], cleanup_helpers.master(NAMES[0]) if same else b"somebody's")
    deletes = len(estate.cloudflare.calls("bulk_delete"))
    assert looked(confirmed) == {NAMES[0]: same}
    assert len(estate.cloudflare.calls("bulk_delete")) == deletes
    assert estate.cloudflare.namespace(estate.qa.namespace_id).get(NAMES[0]) is not None
    assert Entry.objects.filter(action=Action.KEYS_REAPPEARED, subject=f"stage:{confirmed.pk}").count() == 1


def test_operators_and_reviewers_are_told_once_how_many_reappeared(
    estate: make.Estate, people: make.People, confirmed: CleanupStage
) -> None:
    for name in NAMES[:2]:
        estate.put(estate.qa, name)
    looked(confirmed)
    told = Notification.objects.filter(event=NotificationEvent.KEY_REAPPEARED)
    assert sorted(one.recipient for one in told) == sorted(
        map(str, [people.operator, people.operator2, people.reviewer])
    )
    assert {(one.title, one.link) for one in told} == {
        (f"{confirmed}: 2 deleted keys reappeared", f"/cleanup/stages/{confirmed.pk}/?show=reappeared")
    }


@pytest.mark.hazard("B8")
def test_the_second_look_is_a_day_after_the_proof(
    estate: make.Estate, confirmed: CleanupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "LATE_CHECK", 86400.0)
    for _ in range(20):
        Run.objects.filter(pk=late_run(confirmed).pk).update(wake_at=None)
        run_driver.drive(late_run(confirmed).pk)
    assert late_run(confirmed).cursor["look"] == 1
    estate.put(estate.qa, NAMES[0])
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(seconds=86401))
    assert looked(confirmed) == {NAMES[0]: False}


def test_a_key_is_reported_once(estate: make.Estate, confirmed: CleanupStage) -> None:
    estate.put(estate.qa, NAMES[0])
    looked(confirmed)
    assert (Reappearance.objects.count(), len(estate.cloudflare.calls("keys"))) == (1, 6)


def test_more_keys_than_one_window_has_requests_for_are_all_reported(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    make.change_families("master:", read="exact")
    stage = cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
    for name in NAMES:
        estate.put(estate.qa, name)
    monkeypatch.setattr(proof, "EXACTLY", 2)
    monkeypatch.setattr(timing, "BUDGET_CALLS", 5)  # two keys and the listing; all of them take two more
    make.work(late=True)
    assert looked(stage) == dict.fromkeys(NAMES, False)


def test_a_listing_whose_every_cursor_is_refused_is_given_up(estate: make.Estate, confirmed: CleanupStage) -> None:
    for _ in range(listing.MAX_RESTARTS + 1):
        estate.cloudflare.fault("keys", "empty_page")
        estate.cloudflare.fault("keys", "cursor_refused")
    make.work(late=True)
    assert (late_run(confirmed).state, late_run(confirmed).error_code) == (Run.State.FAILED, "listing")
    assert late_run(confirmed).cursor["restarts"] == 0


def test_what_an_undo_did_not_restored_is_still_looked_for(
    estate: make.Estate, confirmed: CleanupStage, people: make.People
) -> None:
    estate.put(estate.qa, NAMES[0], b"somebody's")
    estate.put(estate.qa, NAMES[1], cleanup_helpers.master(NAMES[1]))
    stage_undo.start_undo(confirmed, by=people.operator2)
    make.work()
    assert looked(confirmed) == {NAMES[0]: False, NAMES[1]: True}


def test_what_an_undo_may_have_restored_did_not_come_back(
    estate: make.Estate, confirmed: CleanupStage, people: make.People
) -> None:
    restore_helpers.stop_in_doubt(estate, stage_undo.start_undo(confirmed, by=people.operator2))
    assert looked(confirmed) == {}


def test_what_an_undo_was_to_send_again_did_not_come_back(
    estate: make.Estate, confirmed: CleanupStage, people: make.People
) -> None:
    """It was written and not to be seen yet when the undo was stopped."""
    restore_helpers.stop_in_doubt(estate, stage_undo.start_undo(confirmed, by=people.operator2))
    with past_the_triggers():
        RestoreChunk.objects.update(state="settled", settled_at=clock.now())
        RestoreEntry.objects.update(outcome="again")
    assert looked(confirmed) == {}


def restored(stage: CleanupStage, people: make.People, *names: str) -> Restore:
    assert stage.generation is not None
    return restore_helpers.done(stage.generation, people, names=list(names))


def test_what_another_restore_wrote_back_did_not_come_back_by_itself(
    confirmed: CleanupStage, people: make.People
) -> None:
    restore = restored(confirmed, people, NAMES[0])
    assert looked(confirmed) == {}
    assert list(confirmed.restores.all()) == [restore]
    step = proofs(StageFacts(confirmed))[-1]
    assert (step.title, step.link) == ("Restore of deleted keys", f"Restore {restore.pk}")
    assert confirmed.shown_state == "restored"


def test_what_that_restore_did_not_write_is_still_reported(
    estate: make.Estate, confirmed: CleanupStage, people: make.People
) -> None:
    restored(confirmed, people, NAMES[0])
    estate.put(estate.qa, NAMES[1], b"somebody's")
    assert looked(confirmed) == {NAMES[1]: False}


def test_a_stage_whose_keys_were_restored_is_no_evidence_and_names_the_restore(
    confirmed: CleanupStage, people: make.People
) -> None:
    completion.accept_stage(confirmed, note="all went well", by=people.operator)
    production = cleanup_helpers.stage_of(confirmed.request, "production")
    assert qa.missing_qa(production) == ""
    restore = restored(confirmed, people, NAMES[0])
    assert qa.missing_qa(production).startswith(f"Restore {restore.pk} wrote deleted keys back in QA")


def test_a_restore_that_wrote_none_of_its_keys_leaves_the_stage_alone(
    estate: make.Estate, confirmed: CleanupStage, people: make.People
) -> None:
    """Its one key was written by somebody meanwhile, so it was left as it is."""
    assert confirmed.generation is not None
    restore = restore_helpers.prepared(confirmed.generation, people, names=[NAMES[0]])
    restore = restore_helpers.approved(restore, people)
    estate.put(estate.qa, NAMES[0], b"somebody's")
    restore_requests.start(restore, by=people.operator)
    assert list(confirmed.restores.all()) == [restore]
    make.work()
    assert not confirmed.restores.exists()


@pytest.mark.parametrize("then", ["changed by somebody", "not seen yet"])
def test_a_write_that_was_not_read_back_as_it_was_spoils_the_evidence_too(
    estate: make.Estate, confirmed: CleanupStage, people: make.People, then: str
) -> None:
    assert confirmed.generation is not None
    completion.accept_stage(confirmed, note="all went well", by=people.operator)
    restore = restore_helpers.prepared(confirmed.generation, people, names=[NAMES[0]])
    run = restore_helpers.started(restore, people)
    if then == "not seen yet":
        estate.cloudflare.fault("bulk_put", "partial", times=3, names=[NAMES[0]])
    while not estate.cloudflare.calls("bulk_put"):
        Run.objects.filter(pk=run.pk).update(wake_at=None)
        run_driver.drive(run.pk)
    if then == "changed by somebody":
        estate.put(estate.qa, NAMES[0], b"newer")
    make.work()
    assert (Restore.objects.get(pk=restore.pk).written, list(confirmed.restores.all())) == (0, [restore])
    production = cleanup_helpers.stage_of(confirmed.request, "production")
    assert qa.missing_qa(production).startswith(f"Restore {restore.pk} wrote deleted keys back in QA")


def test_a_key_that_is_only_listed_is_gone(estate: make.Estate, confirmed: CleanupStage) -> None:
    kv = estate.cloudflare.namespace(estate.qa.namespace_id)
    estate.put(estate.qa, NAMES[0])

    def remove(_: object) -> None:
        kv.delete(NAMES[0])

    estate.cloudflare.hook("bulk_get", remove)
    assert looked(confirmed) == {}


@pytest.mark.hazard("B5")
def test_a_key_that_looked_absent_and_was_just_created_again_is_found(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    stage = cleanup_helpers.approved(request, people)
    estate.cloudflare.namespace(estate.qa.namespace_id).delete(NAMES[0])
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    estate.put(estate.qa, NAMES[0], b"anew")
    assert looked(cleanup_helpers.stage_of(request)) == {NAMES[0]: False}


@pytest.mark.hazard("B5")
def test_a_key_that_expired_before_its_backup_and_is_written_anew_is_found(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now
    for slug in make.NAMESPACES.values():
        estate.cloudflare.put(slug, "mastercache:1", b"1", expiration=int(time.time()) + 30)
        estate.cloudflare.put(slug, "mastercache:2", b"2")
    cleanup_helpers.scan(estate.qa, estate.production)
    request = cleanup_helpers.asked(people, "mastercache:")
    preparation.freeze_stage(cleanup_helpers.stage_of(request), by=people.operator)
    estate.cloudflare.clock = lambda: time.time() + 60
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(seconds=60))
    stage = cleanup_helpers.confirmed(request, people)
    estate.put(estate.qa, "mastercache:1", b"anew")
    assert looked(stage) == {"mastercache:1": False}


def test_leftovers_did_not_come_back(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    stage = cleanup_helpers.approved(request, people)
    estate.put(estate.qa, NAMES[0], b"changed")
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    assert looked(cleanup_helpers.stage_of(request)) == {}


def test_a_refused_cursor_starts_the_look_again(estate: make.Estate, confirmed: CleanupStage) -> None:
    estate.put(estate.qa, NAMES[0])
    estate.cloudflare.fault("keys", "empty_page")
    estate.cloudflare.fault("keys", "cursor_refused")
    assert looked(confirmed) == {NAMES[0]: False}


def test_a_stage_without_names_is_not_looked_at(estate: make.Estate, people: make.People) -> None:
    make.family("mastercache:qa:", Category.CACHE)
    cleanup_helpers.scan(estate.qa, estate.production)
    stage = cleanup_helpers.stage_of(cleanup_helpers.asked(people, "mastercache:"))
    preparation.freeze_stage(stage, by=people.operator)
    preparation.prepare_stage(stage, by=people.operator)
    make.work()
    assert cleanup_helpers.stage_of(stage.request).state == State.CONFIRMED
    assert not Run.objects.filter(kind=Run.Kind.LATE_CHECK).exists()


def test_the_look_holds_nothing_up(confirmed: CleanupStage, people: make.People) -> None:
    completion.accept_stage(confirmed, note="all went well", by=people.operator)
    assert late_run(confirmed) not in list(overview_status.running())
    assert looked(confirmed) == {}


def test_after_the_stage_is_accepted_it_is_still_looked_for(
    estate: make.Estate, confirmed: CleanupStage, people: make.People
) -> None:
    completion.accept_stage(confirmed, note="all went well", by=people.operator)
    estate.put(estate.qa, NAMES[1])
    assert looked(confirmed) == {NAMES[1]: False}


def test_a_look_that_failed_can_be_tried_again(estate: make.Estate, confirmed: CleanupStage) -> None:
    estate.cloudflare.fault("keys", "challenge")
    estate.put(estate.qa, NAMES[0])
    assert looked(confirmed) == {}
    assert late_run(confirmed).state == Run.State.FAILED
    run_driver.resume(late_run(confirmed), actor=make.SETUP)
    assert looked(confirmed) == {NAMES[0]: False}


# Acknowledged


def acknowledge(stage: CleanupStage, people: make.People, note: str = "an old job wrote it") -> None:
    newest = Reappearance.objects.latest("pk").pk
    late_check.acknowledge_reappearances(stage, note=note, last=newest, by=people.operator2)


def test_until_a_person_noted_what_it_is_qa_proves_nothing_for_production(
    estate: make.Estate, confirmed: CleanupStage, people: make.People
) -> None:
    completion.accept_stage(confirmed, note="all went well", by=people.operator)
    production = cleanup_helpers.stage_of(confirmed.request, "production")
    assert qa.missing_qa(production) == ""
    estate.put(estate.qa, NAMES[0])
    looked(confirmed)
    assert "reappeared" in qa.missing_qa(production)
    with pytest.raises(CleanupRefused, match="reappeared"):
        preparation.freeze_stage(production, by=people.operator)
    acknowledge(confirmed, people)
    assert qa.missing_qa(production) == ""


def test_what_came_back_in_qa_after_the_approval_stops_the_start(
    estate: make.Estate, confirmed: CleanupStage, people: make.People
) -> None:
    completion.accept_stage(confirmed, note="all went well", by=people.operator)
    production = cleanup_helpers.approved(confirmed.request, people, "production")
    estate.put(estate.qa, NAMES[0])
    looked(confirmed)
    with pytest.raises(CleanupRefused, match="reappeared"):
        cleanup_requests.start_deletion(production, by=people.operator)
    acknowledge(confirmed, people)
    with pytest.raises(CleanupRefused, match="The keys to delete differ from the approved ones"):
        cleanup_requests.start_deletion(production, by=people.operator)


def test_the_reviewer_of_production_reads_what_came_back(
    estate: make.Estate, confirmed: CleanupStage, people: make.People
) -> None:
    completion.accept_stage(confirmed, note="all went well", by=people.operator)
    estate.put(estate.qa, NAMES[0])
    looked(confirmed)
    acknowledge(confirmed, people)
    shown = cleanup_evidence.build(cleanup_helpers.prepared(confirmed.request, people, "production"))
    assert {"code": "qa_reappeared", "environment": "QA", "count": 1} in shown["warnings"]  # type: ignore[operator]
    assert shown["qa"][0]["reappeared_notes"] == ["an old job wrote it"]  # type: ignore[index]


def test_only_what_the_person_saw_is_acknowledged(
    estate: make.Estate, confirmed: CleanupStage, people: make.People
) -> None:
    estate.put(estate.qa, NAMES[0])
    estate.put(estate.qa, NAMES[1])
    looked(confirmed)
    first = Reappearance.objects.earliest("pk")
    late_check.acknowledge_reappearances(confirmed, note="known as agreed", last=first.pk, by=people.operator)
    assert confirmed.reappearances.unseen().count() == 1
    assert Entry.objects.get(action=Action.REAPPEARANCES_ACKNOWLEDGED).details["note"] == "known as agreed"


@pytest.mark.parametrize("who", ["reviewer", "auditor", "nobody"])
def test_only_an_operator_acknowledges(
    estate: make.Estate, confirmed: CleanupStage, people: make.People, who: str
) -> None:
    estate.put(estate.qa, NAMES[0])
    looked(confirmed)
    with pytest.raises(CleanupRefused, match="operator"):
        late_check.acknowledge_reappearances(confirmed, note="no longer needed", last=10**9, by=getattr(people, who))


def test_a_note_and_something_to_acknowledge_are_needed(confirmed: CleanupStage, people: make.People) -> None:
    with pytest.raises(CleanupRefused, match="Describe your findings"):
        late_check.acknowledge_reappearances(confirmed, note=" ", last=10**9, by=people.operator)
    with pytest.raises(CleanupRefused, match="nothing new"):
        late_check.acknowledge_reappearances(confirmed, note="no longer needed", last=10**9, by=people.operator)


# On the pages


def page(people: make.People, address: str) -> str:
    client = Client()
    assert client.login(username="operator@example.com", password=make.PASSWORD)
    return client.get(address).content.decode()


def test_it_is_an_alarm_until_it_is_acknowledged_on_its_page(
    estate: make.Estate, confirmed: CleanupStage, people: make.People
) -> None:
    estate.put(estate.qa, NAMES[0])
    looked(confirmed)
    assert "1 deleted key reappeared" in page(people, "/")
    address = f"/cleanup/stages/{confirmed.pk}/?show=reappeared"
    assert "differs from the backup" in page(people, address)
    client = Client()
    client.login(username="operator@example.com", password=make.PASSWORD)
    last = Reappearance.objects.get().pk
    client.post(f"/cleanup/stages/{confirmed.pk}/reappeared", {"note": "an old job", "last": last})
    assert "deleted key reappeared" not in page(people, "/")
    assert "an old job" in page(people, address)
