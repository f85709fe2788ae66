"""When the safety backup of a restore lets it write, and which digests a write relies on: without a row."""

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from backups.execution import presence
from backups.generations import start as generation_start
from backups.generations.scope import BackupRefused
from backups.models import GenerationEntry, Restore
from backups.restores import safety_backup
from kvops import clock, timing
from kvops.runs import driver as run_driver
from kvops.runs.outcomes import Again, RunError, TryLater

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = datetime(2026, 11, 30, tzinfo=UTC)
BACKS_UP = "Backing up the keys to be overwritten."
WAITS = "Waiting for the verified backup of the keys to overwrite."
FAILED = (
    "The keys to overwrite could not be backed up first: see backup 9. Nothing was written. Try its run again, then "
    "this."
)
UNREADABLE = (
    "'mail:a' could not be backed up first, because Cloudflare refuses its name. Nothing was written. Prepare another "
    "restore: it leaves this key as it is."
)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.setattr(timing, "STALE", 300.0)


class Rows:
    """Rows with these values; a filter takes those that have them."""

    def __init__(self, *rows: dict[str, object]) -> None:
        self.rows = rows

    def filter(self, **of: object) -> "Rows":
        least = of.pop("names__gt", None)
        found = [row for row in self.rows if all(row[name] == value for name, value in of.items())]
        return Rows(*[row for row in found if least is None or row["names"] > least])  # type: ignore[operator]

    def first(self) -> SimpleNamespace | None:
        return SimpleNamespace(**self.rows[0]) if self.rows else None

    def exists(self) -> bool:
        return bool(self.rows)


def safety_of(status: str, run: str = "succeeded", *, keys: int = 2, ago: float | None = 400.0, **entry: Any) -> Any:
    """A safety backup that was finished so many seconds ago; `entry` is one of its entries."""
    finished = None if ago is None else NOW - timedelta(seconds=ago)
    entries = Rows({"outcome": "kept", "name": "mail:b"}, *([{"name": "mail:a", **entry}] if entry else []))
    work = SimpleNamespace(state=run)
    return SimpleNamespace(pk=9, status=status, work=work, keys=keys, finished_at=finished, entries=entries)


def restore_of(safety: Any, overwritten: int = 2, **values: Any) -> Any:
    found = {"pk": 5, "safety": safety, "overwritten_backup": safety, "overwritten": overwritten, "chunks": Rows()}
    return SimpleNamespace(**{**found, "namespace": "namespace", **values})


class CheckpointLease:
    """Notes its checkpoints."""

    def __init__(self) -> None:
        self.actor, self.run, self.notes, self.within = (
            "actor",
            SimpleNamespace(started_by="person"),
            list[str](),
            False,
        )

    @contextmanager
    def checkpoint(self, *, note: str) -> "Iterator[None]":
        self.notes.append(str(note))
        yield


def back_up(restore: Any, lease: Any = None) -> Again | None:
    return safety_backup.back_up_first(restore, lease)


def refused(restore: Any) -> tuple[str, str]:
    with pytest.raises(RunError) as error:
        back_up(restore)
    return error.value.code, str(error.value)


# Waiting for it


@pytest.mark.parametrize(("ago", "wait"), [(0.0, 300.0), (299.0, 1.0), (300.0, None), (301.0, None), (None, None)])
def test_the_last_reads_start_five_minutes_after_the_backup(ago: float | None, wait: float | None) -> None:
    note = "Waiting: the last reads start five minutes after the backup."
    assert back_up(restore_of(safety_of("verified", ago=ago))) == (Again(wait, note) if wait else None)
    assert safety_backup.apart(None) is None


def test_the_safety_backup_and_not_the_backup_to_restore_is_some_minutes_old() -> None:
    restore = restore_of(safety_of("verified", ago=100.0), overwritten_backup=safety_of("verified"))
    found = back_up(restore)
    assert found is not None
    assert found.wait == 200.0


BACKED_UP = [
    (None, 0, True), (None, 1, False), (safety_of("verified"), 2, True), (safety_of("verified", keys=0), 2, True),
    (safety_of("partial", keys=0), 2, True), (safety_of("partial", keys=1), 2, False),
    (safety_of("damaged", keys=0), 2, False), (safety_of("complete"), 2, False), (safety_of("damaged"), 0, True),
]  # fmt: skip


@pytest.mark.parametrize(("safety", "overwritten", "held"), BACKED_UP)
def test_only_a_verified_backup_holds_the_keys_unless_there_are_none(safety: Any, overwritten: int, held: bool) -> None:
    assert safety_backup.is_backed_up(restore_of(safety, overwritten)) is held
    assert safety_backup.is_backed_up(restore_of(None, overwritten, overwritten_backup=safety)) is held


@pytest.mark.parametrize(
    ("status", "run"), [("damaged", "succeeded"), ("writing", "failed"), ("writing", "stopped"), ("complete", "failed")]
)
def test_a_backup_that_failed_ends_it_and_says_which(status: str, run: str) -> None:
    assert refused(restore_of(safety_of(status, run))) == ("no_safety_backup", FAILED)


@pytest.mark.parametrize("status", ["writing", "complete"])
def test_a_backup_that_is_under_way_is_waited_for(status: str) -> None:
    assert back_up(restore_of(safety_of(status, "running"))) == Again(timing.RETRY, WAITS)


