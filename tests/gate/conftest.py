"""The gate without HTTP: seconds, so that a guard can be broken a thousand times to see that a test notices."""

from contextlib import nullcontext

import pytest

from backups.deletion import chunks as deletion_chunks, run as deletion_run
from backups.deletion.send import Sender
from backups.models import CleanupChunk, CleanupRequest, CleanupStage
from kvops import timing
from kvops.cloudflare import KvEntry
from kvops.runs.lease import Lease
from tests.gate import world as gate
from tests.gate.executing import Bucket, Kv, deletion_of
from tests.gate.world import NAMES, GateWorld
from tests.prepared import Prepared


@pytest.fixture
def world(prepared: Prepared, monkeypatch: pytest.MonkeyPatch) -> GateWorld:
    """QA and production, with their people. A step lasts as long as its work, however slow the machine is."""
    monkeypatch.setattr(timing, "STEP", 60.0)
    return prepared.step("world", gate.world)


@pytest.fixture
def kv() -> Kv:
    return Kv({name: KvEntry(name, b"{}", None, None) for name in NAMES})


@pytest.fixture(autouse=True)
def bucket(monkeypatch: pytest.MonkeyPatch) -> Bucket:
    """The bucket of every environment."""
    found = Bucket()
    monkeypatch.setattr("backups.bucket.access.store", lambda _environment: nullcontext(found))
    return found


@pytest.fixture
def request_(prepared: Prepared, world: GateWorld) -> CleanupRequest:
    return prepared.step("asked", lambda: gate.asked(world))


@pytest.fixture
def stage(prepared: Prepared, world: GateWorld, request_: CleanupRequest) -> CleanupStage:
    return prepared.step("started", lambda: gate.started(world, request_))


@pytest.fixture
def lease(stage: CleanupStage) -> Lease:
    return gate.lease_of(stage)


@pytest.fixture
def sender(stage: CleanupStage, lease: Lease, kv: Kv) -> Sender:
    assert stage.generation is not None
    return Sender(stage, stage.generation, lease, kv.clients(), lambda: None)


@pytest.fixture
def chunk(stage: CleanupStage) -> CleanupChunk:
    found = deletion_chunks.next_chunk(stage)
    assert found is not None
    return found


@pytest.fixture
def mine(stage: CleanupStage, lease: Lease, kv: Kv) -> deletion_run._Deletion:
    """The deletion of QA; its backup is old enough."""
    return deletion_of(stage, lease, kv)


@pytest.fixture
def production(prepared: Prepared, world: GateWorld, request_: CleanupRequest, kv: Kv) -> deletion_run._Deletion:
    """The deletion of production, after QA was accepted."""
    prepared.step("accepted", lambda: gate.accepted(world, request_))
    stage = prepared.step("production started", lambda: gate.started(world, request_, "production"))
    return deletion_of(stage, gate.lease_of(stage), kv)
