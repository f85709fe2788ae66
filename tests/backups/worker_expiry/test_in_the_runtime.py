"""The generated Worker in Cloudflare's own runtime, with its cron handler, against a KVOps that answers over HTTP."""

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copy
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from pytest_django.live_server_helper import LiveServer

from backups.models import WorkerKey, WorkerRound, WorkerRule
from backups.worker_expiry import rounds, script, signing
from backups.worker_expiry.rounds import WorkerAnswer
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest
from kvops.runs import emergency
from sandbox import node
from sandbox.processes import Supervisor, remembered_port
from tests import make
from tests.backups.worker_expiry import helpers

pytestmark = [pytest.mark.sandbox, pytest.mark.django_db(transaction=True)]
BESIDE = Path(__file__).with_name("keys_beside.mjs")
PATIENCE = 60.0
KEYS: list[Mapping[str, object]] = [
    {"name": "mastercache:1", "value": "one", "metadata": {"a": [1, "x"]}},
    {"name": "mastercache:2", "value": "two"},
    {"name": "mastercache:number", "value": "kept", "metadata": {"n": 2**60}},
    {"name": "mastercache:expires", "value": "kept", "expirationTtl": 3_600},
    {"name": "master:1", "value": "another family"},
]


@dataclass(frozen=True)
class RunningWorker:
    """The Worker of a rule in the runtime."""

    url: str
    approval: ApprovalRequest

    def due(self) -> None:
        """A due time of its Cron Trigger."""
        httpx.get(f"{self.url}/cdn-cgi/handler/scheduled", trust_env=False, timeout=PATIENCE).raise_for_status()

    def keys(self) -> dict[str, dict[str, Any]]:
        """The keys in KV."""
        found = httpx.get(self.url, trust_env=False, timeout=PATIENCE).raise_for_status().json()
        return {key["name"]: key for key in found}

    def given(self) -> set[str]:
        """The names of the keys with an expiration of about two days."""
        soon = time.time() + helpers.TWO_DAYS
        return {name for name, key in self.keys().items() if abs(key.get("expiration", 0) - soon) < 600}


@pytest.fixture(scope="module")
def runtime() -> Iterator[tuple[Supervisor, node.Node, Path]]:
    with TemporaryDirectory(prefix="kvops-") as name, Supervisor(Path(name) / "logs") as supervisor:
        yield supervisor, node.install(supervisor), Path(name)


@pytest.fixture
def approved(
    live_server: LiveServer, estate: make.Estate, people: make.People, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> tuple[WorkerRule, ApprovalRequest]:
    """An approved rule whose Worker calls the server of the test."""
    settings.BASE_URL = live_server.url
    rule = helpers.rule(estate.qa, people)
    approval = helpers.approve(rule, people)
    helpers.of(rule, approval, monkeypatch)
    return rule, approval


@pytest.fixture
def running(
    approved: tuple[WorkerRule, ApprovalRequest], runtime: tuple[Supervisor, node.Node, Path], tmp_path: Path
) -> Iterator[RunningWorker]:
    """The Worker of an approved rule, as its files say, with the key as its secret and five keys in KV."""
    rule, approval = approved
    (tmp_path / "worker.js").write_text(script.worker_script(rule), "utf-8")
    without_comment = script.configuration(rule, approval).partition("\n")[2]
    (tmp_path / "wrangler.json").write_text(json.dumps(json.loads(without_comment) | {"main": "beside.js"}))
    (tmp_path / ".dev.vars").write_text(f"{script.KEY}={helpers.KEY}\n")
    copy(BESIDE, tmp_path / "beside.js")
    supervisor, runtime_node, folder = runtime
    port = remembered_port(tmp_path / "port")
    options = ["--local", "--ip=127.0.0.1", f"--port={port}", "--inspector-port=0", "--test-scheduled"]
    quiet = ["--log-level=warn", "--show-interactive-dev-session=false", f"--persist-to={tmp_path / 'state'}"]
    argv = [str(runtime_node.node), str(node.wrangler()), "dev", *options, *quiet]
    url = f"http://127.0.0.1:{port}"
    ready = lambda: put(url, KEYS)  # noqa: E731
    child = supervisor.start("worker", argv, env=node.quiet_environment(folder), cwd=tmp_path, ready=ready)
    yield RunningWorker(url, approval)
    supervisor.children.remove(child)
    child.stop()


def put(url: str, keys: Sequence[Mapping[str, object]]) -> bool:
    try:
        return httpx.post(url, json=keys, trust_env=False, timeout=PATIENCE).status_code == 200
    except httpx.TransportError:
        return False


def until(seen: Callable[[], bool]) -> None:
    """Wait until something is so; fail after a minute."""
    end = time.monotonic() + PATIENCE
    while not seen():
        assert time.monotonic() < end
        time.sleep(0.2)


def over() -> bool:
    return WorkerRound.objects.exclude(ended="").exists() or WorkerRound.objects.filter(run=None).exists()


def test_it_gives_an_expiration_to_exactly_the_dry_run_and_reports_it(
    running: RunningWorker, estate: make.Estate
) -> None:
    before = running.keys()
    running.due()
    until(over)
    round_ = WorkerRound.objects.get()
    assert (round_.ended, round_.given, round_.failed, round_.approval_id) == ("complete", 2, 0, running.approval.pk)
    assert (
        running.given() == {"mastercache:1", "mastercache:2"} == set(WorkerKey.objects.values_list("name", flat=True))
    )
    for name, key in running.keys().items():
        kept = {part: key.get(part) for part in ("value", "metadata")}
        assert kept == {part: before[name].get(part) for part in ("value", "metadata")}
    assert running.keys()["mastercache:expires"]["expiration"] == before["mastercache:expires"]["expiration"]


def test_it_does_nothing_while_an_emergency_stop_is_on(running: RunningWorker, people: make.People) -> None:
    emergency.press(running.approval.environment, by=people.auditor)  # type: ignore[arg-type]
    running.due()
    until(over)
    assert (running.given(), WorkerRound.objects.get().run) == (set(), None)


def test_it_does_nothing_after_its_approval_was_withdrawn(running: RunningWorker, people: make.People) -> None:
    approval_gate.withdraw(running.approval, by=people.operator)
    running.due()
    until(over)
    assert running.given() == set()


@pytest.mark.parametrize("forged", ["another key", "an older call", "another round", "no signature"])
def test_it_does_nothing_with_a_yes_that_kvops_did_not_sign_for_it(
    running: RunningWorker, monkeypatch: pytest.MonkeyPatch, forged: str
) -> None:
    asked: list[str] = []
    right = signing.signature_of_answer
    old = "00000000-0000-4000-8000-000000000000"

    def signature(key: str, path: str, nonce: str, status: int, body: str) -> str:
        asked.append(path)
        if forged == "no signature":
            return ""
        return right(
            "x" * 40 if forged == "another key" else key,
            path,
            old if forged == "an older call" else nonce,
            status,
            body,
        )

    monkeypatch.setattr(signing, "signature_of_answer", signature)
    if forged == "another round":
        monkeypatch.setattr(signing, "signature_of_answer", right)
        yes = {"answer": "yes", "round": old, "approval": running.approval.pk, "until": int(time.time()) + 600}

        def of_another_round(*_: object) -> WorkerAnswer:
            asked.append("")
            return WorkerAnswer(200, yes)

        monkeypatch.setattr(rounds, "asked", of_another_round)
    running.due()
    until(lambda: bool(asked))
    time.sleep(2)
    assert running.given() == set()
