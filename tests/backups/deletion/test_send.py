"""One chunk: how old its reads may be, what is paid before them, and how what is unknown is settled."""

import json
from collections.abc import Callable, Iterable, Sequence
from types import ModuleType

import pytest

from audit.models import Entry as AuditEntry
from backups import archive
from backups.cleanup import requests as cleanup_requests
from backups.deletion import chunks as deletion_chunks, send as deletion_send, settle as deletion_settle
from backups.execution import prepaid, revalidation
from backups.execution.live_digests import Frozen, KeyVerdict, read_and_compare
from backups.models import CleanupChunk, CleanupException, CleanupStage
from kvops import timing
from kvops.cloudflare import Cloudflare, TransportError
from kvops.cloudflare.writes import BulkOutcome, KVWriter
from kvops.models import Notification, NotificationEvent, Run
from kvops.runs import driver as run_driver, lease as run_lease
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.deletion import cut_off
from tests.fakes.http import Request

pytestmark = pytest.mark.django_db
State = CleanupStage.State
PREFIX = "mastercache:"


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


def ready(estate: make.Estate, people: make.People, count: int, *, binary: bool = False) -> CleanupStage:
    """QA with so many keys of a cache, approved to be deleted."""
    for number in range(count):
        estate.put(estate.qa, f"{PREFIX}{number:03}", bytes([255, number]) if binary else b"{}")
    cleanup_helpers.scan(estate.qa, estate.production)
    return cleanup_helpers.approved(cleanup_helpers.asked(people, PREFIX), people)


def delete(stage: CleanupStage, people: make.People) -> CleanupStage:
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    stage.refresh_from_db()
    return stage


def run_of(stage: CleanupStage) -> Run:
    return Run.objects.get(subject=f"stage:{stage.pk}", kind=Run.Kind.DELETE)


def sent(estate: make.Estate) -> list[int]:
    """How many names each delete was carried out on."""
    return [len(call.deleted) for call in estate.cloudflare.calls("bulk_delete")]


