"""The door of the Workers: only signed calls, each once and in time, of a bounded size. No input gets a 500."""

import json
import logging
import os
from datetime import timedelta
from random import Random
from uuid import uuid4

import pytest
from django.test import Client

from backups.models import WorkerNonce, WorkerRound
from backups.worker_expiry import door, late, script, signing, strangers
from kvops import clock, rollback, timing
from kvops.models import Notification, NotificationEvent
from kvops.schedules import cron as crons
from tests import make
from tests.backups.worker_expiry import helpers
from tests.backups.worker_expiry.helpers import SignedWorker
from tests.signing import signed_in
from tests.test_canaries import tables

pytestmark = pytest.mark.django_db
RANDOM = Random(int(os.environ.get("KVOPS_FUZZ_SEED", "20")))


@pytest.fixture
def worker(estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch) -> SignedWorker:
    return helpers.worker(estate.qa, people, monkeypatch)


def question(worker: SignedWorker) -> bytes:
    digest = script.rule_in_script(worker.rule)["digest"]
    return json.dumps({"round": worker.round, "approval": worker.approval, "rule": digest}).encode()


def told() -> int:
    return Notification.objects.filter(event=NotificationEvent.WORKER_STOPPED).values("occasion").distinct().count()


def test_an_answer_is_signed_for_its_call(worker: SignedWorker) -> None:
    body = question(worker)
    headers = worker.headers("ask", body)
    answer = worker.send("ask", body, headers)
    path = f"/hooks/expiry/{worker.rule.pk}/ask"
    right = signing.signature_of_answer(helpers.KEY, path, headers["X-Kvops-Nonce"], 200, answer.content.decode())
    assert answer.headers["X-Kvops-Signature"] == right
    until = json.loads(answer.content)["until"]
    assert 0 < until - clock.now().timestamp() <= timing.WORKER_ALLOWED


@pytest.mark.parametrize("header", ["X-Kvops-Timestamp", "X-Kvops-Nonce", "X-Kvops-Signature"])
@pytest.mark.parametrize(
    "text", ["", "0", "x" * 64, "é" * 36, "00000000-0000-4000-8000-000000000000", "1" * 12, "9" * 400]
)
def test_a_call_with_another_header_is_refused_with_one_word(worker: SignedWorker, header: str, text: str) -> None:
    body = question(worker)
    answer = worker.send("ask", body, worker.headers("ask", body) | {header: text})
    assert (answer.status_code, answer.content) == (403, b"unsigned\n")
    assert not WorkerRound.objects.exists()


def test_a_call_with_another_body_address_or_key_is_refused(worker: SignedWorker) -> None:
    assert worker.ask() == "yes"
    body = question(worker)
    assert worker.send("ask", body + b" ", worker.headers("ask", body)).status_code == 403
    assert worker.send("report", body, worker.headers("ask", body)).status_code == 403
    worker.key = "x" * 48
    assert worker.send("ask", body).status_code == 403
    assert told() == 1  # once a day, however many calls there were


@pytest.fixture
def no_due_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """No call of the Worker is expected now."""
    monkeypatch.setattr(late, "_due", lambda *_: iter(()))


def unsigned(worker: SignedWorker) -> int:
    body = question(worker)
    return worker.send("ask", body + b" ", worker.headers("ask", body)).status_code


