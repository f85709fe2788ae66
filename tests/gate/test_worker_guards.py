"""The door of an expiry Worker, rule by rule, without a row: signatures, sizes, hours, and what a report may say."""

import hmac
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from django.http import HttpRequest

from backups.models import WorkerRound, WorkerRule
from backups.worker_expiry import announcements, conditions, door, messages, rounds, script, signing
from backups.worker_expiry.messages import WorkerTold
from backups.worker_expiry.refusals import WorkerRefused
from backups.worker_expiry.rounds import WorkerAnswer
from backups.worker_expiry.signing import SignedCall
from kvops import clock, env, timing
from kvops.connections import credentials
from kvops.environments import hours
from kvops.models import Environment, Family, Namespace

KEY = "an-hmac-key-of-a-test-with-48-characters-exactly"
NONCE = "01234567-89ab-cdef-0123-456789abcdef"
NOW = datetime(2026, 11, 30, 3, tzinfo=UTC)
AT = int(NOW.timestamp())


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)


def rule_of(**family: Any) -> WorkerRule:
    environment = Environment(pk=1, name="QA", hours="01:00-02:00", days="mon")
    namespace = Namespace(pk=2, environment=environment, binding="CACHE", namespace_id="b" * 32)
    found = Family(pk=3, binding="CACHE", **{"pattern": "page:", "category": "cache", "expiry": "ttl:3600", **family})
    return WorkerRule(pk=4, namespace=namespace, family=found, ttl=3_600, cap=10)


# Signatures


def signature(call: SignedCall, key: str = KEY) -> str:
    return signing.sign(key, "POST", call.path, call.timestamp, call.nonce, call.body)


def test_a_signature_is_over_the_method_the_path_the_time_the_nonce_and_the_body() -> None:
    call = SignedCall("/worker/4/ask", "1764471600", NONCE, b'{"round": "x"}')
    assert call.is_signed(KEY, signature(call))
    lines = f'POST\n/worker/4/ask\n1764471600\n{NONCE}\n{{"round": "x"}}'.encode()
    assert signature(call) == hmac.new(KEY.encode(), lines, "sha256").hexdigest()
    answer = signing.signature_of_answer(KEY, "/worker/4/ask", NONCE, 200, "{}")
    assert answer == signing.sign(KEY, b"answer", "/worker/4/ask", NONCE, b"200", "{}")
    assert answer != signing.sign(KEY, "answer", "/worker/4/ask", NONCE, "503", "{}")


WRONG: list[dict[str, object]] = [
    {"path": "/worker/5/ask"},
    {"timestamp": "1764471601"},
    {"nonce": NONCE.replace("0", "1")},
    {"body": b"{}"},
]


@pytest.mark.parametrize("values", WRONG)
def test_a_call_of_another_path_time_nonce_or_body_is_not_signed(values: dict[str, Any]) -> None:
    call = SignedCall("/worker/4/ask", "1764471600", NONCE, b'{"round": "x"}')
    other = SignedCall(**{**vars_of(call), **values})
    assert not other.is_signed(KEY, signature(call))
    assert not call.is_signed("another-key-of-48-characters-for-this-one-test-x", signature(call))


def vars_of(call: SignedCall) -> dict[str, object]:
    return {"path": call.path, "timestamp": call.timestamp, "nonce": call.nonce, "body": call.body}


FORMS = [
    ("", NONCE),
    ("1" * 13, NONCE),
    ("-1", NONCE),
    ("1", ""),
    ("1", NONCE[1:]),
    ("1", NONCE.upper()),
    ("1x", NONCE),
]


@pytest.mark.parametrize(("timestamp", "nonce"), FORMS)
def test_a_call_without_the_form_of_one_is_not_signed_whatever_its_signature(timestamp: str, nonce: str) -> None:
    call = SignedCall("/", timestamp, nonce, b"")
    assert not call.is_signed(KEY, signature(call))


def test_a_signature_has_64_hexadecimal_digits() -> None:
    call = SignedCall("/", "1" * 12, NONCE, b"")
    assert call.is_signed(KEY, signature(call))
    for one in ("", signature(call)[1:], signature(call).upper(), signature(call) + "0", "é" * 64):
        assert not call.is_signed(KEY, one)


