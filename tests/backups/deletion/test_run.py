"""Deleting keys. `tests.judge` looks at the journal of the fake Cloudflare after every test."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db.models.functions import Now

from audit.models import Entry as AuditEntry
from backups.cleanup import (
    cards as cleanup_cards,
    completion,
    evidence as cleanup_evidence,
    preparation,
    requests as cleanup_requests,
)
from backups.cleanup.stages import CleanupRefused
from backups.deletion import chunks as deletion_chunks, settle as deletion_settle
from backups.models import CleanupChunk, CleanupException, CleanupStage, Generation, GenerationEntry, Reappearance
from kvops import clock, queue, timing
from kvops.cloudflare.writes import BulkOutcome, KVWriter
from kvops.models import Environment, Role, Run
from kvops.runs import driver as run_driver, lease as run_lease
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers
from tests.gate.world import tampered
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
State = CleanupStage.State
NAMES = cleanup_helpers.NAMES


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


def ready(estate: make.Estate, people: make.People, *names: str) -> CleanupStage:
    """QA with these masters, approved to be deleted."""
    cleanup_helpers.estate_with_masters(estate, names or NAMES)
    return cleanup_helpers.approved(cleanup_helpers.asked(people), people)


def delete(stage: CleanupStage, people: make.People) -> CleanupStage:
    """Start the deletion, do all work, and give the stage as it is then."""
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    stage.refresh_from_db()
    return stage


def outcomes(stage: CleanupStage) -> dict[str, str]:
    return dict(CleanupException.objects.filter(stage=stage).values_list("name", "outcome"))


def sent(estate: make.Estate) -> list[set[str]]:
    """The names of each delete that had an effect or an answer."""
    return [set(call.deleted) for call in estate.cloudflare.calls("bulk_delete")]


def run_of(stage: CleanupStage) -> Run:
    return Run.objects.get(subject=f"stage:{stage.pk}", kind=Run.Kind.DELETE)


def put_past_the_product(estate: make.Estate, name: str, data: bytes = b"{}", **more: object) -> None:
    estate.put(estate.qa, name, data, **more)


def remove_past_the_product(estate: make.Estate, name: str) -> None:
    estate.cloudflare.namespace(estate.qa.namespace_id).delete(name)


# The way it should go


def test_qa_is_cleaned_first_and_production_after(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    cleanup_helpers.accepted(request, people)
    assert cleanup_helpers.journal(estate) == {
        name: cleanup_helpers.digest(cleanup_helpers.master(name)) for name in NAMES
    }
    assert cleanup_helpers.journal(estate, "production") == {}
    cleanup_helpers.accepted(request, people, "production")
    assert set(cleanup_helpers.journal(estate, "production")) == set(NAMES)
    request.refresh_from_db()
    assert request.completed_at is not None


def test_what_is_left_out_stays(estate: make.Estate, people: make.People) -> None:
    put_past_the_product(estate, "system-root", b"secret")
    put_past_the_product(estate, "mastercache:x")
    stage = ready(estate, people)
    put_past_the_product(estate, "master:later:1")
    delete(stage, people)
    assert set(cleanup_helpers.journal(estate)) == set(NAMES)


def test_the_counts_say_what_happened(estate: make.Estate, people: make.People) -> None:
    stage = delete(ready(estate, people), people)
    assert (stage.state, stage.deleted, stage.skipped) == (State.CONFIRMED, 3, 0)
    run = run_of(stage)
    assert (run.done, run.total, run.result) == (3, 3, {"deleted": 3, "skipped": 0})


def test_the_intent_is_committed_before_the_call(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, seen = ready(estate, people), []
    real = KVWriter.bulk_delete

    def look(self: KVWriter, namespace_id: str, names: Sequence[str], *, until: float) -> BulkOutcome:
        seen.append(CleanupChunk.objects.values_list("state", "names", "names_sha256").get(stage=stage))
        return real(self, namespace_id, names, until=until)

    monkeypatch.setattr(KVWriter, "bulk_delete", look)
    delete(stage, people)
    assert seen == [("intended", 3, stage.names_sha256)]


def test_the_gap_between_reading_and_deleting_is_kept_and_shown(estate: make.Estate, people: make.People) -> None:
    stage = delete(ready(estate, people), people)
    chunk = CleanupChunk.objects.get(stage=stage)
    assert chunk.gap_ms is not None
    assert chunk.state == "settled"
    assert (chunk.names, chunk.answer["done"]) == (3, 3)
    page = signed_in(people.auditor).get(f"/cleanup/stages/{stage.pk}/?show=chunks").content.decode()
    assert re.search(rf'<td class="num"[^>]*>{chunk.gap_ms:,} ms</td>', page)


def test_production_waits_for_a_person_after_its_first_chunk(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion_chunks, "FIRST_CHUNK", 1)
    stage = delete(cleanup_helpers.production(estate, people), people)
    assert (stage.state, run_of(stage).state) == (State.DELETING, Run.State.STOPPED)
    assert len(cleanup_helpers.journal(estate, "production")) == 1
    assert CleanupChunk.objects.get(stage=stage, number=1).state == "settled"
    run_driver.resume(run_of(stage), actor=people.operator.actor)
    make.work()
    assert len(cleanup_helpers.journal(estate, "production")) == 3
    stage.refresh_from_db()
    assert stage.state == State.CONFIRMED


def test_while_production_waits_no_page_says_that_keys_are_being_deleted(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion_chunks, "FIRST_CHUNK", 1)
    monkeypatch.setattr(cleanup_evidence, "FIRST_CHUNK", 1)
    stage, browser = cleanup_helpers.production(estate, people), signed_in(people.operator)
    addresses = [f"/cleanup/{stage.request_id}/", f"/cleanup/stages/{stage.pk}/", "/cleanup/", "/"]
    before = [browser.get(address).content.decode() for address in addresses]
    delete(stage, people)
    after = [browser.get(address).content.decode() for address in addresses]
    assert all("Delete the first 1 of 3 keys" in page for page in before)
    assert all("Delete the other 2 keys" in page and "loader-circle" not in page for page in after)
    assert ["Waits for a person" in page for page in after] == [True, True, True, False]


@pytest.mark.parametrize(
    ("slug", "cursor", "known"),
    [("production", {}, False), ("production", {"go_on": "x"}, True), ("qa", {}, True)],
)
def test_the_time_left_of_production_s_first_keys_is_not_told(slug: str, cursor: dict[str, str], known: bool) -> None:
    stage = CleanupStage(environment=Environment(slug=slug, production=slug == "production"))
    begun = clock.now() - timedelta(minutes=1)
    stage.run = Run(pk=1, state=Run.State.RUNNING, total=562, done=100, created_at=begun, cursor=cursor)
    assert (cleanup_cards._seconds_left(stage, stage.run) is not None) == known


def test_production_waits_after_the_first_chunk_that_sent_something(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion_chunks, "FIRST_CHUNK", 1)
    stage = cleanup_helpers.production(estate, people)
    estate.cloudflare.namespace(estate.production.namespace_id).delete(NAMES[0])
    delete(stage, people)
    assert (run_of(stage).state, run_of(stage).cursor["waits"]) == (Run.State.STOPPED, True)
    assert [list(call.deleted) for call in estate.cloudflare.calls("bulk_delete")][-1] == [NAMES[1]]


# Values that are not what was copied


@pytest.mark.hazard("B3")
def test_a_value_that_changed_after_the_backup_is_left_alone(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people)
    put_past_the_product(estate, NAMES[1], b'{"new": true}')
    delete(stage, people)
    assert outcomes(stage) == {NAMES[1]: "changed"}
    assert set(cleanup_helpers.journal(estate)) == {NAMES[0], NAMES[2]}
    assert (stage.deleted, stage.skipped) == (2, 1)


def test_a_change_back_and_forth_is_no_change(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people)
    put_past_the_product(estate, NAMES[1], b"{}")
    put_past_the_product(estate, NAMES[1], cleanup_helpers.master(NAMES[1]))
    assert outcomes(delete(stage, people)) == {}


@pytest.mark.hazard("B3")
def test_a_change_right_before_the_last_read_is_seen(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people)
    estate.cloudflare.hook("bulk_get", lambda _: put_past_the_product(estate, NAMES[0], b"new"))
    assert outcomes(delete(stage, people)) == {NAMES[0]: "changed"}


def test_a_key_that_vanished_is_reported_and_needs_no_explanation(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people)
    remove_past_the_product(estate, NAMES[0])
    assert outcomes(delete(stage, people)) == {NAMES[0]: "vanished"}
    assert not completion.leftovers(stage).exists()


@pytest.mark.hazard("B11")
def test_a_key_that_expired_is_reported_as_expired(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    generation_helpers.dataset()
    cleanup_helpers.fill(estate, *NAMES)
    put_past_the_product(estate, NAMES[0], cleanup_helpers.master(NAMES[0]), expiration=int(time.time()) + 30)
    cleanup_helpers.scan(estate.qa, estate.production)
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + timedelta(seconds=60))
    estate.cloudflare.clock = lambda: time.time() + 60
    assert outcomes(delete(stage, people)) == {NAMES[0]: "expired"}


@pytest.mark.hazard("B11")
@pytest.mark.parametrize(
    "step", ["freeze", "prepare", "backup", "state", "share", "submit", "approve", "start", "work"]
)
def test_a_key_whose_time_is_over_on_the_way_is_never_sent(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    real = clock.now

    def pass_by() -> None:
        monkeypatch.setattr(clock, "now", lambda: real() + timedelta(seconds=60))
        estate.cloudflare.clock = lambda: time.time() + 60

    for name in ("mastercache:1", "mastercache:2"):
        put_past_the_product(estate, name, b"{}")
    put_past_the_product(estate, "mastercache:1", b"{}", expiration=int(time.time()) + 30)
    cleanup_helpers.scan(estate.qa, estate.production)
    request = cleanup_helpers.asked(people, "mastercache:")
    steps: Mapping[str, Callable[[CleanupStage], object]] = {
        "freeze": lambda stage: preparation.freeze_stage(stage, by=people.operator),
        "prepare": lambda stage: preparation.prepare_stage(stage, by=people.operator),
        "backup": lambda _: make.work(),
        "state": lambda _: cleanup_helpers.search_code(request),
        "share": lambda stage: cleanup_helpers.share(stage, people),
        "submit": lambda stage: cleanup_requests.submit(stage, by=people.operator),
        "approve": lambda stage: cleanup_helpers.approve(stage, people),
        "start": lambda stage: cleanup_requests.start_deletion(stage, by=people.operator),
        "work": lambda _: make.work(),
    }
    for name, take in steps.items():
        if name == step:
            pass_by()
        take(cleanup_helpers.stage_of(request))
    assert outcomes(cleanup_helpers.stage_of(request)) == {"mastercache:1": "expired"}
    assert sent(estate) == [{"mastercache:2"}]


@pytest.mark.hazard("B10")
def test_keys_written_and_removed_while_they_are_listed_are_left_alone_and_reported(
    estate: make.Estate, people: make.People
) -> None:
    for number in range(1001):
        put_past_the_product(estate, f"mastercache:{number:04}")
    pages = []

    def meanwhile(_: object) -> None:
        pages.append(1)
        if len(pages) == 2:
            for name in ("mastercache:0000x", "mastercache:1000x"):
                put_past_the_product(estate, name)
            remove_past_the_product(estate, "mastercache:0001")

    estate.cloudflare.hook("keys", meanwhile)
    cleanup_helpers.scan(estate.qa, estate.production)
    stage = cleanup_helpers.stage_of(cleanup_helpers.asked(people, "mastercache:"))
    assert preparation.freeze_stage(stage, by=people.operator) == 1002
    preparation.prepare_stage(stage, by=people.operator)
    make.work()
    stage.refresh_from_db()
    assert (stage.state, stage.generation and stage.generation.status) == (State.FROZEN, "partial")
    cleanup_helpers.scan(estate.qa)
    stage = delete(cleanup_helpers.approved(stage.request, people), people)
    assert (stage.deleted, outcomes(stage)) == (1002, {})
    assert "mastercache:0001" not in cleanup_helpers.journal(estate)


# Answers that say little


@pytest.mark.hazard("B6")
@pytest.mark.parametrize("fault", ["effect_then_error", "effect_then_reset", "effect_then_html", "effect_then_timeout"])
def test_a_lost_answer_is_settled_by_reading_and_nothing_is_sent_twice(
    estate: make.Estate, people: make.People, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "REQUEST_TIMEOUT", 0.3)
    stage = ready(estate, people)
    estate.cloudflare.fault("bulk_delete", fault, seconds=0.5)
    delete(stage, people)
    assert (stage.state, stage.deleted, outcomes(stage)) == (State.CONFIRMED, 3, {})
    assert sent(estate) == [set(NAMES)]


@pytest.mark.parametrize("fault", ["html_524", "reset", "error"])
def test_names_that_survived_a_lost_call_are_read_before_they_are_sent_again(
    estate: make.Estate, people: make.People, fault: str
) -> None:
    stage = ready(estate, people)
    estate.cloudflare.fault("bulk_delete", fault)
    delete(stage, people)
    assert (stage.state, stage.deleted) == (State.CONFIRMED, 3)
    routes = [call.route for call in estate.cloudflare.journal]
    first, second = [place for place, route in enumerate(routes) if route == "bulk_delete"]
    assert "bulk_get" in routes[first:second]
    assert [chunk.attempt for chunk in stage.chunks.order_by("number")] == [1, 2]


@pytest.mark.hazard("B6")
def test_names_written_anew_after_a_lost_call_are_not_sent_again(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ready(estate, people)
    estate.cloudflare.fault("bulk_delete", "effect_then_reset")
    real = KVWriter.bulk_delete

    def write_anew(self: KVWriter, namespace_id: str, names: Sequence[str], *, until: float) -> BulkOutcome:
        outcome = real(self, namespace_id, names, until=until)
        put_past_the_product(estate, NAMES[0], b"written by somebody")
        return outcome

    monkeypatch.setattr(KVWriter, "bulk_delete", write_anew)
    assert outcomes(delete(stage, people)) == {NAMES[0]: "reappeared"}
    assert len(sent(estate)) == 1


@pytest.mark.hazard("B6")
def test_unsuccessful_names_are_unknown_and_read_again(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people)
    estate.cloudflare.fault("bulk_delete", "partial", names=[NAMES[2]])
    delete(stage, people)
    assert (stage.deleted, outcomes(stage)) == (3, {})
    assert [chunk.names for chunk in stage.chunks.order_by("number")] == [3, 1]


def test_a_refused_call_waits_and_goes_on(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people)
    estate.cloudflare.fault("bulk_delete", "429", seconds=0)
    delete(stage, people)
    assert (stage.state, stage.deleted) == (State.CONFIRMED, 3)


def test_a_key_that_stays_alive_is_sent_three_times_and_then_left(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people)
    estate.cloudflare.fault("bulk_delete", "partial", times=9, names=[NAMES[0]])
    delete(stage, people)
    assert outcomes(stage) == {NAMES[0]: "failed"}
    assert [chunk.attempt for chunk in stage.chunks.order_by("number")] == [1, 2, 3]
    assert (stage.state, stage.deleted, stage.skipped) == (State.CONFIRMED, 2, 1)


@pytest.mark.hazard("B8")
def test_a_key_that_is_written_again_is_reported_and_not_deleted(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people)
    estate.cloudflare.hook("keys", lambda _: put_past_the_product(estate, NAMES[0], b"somebody's"))
    delete(stage, people)
    assert outcomes(stage) == {NAMES[0]: "reappeared"}
    assert estate.cloudflare.namespace(estate.qa.namespace_id).get(NAMES[0]) is not None


def test_a_worker_that_dies_after_the_intent_leaves_a_chunk_that_is_read_first(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ready(estate, people)
    cleanup_requests.start_deletion(stage, by=people.operator)

    def die(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(KVWriter, "bulk_delete", die)
        with pytest.raises(SystemExit):
            make.work()
    assert CleanupChunk.objects.get(stage=stage).state == "intended"
    Run.objects.filter(pk=run_of(stage).pk).update(lease_until=Now() - timedelta(seconds=600))
    make.work()
    stage.refresh_from_db()
    assert (stage.state, stage.deleted) == (State.CONFIRMED, 3)
    assert [chunk.attempt for chunk in stage.chunks.order_by("number")] == [1, 2]


# Odd values and names


def test_names_nobody_would_think_of_are_deleted_as_they_are(estate: make.Estate, people: make.People) -> None:
    names = ["..", "a/b", "100%", "?x#y", "日本語", "👩‍⚕️", " lead", "tab\there", "line\nbreak", "%2e%2e"]
    for name in names:
        put_past_the_product(estate, f"mastercache:{name}", b"v", metadata={"名": [1.0, None]})
    cleanup_helpers.scan(estate.qa, estate.production)
    delete(cleanup_helpers.approved(cleanup_helpers.asked(people, "mastercache:"), people), people)
    assert set(cleanup_helpers.journal(estate)) == {f"mastercache:{name}" for name in names}


# What holds must go on holding


def test_a_difference_with_d1_right_before_the_start_deletes_nothing(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people)
    database = generation_helpers.d1(estate)
    database.execute("PRAGMA query_only = 0")
    database.execute("UPDATE masters SET name = 'else' WHERE id = '1' AND type = 'a'")
    database.commit()
    delete(stage, people)
    run = run_of(stage)
    assert (run.state, run.error_code, sent(estate)) == (Run.State.FAILED, "differences", [])
    stage.refresh_from_db()
    assert stage.shown_state == "deletion_failed"
    database.execute("PRAGMA query_only = 0")
    database.execute("UPDATE masters SET name = 'No. 1' WHERE id = '1' AND type = 'a'")
    database.commit()
    run_driver.resume(run, actor=make.SETUP)
    make.work()
    stage.refresh_from_db()
    assert stage.deleted == 3


def test_ended_early_what_was_not_sent_is_left_and_the_rest_is_proven(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion_chunks, "FIRST_CHUNK", 1)
    stage = ready(estate, people)
    monkeypatch.setattr(deletion_chunks, "CHUNK", 1)
    real = KVWriter.bulk_delete

    def stop_meanwhile(self: KVWriter, namespace_id: str, names: Sequence[str], *, until: float) -> BulkOutcome:
        outcome = real(self, namespace_id, names, until=until)
        run_driver.request_stop(run_of(stage), actor=make.SETUP)
        return outcome

    monkeypatch.setattr(KVWriter, "bulk_delete", stop_meanwhile)
    delete(stage, people)
    assert run_of(stage).state == Run.State.STOPPED
    deletion_chunks.end_early(stage, by=people.operator)
    make.work()
    stage.refresh_from_db()
    assert (stage.state, stage.deleted, stage.skipped) == (State.CONFIRMED, 1, 2)
    assert set(outcomes(stage).values()) == {"stopped"}
    assert len(sent(estate)) == 1
    assert AuditEntry.objects.get(action="run.resumed").details == {"ending": True}


def test_ended_early_nothing_that_survived_is_sent_again(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ready(estate, people)
    estate.cloudflare.fault("bulk_delete", "partial", times=9, names=[NAMES[0]])
    real = deletion_settle.settle_chunk

    def stop_then(stage: CleanupStage, chunk: CleanupChunk, *, lease: run_lease.Lease) -> None:
        real(stage, chunk, lease=lease)
        Run.objects.filter(pk=lease.run.pk).update(stop_requested_by="tests")

    with monkeypatch.context() as patch:
        patch.setattr(deletion_settle, "settle_chunk", stop_then)
        delete(stage, people)
    assert stage.chunks.filter(attempt=2, state="planned").exists()
    deletion_chunks.end_early(stage, by=people.operator)
    make.work()
    assert outcomes(stage) == {NAMES[0]: "stopped"}
    assert len(sent(estate)) == 1


def test_an_early_end_says_that_its_namespace_is_gone_and_leaves_the_stage_open(
    estate: make.Estate, people: make.People
) -> None:
    stage = ready(estate, people)
    run_driver.request_stop(cleanup_requests.start_deletion(stage, by=people.operator), actor=make.SETUP)
    make.work()
    estate.cloudflare.lose_namespace(estate.qa.namespace_id)
    deletion_chunks.end_early(stage, by=people.operator)
    make.work()
    stage.refresh_from_db()
    assert (run_of(stage).error_code, stage.state) == ("wrong_token", State.DELETING)
    assert "namespace not found" in run_of(stage).error


@pytest.mark.hazard("B26")
def test_an_early_end_that_does_not_come_to_its_end_did_nothing(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when somebody lets the run go on at the same moment."""
    stage = ready(estate, people)
    run_driver.request_stop(cleanup_requests.start_deletion(stage, by=people.operator), actor=make.SETUP)
    make.work()
    with monkeypatch.context() as patch:
        patch.setattr(queue, "enqueue", partial(int, "crash"))
        with pytest.raises(TypeError):
            deletion_chunks.end_early(stage, by=people.operator)
    run_driver.resume(run_of(stage), actor=people.operator.actor)
    make.work()
    assert set(cleanup_helpers.journal(estate)) == set(NAMES)


