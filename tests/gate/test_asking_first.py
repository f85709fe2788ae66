"""All work that rests on the deployed code has Cloudflare asked for it first, outside a transaction."""

from collections.abc import Callable
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import call_command

from audit import log
from backups.cleanup import evidence as cleanup_evidence, requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused
from backups.clearing import run as clearing_run
from backups.clearing.mandate import StandingMandate
from backups.deletion import mandate as deletion_mandate
from backups.models import CleanupRequest, CleanupStage
from kvops import clock
from kvops.cloudflare import WorkerModule
from kvops.connections.calls import Calls
from kvops.models import DeployedCode, DeployedLook, Environment, ReferenceSearch, Run
from kvops.references import look as code_look, scripts
from kvops.references.report import dumps
from kvops.runs import lease as run_lease
from kvops.runs.outcomes import TryLater
from tests import searched
from tests.gate import world as gate
from tests.gate.test_clearing import allow, begun, fresh, made, working
from tests.gate.world import GateWorld
from tests.kvops.references import reports
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
type Asked = list[tuple[str, bool]]


@pytest.fixture
def request_(world: GateWorld) -> CleanupRequest:
    return gate.asked(world)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """The environments for which Cloudflare was asked, and whether a run's lease was kept meanwhile."""
    found: Asked = []

    def ask(environment: Environment, keep: Callable[[], None] | None = None) -> bool:
        with log.transaction():  # refused within another one
            found.append((environment.slug, keep is not None))
        return True

    monkeypatch.setattr(code_look, "ask_when_due", ask)
    return found


def test_a_submit_asks(world: GateWorld, request_: CleanupRequest, asked: Asked) -> None:
    gate.submitted(world, request_)
    assert asked == [("qa", False)]


def test_a_start_asks(world: GateWorld, request_: CleanupRequest, asked: Asked) -> None:
    stage = gate.approved(world, request_)
    asked.clear()
    cleanup_requests.start_deletion(stage, by=world.people.operator)
    assert asked == [("qa", False)]


def test_a_deletion_that_begins_or_goes_on_asks_while_its_lease_is_kept(
    world: GateWorld, request_: CleanupRequest, asked: Asked
) -> None:
    stage = gate.started(world, request_)
    asked.clear()
    deletion_mandate.insist_as_approved(stage, gate.lease_of(stage))
    assert asked == [("qa", True)]


def test_a_rule_and_its_round_ask(world: GateWorld, asked: Asked) -> None:
    clearing = made(world, world.qa)
    allow(world, clearing)
    assert asked == [("qa", False)]
    lease = working(begun(world, fresh(clearing)))
    clearing_run.clear_keys_permanently(lease)
    assert asked == [("qa", False), ("qa", True)]


