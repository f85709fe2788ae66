"""A rule of an expiry Worker on its way, and a Worker's signed calls without a Worker."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from django.http import HttpResponse
from django.test import Client

from backups.models import WorkerRound, WorkerRule
from backups.worker_expiry import requests as worker_requests, rounds, script, signing
from kvops import clock
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Family, Namespace, Run
from kvops.runs import driver as run_driver
from tests import make

KEY = "an-hmac-key-of-a-test-with-48-characters-exactly"
DAILY = "30 18 * * *"
TWO_DAYS = 172_800


def rule(namespace: Namespace, people: make.People, **more: object) -> WorkerRule:
    """A rule of `mastercache:`: two days, a hundred keys at most, daily."""
    values: dict[str, object] = {
        "family": Family.objects.get(pattern="mastercache:"),
        "ttl": TWO_DAYS,
        "cap": 100,
        "cron": DAILY,
        "reason": "keys without an end",
        "by": people.operator,
        **more,
    }
    return worker_requests.create(namespace, **values)  # type: ignore[arg-type]


def approve(found: WorkerRule, people: make.People, days: int = 30) -> ApprovalRequest:
    """The rule with a standing approval."""
    asked = worker_requests.ask(found, days=days, by=people.operator)
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    asked.refresh_from_db()
    return asked


@dataclass
class SignedWorker:
    """Calls the door as the Worker of a rule would."""

    rule: WorkerRule
    approval: int
    key: str = KEY
    round: str = field(default_factory=lambda: str(uuid4()))
    part: int = 0
    browser: Client = field(default_factory=lambda: Client(enforce_csrf_checks=True))

    def headers(self, what: str, body: bytes, **other: str) -> dict[str, str]:
        """The headers of a call, some of them otherwise."""
        sent = {"timestamp": str(int(clock.now().timestamp())), "nonce": str(uuid4()), **other}
        path = f"/hooks/expiry/{self.rule.pk}/{what}"
        signature = signing.sign(self.key, "POST", path, sent["timestamp"], sent["nonce"], body)
        return {f"X-Kvops-{name.title()}": text for name, text in {"signature": signature, **sent}.items()}

    def send(self, what: str, body: bytes, headers: Mapping[str, str] | None = None) -> HttpResponse:
        """A call with this body."""
        path = f"/hooks/expiry/{self.rule.pk}/{what}"
        sent = headers or self.headers(what, body)
        return self.browser.post(path, body, "application/json", headers=dict(sent))  # type: ignore[return-value]

    def ask(self, **other: object) -> str:
        """The answer to the question."""
        digest = script.rule_in_script(self.rule)["digest"]
        body = {"round": self.round, "approval": self.approval, "rule": digest, **other}
        answer = self.send("ask", json.dumps(body).encode())
        assert answer.status_code == 200, answer.content
        return str(json.loads(answer.content)["answer"])

    def tell(self, given: list[str], failed: list[str] | None = None, **other: object) -> HttpResponse:
        """The next report."""
        body = {"round": self.round, "approval": self.approval, "part": self.part, "given": given, **other}
        self.part += 1
        return self.send("report", json.dumps({**body, "failed": failed or []}).encode())

    def end(self, given: int, failed: int = 0, ended: str = "complete") -> HttpResponse:
        """The last report."""
        counts = {"listed": given + failed, "given": given, "skipped": 0, "failed": failed}
        return self.tell([], ended=ended, counts=counts)

    @property
    def kept(self) -> WorkerRound:
        """The round as KVOps keeps it."""
        return WorkerRound.objects.select_related("run").get(token=self.round)

    def followed(self) -> Run:
        """The run after a look at its round."""
        run = self.kept.run
        assert run is not None
        Run.objects.filter(pk=run.pk).update(wake_at=None)
        run_driver.drive(run.pk)
        run.refresh_from_db()
        return run


def worker(namespace: Namespace, people: make.People, monkeypatch: pytest.MonkeyPatch, **more: object) -> SignedWorker:
    """The Worker of an approved rule, with its key in this process."""
    found = rule(namespace, people, **more)
    return of(found, approve(found, people), monkeypatch)


def of(found: WorkerRule, approval: ApprovalRequest, monkeypatch: pytest.MonkeyPatch) -> SignedWorker:
    """The Worker of a rule under an approval, with its key in this process."""
    monkeypatch.setenv(signing.variable(found.pk), "env:TEST_WORKER_KEY")
    monkeypatch.setenv("TEST_WORKER_KEY", KEY)
    return SignedWorker(found, approval.pk)


def accepted(namespace: Namespace, people: make.People, monkeypatch: pytest.MonkeyPatch) -> WorkerRound:
    """A round in QA that a person accepted."""
    mine = worker(namespace, people, monkeypatch)
    assert mine.ask() == "yes"
    mine.tell(["mastercache:1"])
    mine.end(1)
    mine.followed()
    rounds.accept(mine.kept, note="opened the lists, all well", by=people.operator)
    return mine.kept
