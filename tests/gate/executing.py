"""A KV in memory for the executor, deletions on it, and the clock it is held against."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from types import SimpleNamespace
from typing import cast

from django.db.models.functions import Now

from backups.bucket.store import ObjectInfo
from backups.deletion import mandate as deletion_mandate, run as deletion_run, send as deletion_send
from backups.execution.clients import Clients
from backups.models import CleanupChunk, CleanupException, CleanupStage
from kvops import clock
from kvops.cloudflare import KvEntry
from kvops.cloudflare.writes import BulkOutcome
from kvops.runs.lease import Lease
from tests.gate import world as gate
from tests.gate.world import NAMES


@dataclass
class Kv:
    """A namespace in memory, as both clients see it, with what was sent to it."""

    held: dict[str, KvEntry]
    sent: list[tuple[str, list[str]]] = field(default_factory=list)
    asked: list[tuple[str, list[str]]] = field(default_factory=list)
    answer: BulkOutcome | None = None
    refuses: Exception | None = None
    before_delete: Callable[[], object] = lambda: None
    during_read: Callable[[], object] = lambda: None
    calls: int = 0
    until: float | None = None
    written_at: float = 0.0

    def bulk_get_at_once(self, namespace_id: str, names: Sequence[str]) -> Mapping[str, KvEntry | None]:
        self.asked.append((namespace_id, list(names)))
        self.during_read()
        return {name: self.held.get(name) for name in names}

    def exact_get(self, namespace_id: str, name: str) -> KvEntry | None:
        self.asked.append((namespace_id, [name]))
        return self.held.get(name)

    def bulk_delete(self, namespace_id: str, names: Sequence[str], *, until: float) -> BulkOutcome:
        self.before_delete()
        self.until, self.written_at = until, monotonic()
        self.sent.append((namespace_id, list(names)))
        if self.refuses:
            raise self.refuses
        return self.answer or BulkOutcome(len(names), [], [])

    def clients(self) -> Clients:
        budget = SimpleNamespace(reserve=lambda _calls: 0, paid=100, exhausted=False)
        meter = SimpleNamespace(insist=lambda _wanted: None)
        return cast(
            "Clients", SimpleNamespace(reader=self, writer=self, probe=self, budget=budget, meter=meter)
        )  # fmt: skip


@dataclass
class Bucket:
    """A bucket in memory that holds every object as it was written, except those in `instead`; None is gone."""

    instead: dict[str, bytes | None] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refuses: Exception | None = None

    def head(self, key: str) -> ObjectInfo | None:
        self.asked.append(key)
        if self.refuses:
            raise self.refuses
        body = self.instead.get(key, gate.written(key))
        return None if body is None else ObjectInfo(key, len(body), gate.etag(body), clock.now())

    def get(self, key: str) -> bytes:
        self.asked.append(f"content of {key}")
        return self.instead.get(key, gate.written(key)) or b""


def now(chunk: CleanupChunk) -> CleanupChunk:
    return CleanupChunk.objects.get(pk=chunk.pk)


def monotonic() -> float:
    return float(vars(deletion_send)["time"].monotonic())


def deletion_of(stage: CleanupStage, lease: Lease, kv: Kv) -> deletion_run._Deletion:
    related = ("environment", "namespace", "request__family", "generation", "approval")
    of_related = CleanupStage.objects.select_related(*related).get(pk=stage.pk)
    found = deletion_run._Deletion(of_related, lease, kv.clients(), deletion_mandate.Approved())
    found.generation.finished_at = clock.now() - timedelta(hours=1)
    lease.run.cursor = {"phase": "delete"}
    return found


def chunk_of(
    mine: deletion_run._Deletion,
    state: str = "planned",
    *,
    number: int = 1,
    first: int = 0,
    last: int = 0,
    **more: object,
) -> CleanupChunk:
    """A chunk of the stage past the triggers."""
    found = CleanupChunk.objects.create(stage=mine.stage, number=number, first_index=first, last_index=last)
    sent = {} if state == "planned" else {"names": 1, "names_sha256": "0" * 64, "intended_at": Now()}
    gate.tampered(found, state=state, **{**sent, **more})
    return now(found)


def alive(mine: deletion_run._Deletion, *indexes: int, outcome: str = "alive") -> None:
    CleanupException.objects.bulk_create(
        CleanupException(stage=mine.stage, index=index, name=NAMES[index], outcome=outcome) for index in indexes
    )