def test_a_round_asks_before_its_conditions_are_derived_again(
    world: GateWorld, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.clearing.mandate.insist_names", lambda _stage: None)
    clearing = made(world, world.qa)
    allow(world, clearing)
    round_ = begun(world, fresh(clearing))
    asked.clear()
    stage: Any = type("Stage", (), {"approval": round_.approval, "environment": world.qa.environment})
    StandingMandate(fresh(clearing)).insist_as_approved(stage, working(round_))
    assert asked == [("qa", True)]


def stored(of: Environment) -> int:
    return ReferenceSearch.objects.filter(environment=of).count()


def test_a_file_that_is_brought_asks(world: GateWorld, asked: Asked) -> None:
    file = SimpleUploadedFile("hits.json", dumps(reports.report()))
    answer = signed_in(world.people.operator).post("/references/qa/take", {"report": file})
    assert (answer.status_code, asked, stored(world.qa.environment)) == (302, [("qa", False)], 1)


def test_a_command_that_stores_a_search_asks(world: GateWorld, asked: Asked, tmp_path: Path) -> None:
    file = tmp_path / "hits.json"
    file.write_bytes(dumps(reports.report()))
    call_command("import_references", "qa", str(file), stdout=StringIO())
    assert (asked, stored(world.qa.environment)) == ([("qa", False)], 1)


def test_a_search_of_a_script_asks_while_its_lease_is_kept(
    world: GateWorld, asked: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched.runs(world.qa.environment)
    DeployedCode.objects.update(kind="worker", version="v7", etag="e")
    run = scripts.start(DeployedCode.objects.get(), by=world.people.operator)
    monkeypatch.setenv("GATE_QA_READ", "a-token-that-is-never-sent")
    module = WorkerModule("index.js", "application/javascript+module", b"export default {};")
    monkeypatch.setattr(Calls, "run", lambda _calls, _call: [module])
    lease = run_lease.take(run.pk)
    assert lease is not None
    scripts.work(lease)
    assert (asked, stored(world.qa.environment)) == ([("qa", True)], 1)


@pytest.fixture
def unanswered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cloudflare does not answer."""
    monkeypatch.setattr(code_look, "ask_when_due", lambda *_asked: False)


@pytest.mark.usefixtures("unanswered")
def test_without_an_answer_nothing_is_submitted_unless_the_code_is_known(
    world: GateWorld, request_: CleanupRequest
) -> None:
    stage = gate.checked(request_)
    DeployedLook.objects.update(at=clock.now() - timedelta(hours=3))
    with pytest.raises(CleanupRefused, match=r"^Cloudflare did not answer which code is deployed\. Try again"):
        cleanup_requests.submit(stage, by=world.people.operator)
    DeployedLook.objects.update(at=clock.now() - timedelta(hours=1))
    cleanup_requests.submit(stage, by=world.people.operator)


@pytest.mark.usefixtures("unanswered")
def test_without_an_answer_nothing_starts_or_goes_on_once_the_code_is_not_known(
    world: GateWorld, request_: CleanupRequest
) -> None:
    approved = gate.approved(world, request_)
    searched_at = DeployedLook.objects.get(environment=world.qa.environment).at
    DeployedLook.objects.update(at=clock.now() - timedelta(hours=3))
    with pytest.raises(CleanupRefused, match="was last asked for the deployed code"):
        cleanup_requests.start_deletion(approved, by=world.people.operator)
    assert not Run.objects.filter(kind="delete").exists()
    DeployedLook.objects.update(at=searched_at)
    cleanup_requests.start_deletion(approved, by=world.people.operator)
    stage = gate.stage_of(request_)
    DeployedLook.objects.update(at=clock.now() - timedelta(hours=3))
    with pytest.raises(TryLater, match="was last asked for the deployed code"):
        deletion_mandate.insist_as_approved(stage, gate.lease_of(stage))


@pytest.fixture
def grows_old(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From the call on, Cloudflare's answer is too old by the time the evidence is derived from it."""
    monkeypatch.setattr(code_look, "ask_when_due", lambda *_asked: True)
    digest_of = cleanup_evidence.evidence_digest

    def late(stage: CleanupStage) -> str:
        DeployedLook.objects.update(at=clock.now() - timedelta(hours=3))
        return digest_of(stage)

    return lambda: monkeypatch.setattr(cleanup_evidence, "evidence_digest", late)


def test_an_answer_that_grows_too_old_during_a_start_takes_back_no_approval(
    world: GateWorld, request_: CleanupRequest, grows_old: Callable[[], None]
) -> None:
    approved = gate.approved(world, request_)
    grows_old()
    with pytest.raises(CleanupRefused, match="was last asked for the deployed code"):
        cleanup_requests.start_deletion(approved, by=world.people.operator)
    assert gate.stage_of(request_).state == CleanupStage.State.APPROVED


def test_an_answer_that_grows_too_old_during_a_deletion_pauses_it(
    world: GateWorld, request_: CleanupRequest, grows_old: Callable[[], None]
) -> None:
    cleanup_requests.start_deletion(gate.approved(world, request_), by=world.people.operator)
    stage = gate.stage_of(request_)
    grows_old()
    with pytest.raises(TryLater, match="was last asked for the deployed code"):
        deletion_mandate.insist_as_approved(stage, gate.lease_of(stage))


def test_a_look_within_a_minute_asks_nobody(world: GateWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[str] = []
    monkeypatch.setattr(code_look, "look", lambda environment, _keep: looks.append(environment.slug))
    environment = world.qa.environment
    for at, due in ((None, True), (2, False), (58, False), (62, True)):
        DeployedLook.objects.all().delete()
        if at is not None:
            searched.runs(environment)
            DeployedLook.objects.update(at=clock.now() - timedelta(seconds=at))
        looks.clear()
        assert code_look.ask_when_due(environment)
        assert looks == ["qa"] * due, at
    DeployedLook.objects.update(at=clock.now(), problem="No permission.")
    looks.clear()
    code_look.ask_when_due(environment)
    assert looks == ["qa"]
