"""The gate keeps a reason whole, however long, and the audit log its beginning: without a row."""

from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest

from audit import log
from audit.actions import Action
from kvops.approvals import gate, risks, standing
from kvops.models import ApprovalRequest
from kvops.runs import emergency

LONG = "x" * 1_001
BY: Any = SimpleNamespace(pk=9, holds=lambda _role: True, actor="actor")


class LongRows:
    """The open requests; notes what is written to them."""

    def __init__(self) -> None:
        self.written, self.request = list[str](), ApprovalRequest(pk=3, kind="delete_keys", state="pending", digest="d")

    def filter(self, **_: object) -> "LongRows":
        return self

    def exclude(self, **_: object) -> "LongRows":
        return self

    def update(self, **values: Any) -> int:
        self.written.append(values["reason"])
        return 1

    def __iter__(self) -> Iterator[ApprovalRequest]:
        return iter([self.request])


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> LongRows:
    found = LongRows()
    monkeypatch.setattr(gate, "ApprovalRequest", SimpleNamespace(objects=found))
    monkeypatch.setattr(log, "transaction", nullcontext)
    monkeypatch.setattr(log, "insist", lambda: None)
    for name in ("insist_writable", "_told", "_record", "_insist_approvable"):
        monkeypatch.setattr(gate, name, lambda *_, **__: None)
    return found


def test_a_long_reason_is_kept_whole(rows: LongRows) -> None:
    gate.withdraw_within(rows.request, by=BY, reason=LONG)
    gate.withdraw_all(actor=log.Actor.system("x"), reason=LONG)
    gate._decide(rows.request, gate.State.REJECTED, by=BY, shown="d", reason=LONG)
    assert rows.written == [LONG] * 3


def test_an_approval_needs_no_reason(rows: LongRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risks, "risks_of", lambda _request: [])
    gate.approve(rows.request, by=BY, shown="d")
    assert rows.written == [""]


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The details and the environment of each entry."""
    found: list[Any] = []
    monkeypatch.setattr(log, "record", lambda _action, **how: found.append((how["details"], how["environment"])))
    return found


def test_the_audit_log_keeps_the_beginning_of_a_reason(entries: list[Any]) -> None:
    gate._record(Action.APPROVAL_WITHDRAWN, ApprovalRequest(pk=3, reason=LONG), log.Actor.system("x"))
    assert entries[0][0]["reason"] == LONG[:500]


def test_a_standing_approval_may_be_of_no_environment(entries: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    request = ApprovalRequest(pk=3, kind="clearing", digest="d", subject="clearing:4")
    monkeypatch.setattr(log, "insist", lambda: None)
    monkeypatch.setattr(standing, "_fresh", lambda one: one)
    monkeypatch.setattr(standing, "insist_standing", lambda _request: None)
    monkeypatch.setattr(emergency, "lock", lambda _environment: pytest.fail("locked"))
    standing.carry(request, kind=ApprovalRequest.Kind.CLEARING, digest="d", actor=log.Actor.system("x"))
    assert entries == [({"kind": "clearing", "of": "clearing:4"}, "")]
