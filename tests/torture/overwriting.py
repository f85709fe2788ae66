"""Judges what a restore wrote: over what, what it had been told of that, and whether that was copied first."""

import json
from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from hashlib import sha256
from http import HTTPStatus

from backups.models import Generation, Restore, RestoreEntry
from kvops import timing
from tests.fakes.cloudflare import ApiCall
from tests.fakes.cloudflare_api import Answered
from tests.fakes.http import Request
from tests.fakes.namespaces import Item
from tests.torture import contents
from tests.torture.cleanup_ground import CleanupGround

Outcome = RestoreEntry.Outcome
ROUTES = ("bulk_put", "put_value")
GAP = timing.READ_FRESH + timing.REQUEST_TIMEOUT
"""Seconds from the oldest read a write relies on until the write has its effect, at most."""

LEFT = (Outcome.VALUE, Outcome.METADATA, Outcome.EXPIRATION, Outcome.SENSITIVE, Outcome.CHANGED)


class OverwriteJudge:
    """Watches the writes from now on. `copies` is what the namespace held when it was copied."""

    def __init__(self, here: CleanupGround, backups: Mapping[str, Item]) -> None:
        self._here, self._backups = here, backups
        self._asked: list[int] = []
        for route in ROUTES:
            here.cloudflare.hook(route, self._note)

    def _note(self, _request: Request) -> None:
        """What the bucket had been asked when a write arrived."""
        self._asked.append(len(self._here.estate.s3.journal))

    def verdict(self, restore: Restore) -> Counter[str]:
        """Counts of what was written over what, and of names that are reported otherwise than the journal shows."""
        calls = [call for call in self._here.cloudflare.journal if call.route in ROUTES]
        counts, wrote, gaps = Counter[str](), Counter[str](), [0.0]
        for call, asked in zip(calls, self._asked, strict=True):
            protected = self._protected(restore, asked)
            for name in call.written:
                wrote[name] += 1
                counts.update([self._of_write(call, name, protected)])
                gaps.append(call.at - call.read[name].at if name in call.read else 0.0)
        counts |= Counter(writes=wrote.total(), gap_ms=int(1000 * max(gaps)))
        for name, outcome, compared in restore.entries.values_list("name", "outcome", "compared"):
            held = self._held(name)
            counts["names"] += 1
            right = compared in {"", held} and _holds(Outcome(outcome), held, wrote[name])
            counts["wrong"] += not right
        return counts

    def _of_write(self, call: ApiCall, name: str, protected: Mapping[str, Item]) -> str:
        """What one written name is to be counted as."""
        history = self._here.kv.states(name)
        index = bisect_right(history, call.at, key=lambda state: state[0]) - 1
        since, before = history[index - 1] if index else (0.0, None)
        backup = self._backups.get(name)
        if history[index][1] != backup:
            return "not_the_backup"
        if before is None or (before.expiration is not None and before.expiration <= call.at):
            return "was_absent"
        if before == backup:
            return "was_equal"
        if protected.get(name) == before:
            return "overwritten"
        if _told(call.read.get(name)) != _told(before) and call.at - since <= GAP:
            return "within_the_gap"
        return "destroyed"

    def _protected(self, restore: Restore, asked: int) -> Mapping[str, Item]:
        """What may be overwritten: approved, in a copy, and that read back before so many calls to the bucket."""
        safety = restore.safety
        if restore.on_conflict != Restore.OnConflict.OVERWRITE or safety is None:
            return {}
        if safety.status != Generation.Status.VERIFIED or not self._read_back(safety, asked):
            return {}
        approved = set(restore.entries.filter(found__in=RestoreEntry.CONFLICTS).values_list("name", flat=True))
        held = contents.of(safety, self._here.estate.s3.objects)
        return {name: item for name, item in held.items() if name in approved}

    def _read_back(self, safety: Generation, asked: int) -> bool:
        bucket = self._here.estate.s3
        calls = [(call.method, call.key) for call in bucket.journal[:asked] if call.status == HTTPStatus.OK]
        if ("PUT", safety.manifest_key) not in calls:
            return False
        since = calls[calls.index(("PUT", safety.manifest_key)) :]
        parts = json.loads(bucket.objects[safety.manifest_key])["parts"]
        return all(("GET", part["key"]) in since for part in parts)

    def _held(self, name: str) -> str:
        """What the last read of a name said of it, against the copy."""
        last = _told(self._here.cloudflare.last_read(self._here.kv.id, name))
        if last is None:
            return "absent"
        return "equal" if last == _told(self._backups[name]) else "different"


def _told(of: Answered | Item | None) -> tuple[str, int | None, str | None] | None:
    """What a read says of a key, or said; None when it is not there."""
    value = sha256(of.data).hexdigest() if isinstance(of, Item) else of and of.value
    return (value, of.expiration, of.metadata) if of and value else None


def _holds(outcome: RestoreEntry.Outcome, held: str, wrote: int) -> bool:
    """Whether what is reported of a name is what happened to it."""
    match outcome:
        case Outcome.WRITTEN:
            return wrote > 0 and held == "equal"
        case Outcome.EQUAL:
            return wrote == 0 and held == "equal"
        case Outcome.DIFFERENT:
            return held == "different"
        case Outcome.FAILED:
            return held != "equal"
        case Outcome.PLANNED | Outcome.STOPPED:
            return wrote == 0
    return outcome in LEFT and wrote == 0
