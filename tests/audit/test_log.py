"""Writing the record: one transaction, entries last, nothing silently lost."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from django.db import connection, connections
from django.db.transaction import atomic
from django.test.utils import CaptureQueriesContext

from audit import log
from audit.actions import Action
from audit.chain import GENESIS, JSON, NotRecordableError
from audit.models import Entry, Head
from audit.verify import verify
from tests.audit.make import OPERATOR, sql, write


def record_and_roll_back() -> None:
    with log.transaction():
        log.record(Action.APPROVAL_USED, actor=OPERATOR)
        raise ZeroDivisionError


@pytest.mark.django_db
def test_an_entry_says_who_did_what_where_to_what() -> None:
    with log.transaction():
        log.record(
            Action.STAGE_FROZEN,
            actor=OPERATOR,
            environment="qa",
            subject="stage:12",
            subject_label="master: in QA",
            digest="ab12",
            details={"keys": 3},
        )
    entry = Entry.objects.get()
    assert (entry.seq, entry.action, entry.actor_id, entry.actor) == (
        1,
        "stage.frozen",
        7,
        "operator@example.com",
    )
    assert (entry.environment, entry.subject, entry.subject_label) == (
        "qa",
        "stage:12",
        "master: in QA",
    )
    assert (entry.digest, entry.details) == ("ab12", {"keys": 3})
    assert str(entry) == "1 stage.frozen stage:12"


@pytest.mark.django_db
def test_the_first_entry_follows_nothing_and_the_head_follows_the_last() -> None:
    write()
    write()
    first, second = Entry.objects.order_by("seq")
    head = Head.objects.get()
    assert first.link().prev_hash == GENESIS
    assert second.link().prev_hash == first.link().row_hash
    assert (head.seq, bytes(head.hash), head.at) == (2, second.link().row_hash, second.at)
    assert str(head) == f"2 {second.link().row_hash.hex()}"


@pytest.mark.django_db
def test_the_entries_are_written_in_one_batch_as_the_last_statements() -> None:
    with CaptureQueriesContext(connection) as queries, log.transaction():
        log.record(Action.RUN_CREATED, actor=OPERATOR)
        log.record(Action.APPROVAL_USED, actor=OPERATOR)
        sql("SELECT 'the state changes'")
    said = [query["sql"] for query in queries if "SAVEPOINT" not in query["sql"]]
    assert ["state changes" in said[0], "FOR UPDATE" in said[1], "INSERT" in said[2]] == [True] * 3
    assert len(said) == 3


@pytest.mark.django_db
def test_a_transaction_that_records_nothing_takes_no_chain_lock() -> None:
    with CaptureQueriesContext(connection) as queries, log.transaction():
        pass
    assert not [query for query in queries if "audit_head" in query["sql"]]


@pytest.mark.django_db(transaction=True)
def test_a_refusal_survives_the_rollback_of_what_it_refused() -> None:
    with pytest.raises(ZeroDivisionError):
        record_and_roll_back()
    log.refusal(Action.APPROVAL_REFUSED, actor=OPERATOR, subject="approval:1", details={"reason": "of their own"})
    entry = Entry.objects.get()
    assert (entry.action, entry.subject, entry.details) == (
        "approval.refused",
        "approval:1",
        {"reason": "of their own"},
    )


@pytest.mark.django_db
def test_a_refusal_inside_the_refusing_transaction_raises() -> None:
    with pytest.raises(log.NestedTransactionError), log.transaction():
        log.refusal(Action.REFUSED, actor=OPERATOR)


@pytest.mark.django_db(transaction=True)
def test_a_refusal_inside_any_other_transaction_raises() -> None:
    with pytest.raises(RuntimeError, match="durable"), atomic():
        log.refusal(Action.REFUSED, actor=OPERATOR)


@pytest.mark.django_db
def test_recording_outside_a_transaction_raises() -> None:
    with pytest.raises(log.OutsideTransactionError, match="transaction"):
        log.record(Action.REFUSED, actor=OPERATOR)


@pytest.mark.django_db
def test_recording_in_a_savepoint_raises() -> None:
    with pytest.raises(log.OutsideTransactionError, match="savepoint"), log.transaction(), atomic():
        log.record(Action.REFUSED, actor=OPERATOR)


@pytest.mark.django_db(transaction=True)
def test_insisting_raises_in_a_transaction_that_records_nothing() -> None:
    with pytest.raises(log.OutsideTransactionError), atomic():
        log.insist()


@pytest.mark.django_db
def test_insisting_passes_inside_and_raises_again_after() -> None:
    with log.transaction():
        log.insist()
    with pytest.raises(log.OutsideTransactionError):
        log.insist()


@pytest.mark.django_db
def test_a_transaction_inside_another_raises() -> None:
    with (
        pytest.raises(log.NestedTransactionError, match="insist"),
        log.transaction(),
        log.transaction(),
    ):
        pass


@pytest.mark.django_db
def test_an_unknown_action_raises() -> None:
    with pytest.raises(ValueError, match=r"tea\.made"), log.transaction():
        log.record("tea.made", actor=OPERATOR)  # type: ignore[arg-type]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("actor", "subject", "details", "reason"),
    [
        (log.Actor(7, ""), "", None, "actor"),
        (OPERATOR, "x" * 601, None, r"subject .* 600"),
        (OPERATOR, "", {"share": 0.5}, "float"),
    ],
)
def test_what_the_record_does_not_take_raises_where_it_is_recorded(
    actor: log.Actor, subject: str, details: dict[str, JSON] | None, reason: str
) -> None:
    with log.transaction(), pytest.raises(NotRecordableError, match=reason):
        log.record(Action.REFUSED, actor=actor, subject=subject, details=details)


@pytest.mark.django_db
def test_a_later_change_of_the_callers_details_is_not_recorded() -> None:
    names = ["a"]
    with log.transaction():
        log.record(Action.REFUSED, actor=OPERATOR, details={"names": names})
        names.append("b")
    assert Entry.objects.get().details == {"names": ["a"]}


@pytest.mark.django_db
def test_commands_and_parts_of_the_product_are_named() -> None:
    assert log.Actor.command() == log.Actor(None, f"cli:{log.who()}")
    assert log.Actor.system("sweep") == log.Actor(None, "system:sweep")


@pytest.mark.django_db
def test_an_action_retired_from_the_list_is_still_shown() -> None:
    assert Entry(action="tea.made").title == "tea.made"
    assert Entry(action="scan.failed").title == "Scan failed"


@pytest.mark.django_db(transaction=True)
def test_eight_writers_at_once_make_one_chain_without_gaps() -> None:
    def worker(number: int) -> None:
        for turn in range(50):
            write(details={"worker": number, "turn": turn})
        connections.close_all()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(worker, range(8)))
    entries = list(Entry.objects.order_by("seq"))
    assert [entry.seq for entry in entries] == list(range(1, 401))
    assert all(earlier.at <= later.at for earlier, later in pairwise(entries))
    assert verify().ok