def fresh_for(monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
    monkeypatch.setattr(timing, "READ_FRESH", seconds)


def slow(estate: make.Estate, monkeypatch: pytest.MonkeyPatch, is_slow: Callable[[int, int], bool]) -> None:
    """Let what the nth bulk read of so many names answers be too old at once, or fresh for a minute."""
    reads = 0

    def hook(request: Request) -> None:
        nonlocal reads
        reads += 1
        fresh_for(monkeypatch, 0.0 if is_slow(reads, len(json.loads(request.body)["keys"])) else 60.0)

    estate.cloudflare.hook("bulk_get", hook)


# How old a read may be


@pytest.mark.hazard("B4")
def test_a_chunk_whose_read_has_grown_old_is_read_again(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ready(estate, people, 3)
    slow(estate, monkeypatch, lambda nth, _names: nth == 1)
    before = len(estate.cloudflare.calls("bulk_get"))
    assert delete(stage, people).state == State.CONFIRMED
    reads = estate.cloudflare.calls("bulk_get")[before:]
    assert (sent(estate), len(reads)) == ([3], 2)
    [call] = estate.cloudflare.calls("bulk_delete")
    assert all(reads[0].at < read.at <= reads[1].at for read in call.read.values())


def test_a_chunk_that_is_always_read_too_slowly_is_made_smaller(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ready(estate, people, 4)
    slow(estate, monkeypatch, lambda _nth, names: names > 2)
    assert delete(stage, people).deleted == 4
    assert sent(estate) == [2, 2]


@pytest.mark.parametrize("attempt", [1, 2])
def test_reads_that_grow_old_while_the_intent_is_committed_are_not_relied_on(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, attempt: int
) -> None:
    stage, late, real, unsent = ready(estate, people, 4), [True], archive.names_sha256, deletion_settle.settle_unsent
    for _ in range(attempt - 1):
        estate.cloudflare.fault("bulk_delete", "partial", names={f"{PREFIX}{number:03}" for number in range(4)})

    def slowly(names: Iterable[str]) -> str:
        was_read = estate.cloudflare.journal[-1].route == "bulk_get"
        if late and was_read and stage.chunks.filter(attempt=attempt, state="planned").exists():
            late.clear()
            fresh_for(monkeypatch, 0.0)
        return real(names)

    def in_time(
        chunk: CleanupChunk, equal: Sequence[Frozen], problem: str, *, lease: run_lease.Lease, smaller: bool
    ) -> None:
        fresh_for(monkeypatch, 5.0)
        unsent(chunk, equal, problem, lease=lease, smaller=smaller)

    monkeypatch.setattr(archive, "names_sha256", slowly)
    monkeypatch.setattr(deletion_settle, "settle_unsent", in_time)
    assert delete(stage, people).deleted == 4
    assert sent(estate) == [*[0] * (attempt - 1), 2, 2]
    unsent_ = stage.chunks.get(answer__has_key="unsent")
    assert (unsent_.attempt, unsent_.names, unsent_.state) == (attempt, 4, "settled")


# What never leaves


def test_a_deletion_whose_writer_cannot_connect_gives_up_and_can_be_gone_on_with(
    estate: make.Estate, people: make.People
) -> None:
    stage = ready(estate, people, 3)
    with cut_off.writers():
        delete(stage, people)
    run = run_of(stage)
    assert (run.state, run.error_code, sent(estate)) == (Run.State.FAILED, "gave_up", [])
    assert "No answer from Cloudflare to bulk_delete (ConnectError" in run.error
    chunks_ = list(stage.chunks.order_by("number").values_list("state", "attempt"))
    assert chunks_ == [("settled", 1)] * (run_driver.MAX_TRIES + 1) + [("planned", 1)]
    run_driver.resume(run, actor=people.operator.actor)
    make.work()
    assert (cleanup_helpers.stage_of(stage.request).deleted, sent(estate)) == (3, [3])


@pytest.mark.parametrize("route", ["namespace", "keys"])
def test_a_cloudflare_that_only_answers_with_errors_is_not_asked_for_ever(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, route: str
) -> None:
    monkeypatch.setattr(run_driver, "MAX_TRIES", 2)
    stage = ready(estate, people, 3)
    estate.cloudflare.fault(route, "error", times=100)
    delete(stage, people)
    assert run_of(stage).error_code == "gave_up"
    assert "500" in run_of(stage).error


# What is unknown


def test_large_values_that_reappeared_are_read_and_reported(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Together they do not fit into one answer, and none is UTF-8: seven requests for the two."""
    stage = ready(estate, people, 2)
    monkeypatch.setattr(deletion_settle, "BULK_GET_LIMIT", 2)

    def fill_again(_request: Request) -> None:
        if sent(estate):
            for number in range(2):
                estate.put(estate.qa, f"{PREFIX}{number:03}", b"\xff" * (13 << 20))

    estate.cloudflare.hook("keys", fill_again)
    delete(stage, people)
    assert (run_of(stage).state, stage.deleted) == (Run.State.SUCCEEDED, 0)
    assert set(stage.exceptions.values_list("outcome", flat=True)) == {"reappeared"}


@pytest.mark.hazard("B6")
def test_values_that_must_be_read_singly_are_settled_piece_by_piece(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ready(estate, people, 9, binary=True)
    monkeypatch.setattr(timing, "SETTLE", 0.3)  # so that it is settled in another step, with nothing paid before
    real = KVWriter.bulk_delete

    def lost(self: KVWriter, namespace_id: str, names: Sequence[str], *, until: float) -> BulkOutcome:
        with monkeypatch.context() as patch:
            patch.setattr(KVWriter, "bulk_delete", real)
            outcome = self.bulk_delete(namespace_id, names, until=until)
        monkeypatch.setattr(KVWriter, "bulk_delete", real)
        monkeypatch.setattr(prepaid, "SPARE", 4)
        monkeypatch.setattr(prepaid, "SPARE_SINGLY", 4)
        monkeypatch.setattr(deletion_send, "BULK_GET_LIMIT", 4)
        return outcome

    monkeypatch.setattr(KVWriter, "bulk_delete", lost)
    estate.cloudflare.fault("bulk_delete", "reset")
    assert delete(stage, people).deleted == 9
    assert stage.chunks.order_by("number").first() == stage.chunks.get(names=9)
    assert max(sent(estate)[1:]) < 5


@pytest.mark.hazard("B6")
@pytest.mark.parametrize(("fault", "state"), [("effect_then_reset", "intended"), ("partial", "sent")])
def test_names_that_cannot_be_read_after_they_were_sent_are_not_tried_for_ever(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, fault: str, state: str
) -> None:
    stage = ready(estate, people, 4)
    unreadable_once_sent(estate, monkeypatch, deletion_send)
    estate.cloudflare.fault("bulk_delete", fault, names=[f"{PREFIX}000"])
    delete(stage, people)
    assert (run_of(stage).error_code, stage.chunks.get().state) == ("gave_up", state)


def test_names_that_cannot_be_read_although_they_are_listed_are_not_tried_for_ever(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ready(estate, people, 4)
    unreadable_once_sent(estate, monkeypatch, deletion_settle)
    monkeypatch.setattr(deletion_settle, "sent_among", lambda *_: [0, 1, 2, 3])
    delete(stage, people)
    assert run_of(stage).error_code == "gave_up"


def unreadable_once_sent(estate: make.Estate, monkeypatch: pytest.MonkeyPatch, module: ModuleType) -> None:
    """Names are read two at a time, and the last of them only until something was deleted."""

    def read(reader: Cloudflare, namespace_id: str, entries: Sequence[Frozen], how: str) -> dict[Frozen, KeyVerdict]:
        if estate.cloudflare.calls("bulk_delete") and f"{PREFIX}003" in [entry.name for entry in entries]:
            raise TransportError("No answer.", outcome_unknown=True)
        return read_and_compare(reader, namespace_id, entries, how)

    monkeypatch.setattr(module, "BULK_GET_LIMIT", 2)
    monkeypatch.setattr(module, "read_and_compare", read)


def test_a_sent_name_that_the_edge_refuses_and_that_is_binary_now_ends_as_reappeared(
    estate: make.Estate, people: make.People
) -> None:
    stage, name = ready(estate, people, 3), f"{PREFIX}001"
    estate.cloudflare.refuse_in_paths(name)
    estate.cloudflare.fault("bulk_delete", "effect_then_reset")

    def rewrite(_: Request) -> None:
        if sent(estate):
            estate.put(estate.qa, name, b"\xff\xfe")

    estate.cloudflare.hook("bulk_get", rewrite)
    assert (delete(stage, people).deleted, run_of(stage).state) == (2, "succeeded"), run_of(stage).error
    assert list(stage.exceptions.values_list("name", "outcome")) == [(name, "reappeared")]


@pytest.mark.hazard("B6")
def test_names_that_were_not_done_everywhere_are_each_read(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people, 3)
    estate.cloudflare.fault("bulk_delete", "says_undone", names=[f"{PREFIX}001"])
    assert delete(stage, people).deleted == 3
    routes = [call.route for call in estate.cloudflare.journal]
    after = routes[routes.index("bulk_delete") :]
    assert after.index("bulk_get") < after.index("keys")
    assert (sent(estate), stage.chunks.count()) == ([3], 1)


def test_after_the_last_try_an_old_listing_does_not_pass_for_a_survivor(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "STALE", 300.0)
    assert [revalidation.patience(attempt) for attempt in (1, 2, 3)] == [timing.SETTLE, timing.SETTLE, 300.0]
    assert revalidation.patience(1, ending=True) == 300.0


@pytest.mark.hazard("B7")
@pytest.mark.parametrize("fault", ["wrong_count", "count_too_high", "unknown_names", "named_twice"])
def test_an_answer_that_contradicts_itself_is_settled_by_reading(
    estate: make.Estate, people: make.People, fault: str
) -> None:
    stage = ready(estate, people, 3)
    estate.cloudflare.fault("bulk_delete", fault)
    assert delete(stage, people).deleted == 3
    assert sent(estate) == [3]
    assert "contradicts" in stage.chunks.get().answer["problem"]
    assert "contradicts" in AuditEntry.objects.get(action="chunk.settled").details["problem"]


@pytest.mark.hazard("B7")
def test_of_an_answer_that_contradicts_itself_the_team_is_told(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people, 3)
    estate.cloudflare.fault("bulk_delete", "unknown_names", names=["never:sent"])
    delete(stage, people)
    told = Notification.objects.filter(event=NotificationEvent.ANSWER_CONTRADICTED, subject=f"stage:{stage.pk}")
    assert {people.operator.pk, people.reviewer.pk} <= set(told.values_list("person", flat=True))
    assert "never sent: 'never:sent'" in told[0].lines[0]
    assert told[0].link == f"/cleanup/stages/{stage.pk}/"


@pytest.mark.hazard("B7")
def test_an_answer_that_was_lost_is_no_contradiction(estate: make.Estate, people: make.People) -> None:
    stage = ready(estate, people, 3)
    estate.cloudflare.fault("bulk_delete", "effect_then_reset")
    assert delete(stage, people).deleted == 3
    assert not Notification.objects.filter(event=NotificationEvent.ANSWER_CONTRADICTED).exists()


def test_a_chunk_with_many_changed_keys_writes_them_down_in_one_statement(
    estate: make.Estate, people: make.People, django_assert_max_num_queries: Callable[[int], object]
) -> None:
    stage = ready(estate, people, 1)
    chunk = CleanupChunk.objects.create(stage=stage, number=1, first_index=0, last_index=999)
    verdicts = {Frozen(index, f"{PREFIX}{index}", b"", None): KeyVerdict.DIFFERENT for index in range(1000)}
    with django_assert_max_num_queries(6):  # type: ignore[attr-defined]
        deletion_chunks.except_(chunk, verdicts)
    assert CleanupException.objects.filter(outcome="changed").count() == 1000


# Who lets it go on


def waiting(estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Production, its first key deleted, waiting for a person."""
    monkeypatch.setattr(deletion_chunks, "FIRST_CHUNK", 1)
    return run_of(delete(cleanup_helpers.production(estate, people), people))


def test_a_person_who_went_on_before_the_first_chunk_was_seen_does_not_let_it_go_on(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deletion_chunks, "FIRST_CHUNK", 1)
    run = cleanup_requests.start_deletion(cleanup_helpers.production(estate, people), by=people.operator)
    run_driver.request_stop(run, actor=people.operator.actor)
    make.work()
    run_driver.resume(run, actor=people.operator.actor)
    make.work()
    run.refresh_from_db()
    assert (run.cursor["waits"], len(cleanup_helpers.journal(estate, "production"))) == (True, 1)


def test_who_let_it_go_on_stays_with_the_run(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = waiting(estate, people, monkeypatch)
    run_driver.resume(run, actor=people.operator.actor)
    run.refresh_from_db()
    assert run.cursor["go_on"] == people.operator.actor.text