def test_only_a_deletion_that_lies_still_can_be_ended_early(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people)
    cleanup_requests.start_deletion(stage, by=people.operator)
    with pytest.raises(CleanupRefused, match="Stop it first"):
        deletion_chunks.end_early(stage, by=people.operator)


def test_a_namespace_that_was_renamed_is_not_the_one_that_was_approved(
    estate: make.Estate, people: make.People
) -> None:
    stage = ready(estate, people)
    estate.cloudflare.namespace(estate.qa.namespace_id).title = "another"
    delete(stage, people)
    assert (run_of(stage).error_code, sent(estate)) == ("wrong_target", [])


def test_a_backup_that_is_damaged_by_the_start_starts_nothing(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people)
    Generation.objects.filter(stages=stage).update(status="damaged")
    with pytest.raises(CleanupRefused, match="The backup is no longer verified"):
        cleanup_requests.start_deletion(stage, by=people.operator)


def waiting(estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch) -> CleanupStage:
    """Production, its first key deleted, waiting for a person."""
    monkeypatch.setattr(deletion_chunks, "FIRST_CHUNK", 1)
    return delete(cleanup_helpers.production(estate, people), people)


def another_policy(_: CleanupStage) -> None:
    make.another_policy()


def reappeared_in_qa(stage: CleanupStage) -> None:
    qa = stage.request.stages.get(environment__slug="qa")
    Reappearance.objects.create(stage=qa, index=0, name=NAMES[0], same=False, found_at=Now())


