"""Whether KVOps' own operations explain the difference of one key between two backups. Pure, without Django's tables.

The operations are followed in their order, from the entry of the earlier backup to that of the newer one. Each knows
the digest of the entry that it left, and often of the entry that it found. If an operation found another entry than the
one before left, somebody else wrote in between.

A backup is read over some time, and KV may answer with an old entry for a while. So an operation near that time may be
in the backup or not: it is optional. An operation that may have written nothing is optional too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class KeyContent:
    """The content of one key: keyed digests of its entry by the id of the key, and its expiration in Unix seconds.

    Without any digest the content is unknown. An absent key is `ABSENT`.
    """

    digests: Mapping[str, str] = field(default_factory=dict)
    expiration: int | None = None
    absent: bool = False

    def may_be(self, other: "KeyContent") -> bool:
        """Whether both may be the same: they do not differ under any key that both were digested with."""
        if self.absent or other.absent:
            return (self.absent or not self.digests) and (other.absent or not other.digests)
        common = self.digests.keys() & other.digests.keys()
        return all(self.digests[key] == other.digests[key] for key in common)

    def expired(self, at: datetime) -> bool:
        """Whether the entry had expired at that time."""
        return self.expiration is not None and self.expiration <= at.timestamp()


UNKNOWN = KeyContent()
ABSENT = KeyContent(absent=True)


@dataclass(frozen=True, slots=True)
class OwnOperation:
    """An operation of KVOps on one key: the time in which it may have acted, the content that it found and left."""

    name: str
    begun_at: datetime
    ended_at: datetime
    after: KeyContent
    before: KeyContent = UNKNOWN
    certain: bool = True


@dataclass(frozen=True, slots=True)
class Between:
    """The time between two backups: the end of reading the earlier one, and the begin and end of the newer one."""

    since: datetime
    until: datetime
    end: datetime


def explained(earlier: KeyContent, operations: Iterable[OwnOperation], newer: KeyContent, between: Between) -> bool:
    """Whether the operations, and an expiration, may have led from the earlier content to the newer one."""
    states: Sequence[KeyContent] = [earlier]
    for operation in sorted(operations, key=lambda one: (one.ended_at, one.begun_at)):
        near = operation.begun_at <= between.since or operation.ended_at >= between.until
        fits = any(_leads(state, operation) for state in states)
        skipped = states if near or not operation.certain else []
        states = [*skipped, *([operation.after] if fits else [])]
    return any(state.may_be(newer) or (newer.absent and state.expired(between.end)) for state in states)


def _leads(state: KeyContent, operation: OwnOperation) -> bool:
    """Whether the operation may have found this content, or nothing because it had expired."""
    return state.may_be(operation.before) or (operation.before.absent and state.expired(operation.ended_at))