@pytest.mark.parametrize("status", ["verified", "partial", "writing"])
def test_a_key_that_cannot_be_read_ends_it_and_is_named(status: str) -> None:
    assert refused(restore_of(safety_of(status, outcome="unreadable"))) == ("no_safety_backup", UNREADABLE)
    assert back_up(restore_of(safety_of("verified", outcome="vanished"))) is None


# Making it


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The backups that were asked for, and the rows that got them."""
    found: list[Any] = []

    def create(*what: object, **how: object) -> str:
        found.append((what, how))
        return "generation"

    def filtered(**of: object) -> SimpleNamespace:
        return SimpleNamespace(update=lambda **values: found.append((of, values)))

    monkeypatch.setattr(generation_start, "create_backup", create)
    monkeypatch.setattr(Restore, "objects", SimpleNamespace(filter=filtered))
    return found


def named(monkeypatch: pytest.MonkeyPatch, restore: Any, *names: str) -> None:
    rows = SimpleNamespace(first=lambda: names[0] if names else None, last=lambda: names[-1] if names else None)
    monkeypatch.setattr(safety_backup, "conflicting", lambda of: rows if of is restore else None)


@pytest.mark.parametrize("safety", [None, safety_of("partial")])
@pytest.mark.parametrize(
    "wanted",
    [(("mail:a", "mail:b"), "mail:", False), (("mail:a",), "mail:a", True), ((), "", True), (("a", "ab"), "a", False),
     (("abx", "acx"), "a", False)],
)  # fmt: skip
def test_another_backup_is_made_of_what_the_names_have_in_common(
    monkeypatch: pytest.MonkeyPatch, made: list[Any], safety: Any, wanted: tuple[tuple[str, ...], str, bool]
) -> None:
    (names, prefix, exact), restore, lease = wanted, restore_of(safety), CheckpointLease()
    named(monkeypatch, restore, *names)
    assert back_up(restore, lease) == Again(timing.RETRY, BACKS_UP)
    asked = {
        "prefixes": [prefix], "purpose": "restore", "actor": "actor", "person": "person", "restore": restore,
        "exact": exact,
    }  # fmt: skip
    assert made == [(("namespace",), asked), ({"pk": 5, "state": "writing"}, {"safety": "generation"})]
    assert lease.notes == [BACKS_UP]


@pytest.mark.parametrize("error", [BackupRefused("not now"), run_driver.AlreadyOpen("not now")])
def test_a_backup_that_cannot_begin_is_tried_later(
    monkeypatch: pytest.MonkeyPatch, made: list[Any], error: Exception
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    restore = restore_of(None)
    named(monkeypatch, restore, "mail:a")
    monkeypatch.setattr(generation_start, "create_backup", refuse)
    with pytest.raises(TryLater, match=r"^not now$"):
        back_up(restore, CheckpointLease())
    assert made == []


# Relying on it


@pytest.mark.parametrize(("sent", "words"), [(0, "Nothing was written."), (1, "Nothing more was written.")])
def test_it_is_verified_and_in_place_before_a_write(monkeypatch: pytest.MonkeyPatch, sent: int, words: str) -> None:
    asked, answers = list[object](), [True, False]

    def verify(*what: object) -> bool:
        asked.append(what)
        return answers.pop(0)

    monkeypatch.setattr(presence, "verify_if_needed", verify)
    monkeypatch.setattr(presence, "insist_in_place", lambda *what: asked.append(what))
    safety, lease = safety_of("verified"), CheckpointLease()
    restore: Any = restore_of(None, overwritten_backup=safety, chunks=Rows({"names": 0}, {"names": sent}))
    assert [safety_backup.verify_if_needed(restore, lease) for _ in range(2)] == [True, False]  # type: ignore[arg-type]
    safety_backup.insist_in_place(restore, lease)  # type: ignore[arg-type]
    assert asked == [(safety, lease, words)] * 3


@pytest.mark.parametrize("safety", [None, safety_of("partial", keys=0), safety_of("damaged")])
def test_without_a_verified_one_nothing_is_looked_at(monkeypatch: pytest.MonkeyPatch, safety: Any) -> None:
    monkeypatch.setattr(presence, "verify_if_needed", lambda *_: pytest.fail("verified"))
    monkeypatch.setattr(presence, "insist_in_place", lambda *_: pytest.fail("asked for"))
    lease: Any = CheckpointLease()
    assert safety_backup.verify_if_needed(restore_of(safety), lease) is True
    safety_backup.insist_in_place(restore_of(safety), lease)


def test_only_kept_names_of_this_backup_have_a_digest_to_rely_on(monkeypatch: pytest.MonkeyPatch) -> None:
    safety, wanted = safety_of("verified"), [SimpleNamespace(name="mail:a"), SimpleNamespace(name="mail:b")]

    def filtered(**of: object) -> SimpleNamespace:
        assert of == {"generation": safety, "outcome": "kept", "name__in": ["mail:a", "mail:b"]}
        rows = {("name", "digest"): [("mail:a", memoryview(b"d"))]}
        return SimpleNamespace(values_list=lambda *columns: rows[columns])

    monkeypatch.setattr(GenerationEntry, "objects", SimpleNamespace(filter=filtered))
    found: Any = restore_of(None, overwritten_backup=safety)
    assert safety_backup.safety_digests(found, wanted) == {"mail:a": b"d"}  # type: ignore[arg-type]
    found.overwritten_backup = None
    assert safety_backup.safety_digests(found, wanted) == {}  # type: ignore[arg-type]