def another_backup_of_the_second_key(stage: CleanupStage) -> None:
    tampered(GenerationEntry.objects.get(generation=stage.generation, index=1), digest=b"9" * 32)


@pytest.mark.hazard("4.2.8", "4.2.9")
@pytest.mark.parametrize("change", [another_policy, reappeared_in_qa, another_backup_of_the_second_key])
def test_what_changes_during_the_pause_ends_the_deletion(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, change: Callable[[CleanupStage], None]
) -> None:
    stage = waiting(estate, people, monkeypatch)
    change(stage)
    run_driver.resume(run_of(stage), actor=people.operator.actor)
    make.work()
    assert (run_of(stage).error_code, len(cleanup_helpers.journal(estate, "production"))) in [
        ("stale", 1),
        ("wrong_set", 1),
    ]


@pytest.mark.hazard("4.2.8", "4.2.9")
def test_what_changes_while_a_refused_chunk_waits_ends_the_deletion(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ready(estate, people)
    real = deletion_settle.settle_unsent

    def meanwhile(*args: Any, **more: Any) -> None:
        another_policy(stage)
        real(*args, **more)

    estate.cloudflare.fault("bulk_delete", "429", seconds=0)
    monkeypatch.setattr(deletion_settle, "settle_unsent", meanwhile)
    delete(stage, people)
    assert (run_of(stage).error_code, cleanup_helpers.journal(estate)) == ("stale", {})


def test_whoever_approved_cannot_let_a_deletion_go_on_or_end_it(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = waiting(estate, people, monkeypatch)
    make.grant(people.reviewer, Role.OPERATOR)
    with pytest.raises(run_driver.NotResumable, match="You approved this"):
        run_driver.resume(run_of(stage), actor=people.reviewer.actor)
    with pytest.raises(run_driver.NotResumable, match="You approved this"):
        deletion_chunks.end_early(stage, by=people.reviewer)


def test_whoever_tries_again_has_all_starts_and_tries_again(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people)
    run = cleanup_requests.start_deletion(stage, by=people.operator)
    cursor = {"phase": "begin", "starts": 5, "tries": 20}
    Run.objects.filter(pk=run.pk).update(state="running")
    Run.objects.filter(pk=run.pk).update(
        state="failed", cursor=cursor, error_code="gave_up", error="x", finished_at=Now()
    )
    run_driver.resume(run, actor=people.operator.actor)
    assert run_of(stage).cursor == {"phase": "begin"}
    make.work()
    assert cleanup_helpers.stage_of(stage.request).deleted == 3


def test_refused_calls_are_no_tries(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people)
    estate.cloudflare.fault("bulk_delete", "429", times=4, seconds=0)
    delete(stage, people)
    assert (stage.deleted, outcomes(stage)) == (3, {})
    assert {chunk.attempt for chunk in stage.chunks.all()} == {1}
