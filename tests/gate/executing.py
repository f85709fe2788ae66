"""A KV in memory for the executor, and the clock it is held against."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import cast

from backups import sending
from backups.clients import Clients
from backups.models import CleanupChunk
from kvops.cloudflare import Entry
from kvops.cloudflare.writes import BulkOutcome


@dataclass
class Kv:
    """A namespace in memory, as both clients see it, with what was sent to it."""

    held: dict[str, Entry]
    sent: list[tuple[str, list[str]]] = field(default_factory=list)
    asked: list[tuple[str, list[str]]] = field(default_factory=list)
    answer: BulkOutcome | None = None
    refuses: Exception | None = None
    before_delete: Callable[[], object] = lambda: None
    during_read: Callable[[], object] = lambda: None
    calls: int = 0
    until: float | None = None
    written_at: float = 0.0

    def bulk_get_at_once(self, namespace_id: str, names: Sequence[str]) -> Mapping[str, Entry | None]:
        self.asked.append((namespace_id, list(names)))
        self.during_read()
        return {name: self.held.get(name) for name in names}

    def exact_get(self, namespace_id: str, name: str) -> Entry | None:
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


def now(chunk: CleanupChunk) -> CleanupChunk:
    return CleanupChunk.objects.get(pk=chunk.pk)


def monotonic() -> float:
    return float(vars(sending)["time"].monotonic())