@pytest.mark.usefixtures("no_due_time")
def test_a_strangers_calls_are_told_only_if_they_are_many(
    worker: SignedWorker, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(strangers.MANY - 1):
        assert unsigned(worker) == 403
    assert (told(), caplog.text.count("was refused")) == (0, strangers.LOGGED)
    for _ in range(10):
        unsigned(worker)
    assert (told(), caplog.text.count("was refused")) == (1, strangers.LOGGED + 1) == (1, caplog.text.count("WARNING"))


@pytest.mark.parametrize(("ahead", "count"), [(3_540, 0), (240, 1), (-3_540, 1), (-3_660, 0)])
def test_an_unsigned_call_is_told_at_once_about_a_due_time(
    worker: SignedWorker, monkeypatch: pytest.MonkeyPatch, ahead: int, count: int
) -> None:
    due = clock.now() + timedelta(seconds=ahead)
    monkeypatch.setattr(crons, "times", lambda _cron, _zone, since: iter([due] if due > since else []))
    unsigned(worker)
    assert told() == count


def test_a_flood_is_not_looked_at(worker: SignedWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strangers, "PER_MINUTE", 2)
    assert [unsigned(worker), unsigned(worker)] == [403, 403]
    monkeypatch.setattr(signing, "key_of", lambda *_: pytest.fail("looked for"))
    assert unsigned(worker) == 429


def test_a_key_that_cannot_be_found_is_looked_for_once_a_minute(
    worker: SignedWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(signing.variable(worker.rule.pk), "env:NOT_SET")
    assert [unsigned(worker) for _ in range(3)] == [403] * 3
    assert caplog.text.count("The key of the Worker of rule") == 1
    monkeypatch.setenv(signing.variable(worker.rule.pk), "env:TEST_WORKER_KEY")
    strangers.forget()
    assert worker.ask() == "yes"


def test_a_call_is_taken_once(worker: SignedWorker) -> None:
    body = question(worker)
    headers = worker.headers("ask", body)
    assert worker.send("ask", body, headers).status_code == 200
    again = worker.send("ask", body, headers)
    assert (again.status_code, again.content) == (403, b"replayed\n")


@pytest.mark.parametrize("seconds", [-timing.WORKER_WINDOW - 30, timing.WORKER_WINDOW + 30])
def test_a_call_of_another_time_is_refused(worker: SignedWorker, seconds: int) -> None:
    body = question(worker)
    headers = worker.headers("ask", body, timestamp=str(int(clock.now().timestamp()) + seconds))
    answer = worker.send("ask", body, headers)
    assert (answer.status_code, answer.content) == (403, b"late\n")


def test_a_large_body_is_refused_before_it_is_read(worker: SignedWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing.SignedCall, "is_signed", lambda *_: pytest.fail("read"))
    assert worker.send("report", b"x" * (door.LARGEST + 1)).status_code == 413
    path = f"/hooks/expiry/{worker.rule.pk}/ask"
    assert Client().post(path, b"x", "application/json", CONTENT_LENGTH="x").status_code == 413


def test_a_call_too_many_is_put_off(worker: SignedWorker) -> None:
    WorkerNonce.objects.bulk_create(WorkerNonce(rule=worker.rule, nonce=str(uuid4())) for _ in range(door.PER_MINUTE))
    answer = worker.send("ask", question(worker))
    assert (answer.status_code, "X-Kvops-Signature" in answer.headers) == (429, True)


@pytest.mark.parametrize("reference", ["", "env:NOT_SET", "the-key-itself-in-the-variable-instead-of-its-name"])
def test_a_rule_without_a_key_refuses_each_call(
    worker: SignedWorker, monkeypatch: pytest.MonkeyPatch, reference: str
) -> None:
    monkeypatch.setenv(signing.variable(worker.rule.pk), reference)
    assert worker.send("ask", question(worker)).status_code == 403


def test_a_short_key_is_none(worker: SignedWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_WORKER_KEY", "short")
    worker.key = "short"
    assert worker.send("ask", question(worker)).status_code == 403


def test_a_rolled_back_database_takes_no_report(worker: SignedWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    worker.ask()
    monkeypatch.setattr(rollback, "why_read_only", lambda: "rolled back")
    assert worker.tell(["mastercache:1"]).status_code == 503
    worker.round = "another"
    assert worker.ask() == "no"


def oddities() -> list[object]:
    """JSON values that no Worker sends."""
    texts = ["", "\0", "a\0b", "x" * 600, "\ud800", "é" * 300, "../..", "mastercache:1"]
    numbers = [-1, 0, 2**31, 2**63, 10**400, 1.5, True]
    return [*texts, *numbers, None, [], {}, [[]], {"a": 1}, ["\0"], ["a", "a"], [1], [None]]


def odd_bodies(worker: SignedWorker) -> list[bytes]:
    whole = {
        "round": worker.round,
        "approval": worker.approval,
        "part": 0,
        "given": ["mastercache:1"],
        "failed": [],
        "ended": "complete",
        "counts": {"listed": 1, "given": 1, "skipped": 0, "failed": 0},
    }
    raw = [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 50_000,
        b"nul",
        b'{"round": NaN}',
        b"9" * 5_000,
        b'{"a": "\\ud800"}',
        b"{}",
        b"[]",
    ]
    found = [json.dumps(whole | {name: RANDOM.choice(oddities())}).encode() for name in whole for _ in range(25)]
    lacking = [json.dumps({key: value for key, value in whole.items() if key != name}).encode() for name in whole]
    counts = [json.dumps(whole | {"counts": {"listed": one}}).encode() for one in oddities()]
    return [*raw, *found, *lacking, *counts, json.dumps(whole | {"more": 1}).encode()]


def test_no_signed_body_is_answered_with_500(worker: SignedWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(door, "PER_MINUTE", 10_000)
    monkeypatch.setattr(strangers, "PER_MINUTE", 10_000)
    worker.ask()
    answers = {worker.send(what, body).status_code for body in odd_bodies(worker) for what in ("ask", "report")}
    assert answers <= {200, 409, 422}
    assert {409, 422} <= answers


@pytest.mark.parametrize("number", ["0", "9223372036854775807", "9223372036854775808", "9" * 400])
def test_a_rule_that_does_not_exist_is_refused_like_any_other(worker: SignedWorker, number: str) -> None:
    for what in ("ask", "report"):
        assert Client().post(f"/hooks/expiry/{number}/{what}", b"{}", "application/json").status_code == 403


def test_the_key_is_nowhere_but_in_its_place(
    worker: SignedWorker, people: make.People, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    worker.ask()
    worker.tell(["mastercache:1"])
    worker.end(1)
    worker.followed()
    worker.send("ask", b"{}", worker.headers("ask", b"x"))
    browser = signed_in(people.operator)
    pages = ["", "worker.js", "wrangler.jsonc"]
    shown = [browser.get(f"/clearing/worker/{worker.rule.pk}/{page}").content.decode() for page in pages]
    seen = [*shown, caplog.text, *everything_stored()]
    assert [text for text in seen if helpers.KEY in text] == []
    assert all(signing.variable(worker.rule.pk) in text for text in shown[:1])


def everything_stored() -> list[str]:
    return [body.decode("utf-8", "replace") for body in tables().values()]
