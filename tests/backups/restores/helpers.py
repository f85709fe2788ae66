"""A restore on its way, for the tests of restores, undos and their pages."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from unittest.mock import patch

import pytest

from audit import log
from backups.generations import start as generation_start
from backups.models import Generation, Restore, RestoreChunk, RestoreEntry
from backups.restores import requests as restore_requests, selection as restore_selection
from kvops import clock, timing
from kvops.approvals import gate as approval_gate
from kvops.cloudflare import KvEntry
from kvops.models import ApprovalRequest, Namespace, Run
from kvops.runs import driver as run_driver
from tests import make
from tests.fakes.namespaces import Item
from tests.prepared import step

Policy = Restore.OnConflict


def put(estate: make.Estate, namespace: Namespace, *entries: KvEntry) -> None:
    """Write entries into the fake, past the product."""
    for one in entries:
        estate.put(namespace, one.name, one.data, expiration=one.expiration, metadata=one.metadata)


def verified_backup(namespace: Namespace, *prefixes: str) -> Generation:
    """A verified copy of what the namespace holds now."""
    return step("backup", namespace, *prefixes, build=lambda: _verified_backup(namespace, prefixes))


def _verified_backup(namespace: Namespace, prefixes: Sequence[str]) -> Generation:
    made = generation_start.start_backup(namespace, prefixes=prefixes or ["master:"], actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert made.status == Generation.Status.VERIFIED, (made.status, made.problem, made.run.error)
    return made


def wipe(estate: make.Estate, namespace: Namespace, *names: str) -> None:
    """Delete from the fake, past the product; everything unless names are given."""
    stored = estate.cloudflare.namespace(namespace.namespace_id)
    for name in names or [item.name for item in stored.walk("", None)]:
        stored.delete(name)


def held(estate: make.Estate, namespace: Namespace) -> dict[str, Item]:
    """What the fake holds."""
    return {item.name: item for item in estate.cloudflare.namespace(namespace.namespace_id).walk("", None)}


def prepared(generation: Generation, people: make.People, **more: object) -> Restore:
    """A restore that was compared with KV."""
    build = partial(_prepared, generation, people, **more)
    return step("compared", generation, people.operator, *sorted(more.items()), build=build)


def _prepared(generation: Generation, people: make.People, **more: object) -> Restore:
    actor = log.Actor(people.operator.pk, str(people.operator))
    restore = restore_selection.prepare_restore(generation, actor=actor, person=people.operator, **more)  # type: ignore[arg-type]
    make.work()
    return fresh(restore)


def approved(restore: Restore, people: make.People) -> Restore:
    """Submitted by the operator and approved by the reviewer."""
    return step("approved", restore, people.operator, people.reviewer, build=lambda: _approved(restore, people))


def _approved(restore: Restore, people: make.People) -> Restore:
    request = restore_requests.submit(restore, reason="lost by mistake", by=people.operator)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    return fresh(restore)


def started(restore: Restore, people: make.People) -> Run:
    """Approved and queued."""
    return restore_requests.start(approved(restore, people), by=people.operator)


def done(generation: Generation, people: make.People, **more: object) -> Restore:
    """Prepared, approved and written."""
    build = partial(_done, generation, people, **more)
    return step("restored", generation, people.operator, people.reviewer, *sorted(more.items()), build=build)


def _done(generation: Generation, people: make.People, **more: object) -> Restore:
    restore = prepared(generation, people, **more)
    run = started(restore, people)
    make.work()
    run.refresh_from_db()
    assert run.state == Run.State.SUCCEEDED, (run.state, run.error_code, run.error, run.note)
    return fresh(restore)


def fresh(restore: Restore) -> Restore:
    """The restore as it is now."""
    return Restore.objects.select_related("environment", "namespace", "generation", "run", "approval", "safety").get(
        pk=restore.pk
    )


def outcomes(restore: Restore) -> Mapping[str, str]:
    """What became of every name."""
    return dict(RestoreEntry.objects.filter(restore=restore).values_list("name", "outcome"))


def request_of(restore: Restore) -> ApprovalRequest:
    """The newest request for it."""
    return ApprovalRequest.objects.filter(subject=f"restore:{restore.pk}").latest("pk")


def stop_in_doubt(estate: make.Estate, run: Run) -> None:
    """Let a run write a chunk whose answer is lost, and stop it there."""
    estate.cloudflare.fault("bulk_put", "effect_then_reset")
    # However long a step takes here, it does not get to settle the chunk.
    with patch.object(timing, "SETTLE", 3600.0):
        while not RestoreChunk.objects.filter(restore__run=run, state=RestoreChunk.State.INTENDED).exists():
            Run.objects.filter(pk=run.pk).update(wake_at=None)
            run_driver.drive(run.pk)
    run_driver.request_stop(run, actor=make.SETUP)
    run_driver.drive(run.pk)
    run.refresh_from_db()
    assert run.state == Run.State.STOPPED


def move_time(estate: make.Estate, monkeypatch: pytest.MonkeyPatch, to: float) -> None:
    """The product's and the fake's clocks stand at this time; the leases' clock goes on."""
    monkeypatch.setattr(clock, "now", lambda: datetime.fromtimestamp(to, UTC))
    monkeypatch.setattr(timing, "SETTLE", 0.0)
    estate.cloudflare.clock = lambda: float(to)