def test_a_key_is_a_secret_by_reference_of_at_least_32_characters(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    kept = {"env:A": "k" * 32, "env:B": "k" * 31, "env:C": ""}

    def resolve(reference: str) -> str:
        if reference not in kept:
            raise credentials.UnresolvedReference("there is none")
        return kept[reference]

    monkeypatch.setattr(credentials, "resolve", resolve)
    monkeypatch.setattr(env, "reference", lambda name, environ: environ.get(name, ""))
    found = {reference: signing.key_of(4, {"KVOPS_WORKER_KEY_4": reference}) for reference in (*kept, "env:D", "")}
    assert found == {"env:A": "k" * 32, "env:B": "", "env:C": "", "env:D": "", "": ""}
    assert [one.getMessage() for one in caplog.records] == [
        "KVOPS_WORKER_KEY_4: the key has fewer than 32 characters.",
        "The key of the Worker of rule 4: there is none",
    ]
    assert signing.variable(5) == "KVOPS_WORKER_KEY_5"


# The door


@pytest.mark.parametrize(
    ("announced", "length"),
    [("", 0), (None, 0), ("0", 0), ("65536", 65_536), ("99999999999", 99_999_999_999), ("1" * 12, 65_537),
     ("-1", 65_537), ("x", 65_537), ("1.5", 65_537)],
)  # fmt: skip
def test_a_length_that_is_no_number_is_too_large(announced: str | None, length: int) -> None:
    request = HttpRequest()
    request.META = {} if announced is None else {"CONTENT_LENGTH": announced}
    assert door._length(request) == length


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """The calls that the team was told of."""
    found: list[object] = []
    monkeypatch.setattr(announcements, "tell_refused_call", lambda *given: found.append(given))
    return found


@pytest.mark.parametrize("status", [200, 409, 422, 503])
def test_a_call_that_is_refused_is_told(told: list[object], status: int) -> None:
    rule, answer = rule_of(), WorkerAnswer(status, {"answer": "unknown"})
    assert door._taken(rule, b"body", lambda *given: answer if given == (rule, b"body") else WorkerAnswer(1)) is answer
    assert told == ([(rule, "unknown")] if status in {409, 422} else [])


def test_a_call_that_is_no_message_is_unreadable(told: list[object], caplog: pytest.LogCaptureFixture) -> None:
    def take(*_: object) -> WorkerAnswer:
        raise messages.NotAMessage("json")

    rule = rule_of()
    with caplog.at_level(logging.WARNING):
        assert door._taken(rule, b"", take) == WorkerAnswer(422, {"answer": "unreadable"})
    assert (told, caplog.messages) == (
        [(rule, "unreadable")], [f"A signed call for {rule.subject} is no message: json"]
    )  # fmt: skip


class Nonces:
    """The numbers that were used."""

    def __init__(self) -> None:
        self.used: set[tuple[object, str]] = set()

    def get_or_create(self, *, rule: WorkerRule, nonce: str) -> tuple[None, bool]:
        new = (rule, nonce) not in self.used
        self.used.add((rule, nonce))
        return None, new


def test_a_signed_call_is_taken_once_and_within_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    rule, nonces = rule_of(), Nonces()
    monkeypatch.setattr(door, "WorkerNonce", SimpleNamespace(objects=nonces))
    monkeypatch.setattr(timing, "WORKER_WINDOW", 300)

    def word(seconds: int, nonce: str, **wrong: str) -> str:
        call = SignedCall("/", str(AT + seconds), nonce, b"")
        return door._why_not(rule, call, KEY, wrong.get("signature", signature(call)))

    assert [word(seconds, NONCE[:-1] + str(n)) for n, seconds in enumerate((-300, 300, 0))] == ["", "", ""]
    assert [word(seconds, NONCE) for seconds in (-301, 301)] == ["late", "late"]
    assert word(0, NONCE, signature="0" * 64) == "unsigned"
    assert (word(0, NONCE), word(1, NONCE)) == ("", "replayed")
    assert nonces.used == {(rule, NONCE[:-1] + end) for end in ("0", "1", "2", NONCE[-1])}


# The conditions


def test_only_a_design_with_a_ttl_has_seconds() -> None:
    for design, seconds in (("ttl:3600", 3_600), ("regenerate:stale", 0), ("none", 0), ("", 0)):
        assert conditions.designed_ttl(Family(expiry=design)) == seconds


def test_a_round_begins_only_within_the_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    rule, opens = rule_of(), list[datetime]()

    def next_opening(environment: Environment, now: datetime) -> datetime | None:
        assert (environment, now) == (rule.namespace.environment, NOW)
        return opens[0] if opens else None

    monkeypatch.setattr(hours, "next_opening", next_opening)
    conditions.insist_hours(rule)
    opens.append(datetime(2026, 12, 7, 1, tzinfo=UTC))
    for days, within in (("mon", "(01:00-02:00 mon)"), ("", "(01:00-02:00)")):
        rule.namespace.environment.days = days
        with pytest.raises(WorkerRefused) as refused:
            conditions.insist_hours(rule)
        said = f"In QA keys are changed only within the allowed hours {within}. The next time is 2026-12-07"
        assert str(refused.value).startswith(said)


def environment(name: str, *, production: bool) -> Environment:
    return Environment(name=name, production=production)


def test_a_rule_is_accepted_in_each_earlier_environment_before_it_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    rule, earlier, accepted = rule_of(), list[Environment](), list[Environment]()
    monkeypatch.setattr(conditions, "earlier_environments", lambda of: earlier if of is rule else None)
    monkeypatch.setattr(conditions, "accepted_round", lambda of, where: (of is rule and where in accepted) or None)
    mine, none = rule.namespace.environment, "A rule runs in production only after it ran in another environment. None"
    assert conditions.not_accepted(rule) == ""
    mine.production = True
    assert conditions.not_accepted(rule) == f"{none} has CACHE."
    earlier.append(environment("PRD1", production=True))
    assert conditions.not_accepted(rule) == f"{none} has CACHE."
    earlier.append(environment("STG", production=False))
    for name in ("PRD1", "STG"):
        assert conditions.not_accepted(rule) == (
            f"The same rule is not accepted in {name}. Let it run there, try the application, accept the round."
        )
        accepted.append(next(one for one in earlier if one.name == name))
    assert conditions.not_accepted(rule) == ""
    mine.production = False
    accepted.clear()
    assert conditions.not_accepted(rule).startswith("The same rule is not accepted in PRD1.")


# A report


def told_of(ended: str = "", approval: int = 3, **counts: int) -> WorkerTold:
    return WorkerTold("x", approval, 0, (), (), ended, {"listed": 9, "given": 6, "skipped": 0, "failed": 4, **counts})


def problem(message: WorkerTold, foreign: int = 0, cap: object = 10) -> str:
    mine = WorkerRound(approval_id=3, given=6, failed=4)
    return rounds._problem(mine, message, {"cap": cap}, foreign=foreign)


MISSING = "The counts of the last report are not those of the reports before: a report is missing."
PROBLEMS: list[tuple[Callable[[], str], str]] = [
    (lambda: problem(told_of()), ""),
    (lambda: problem(told_of("complete")), ""),
    (lambda: problem(told_of("cap"), cap="10"), ""),
    (lambda: problem(told_of(given=5)), ""),
    (lambda: problem(told_of(approval=4), foreign=2), "A report has keys of other families: 2."),
    (lambda: problem(told_of(approval=4), cap=9), "The Worker reported under approval 4."),
    (lambda: problem(told_of("complete", given=5), cap=9), "The Worker reported more keys than the cap of the rule."),
    (lambda: problem(told_of("refused", given=5)), MISSING),
    (lambda: problem(told_of("complete", failed=5)), MISSING),
    (lambda: problem(told_of("refused")), "The Worker ended its round early: it got no answer, or a no."),
]


@pytest.mark.parametrize("number", range(len(PROBLEMS)))
def test_a_report_fits_the_approved_rule_or_says_why_not(number: int) -> None:
    act, sentence = PROBLEMS[number]
    assert act() == sentence


def test_only_keys_of_the_family_and_of_no_longer_pattern_are_of_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    rule, longer = rule_of(), Family(pattern="page:x:")
    monkeypatch.setattr(script, "others", lambda of: [longer] if of is rule.family else [])
    names = [("page:a", True), ("page:x:1", True), ("pagex", False), ("page:x", False)]
    assert rounds._of_rule(rule, names) == [("page:a", True), ("page:x", False)]
