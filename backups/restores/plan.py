"""The plan of one chunk of a restore: the entries to write, and the others with their reasons."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from backups.generations.reader import Wanted
from backups.restores import chunks as restore_chunks
from kvops import timing
from kvops.cloudflare import KvEntry


@dataclass
class ChunkPlan:
    """The entries of a chunk to write, and the others with their reasons.

    `since` and `read_at` are right before the read.
    """

    since: float
    read_at: datetime
    safety_digests: Mapping[str, bytes]
    bulk: list[KvEntry] = field(default_factory=list)
    single: list[tuple[Wanted, KvEntry]] = field(default_factory=list)
    indexes: dict[str, int] = field(default_factory=dict)
    results: dict[int, restore_chunks.NameResult] = field(default_factory=dict)
    soon: set[str] = field(default_factory=set)
    """Names whose expiration is so close that Cloudflare may refuse them on arrival."""
    gap: float = 0.0
    """Seconds; the longest time so far from a read to the write that relied on it."""

    @property
    def until(self) -> float:
        """The latest time to begin a write that relies on the read."""
        return self.since + timing.READ_FRESH

    @property
    def old(self) -> bool:
        """Whether the read is too old for a write."""
        return time.monotonic() > self.until

    @property
    def names(self) -> list[str]:
        """All names to write, in the order of their bytes."""
        return sorted(self.indexes)
