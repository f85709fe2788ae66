"""When a backup is verified again within a run, and what happens if it is damaged: without a row or an object."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from backups.bucket import access as bucket_access
from backups.execution import presence
from kvops import clock, timing
from kvops.refusals import Sentence
from kvops.runs.outcomes import RunError

NOW = datetime(2026, 11, 30, tzinfo=UTC)
LEASE: Any = object()
DAMAGED = (
    "Backup 7 was verified again and is damaged. It lacks a part. Nothing was written. If its objects can be put back, "
    "verify it and try again."
)
READ = ["status", "problem", "problem_sentence", "verified_at"]


class Verification:
    """Notes how the backup was verified; `over` is the answer of its step."""

    def __init__(self) -> None:
        self.done, self.over, self.open = list[Any](), True, list[str]()

    def __call__(self, *given: object, within_another_run: bool) -> "Verification":
        assert self.open == ["errors", "store"]
        self.done.append((*given, within_another_run))
        return self

    def step(self) -> bool:
        return self.over


@pytest.fixture
def verification(monkeypatch: pytest.MonkeyPatch) -> Verification:
    found = Verification()

    @contextmanager
    def opened(name: str, given: object = None) -> Iterator[object]:
        found.open.append(name)
        yield given
        found.open.remove(name)

    monkeypatch.setattr(clock, "now", lambda: NOW)
    monkeypatch.setattr(timing, "VERIFIED_FRESH", 60.0)
    monkeypatch.setattr(bucket_access, "errors_for_a_run", lambda: opened("errors"))
    monkeypatch.setattr(bucket_access, "store_of", lambda generation: opened("store", f"store of {generation.pk}"))
    monkeypatch.setattr(presence, "ReadBack", found)
    monkeypatch.setattr(presence, "_written", lambda generation: generation.known)
    return found


def backup(verification: Verification, *, ago: float = 59.0, known: tuple[str, ...] = ("m", "p")) -> Any:
    """A backup of two objects; those of `known` have their ETag."""

    def read_again(*, fields: list[str]) -> None:
        verification.done.append(fields)

    return SimpleNamespace(
        pk=7, verified_at=NOW - timedelta(seconds=ago), known=dict.fromkeys(known, (1, "etag")),
        every_object=lambda: ["m", "p"], refresh_from_db=read_again, status="verified",
        why=Sentence("It lacks a part."),
    )  # fmt: skip


def verify(generation: Any) -> bool:
    return presence.verify_if_needed(generation, LEASE, "Nothing was written.")


def test_a_backup_of_today_whose_objects_are_known_is_believed(verification: Verification) -> None:
    assert verify(backup(verification)) is True
    assert verification.done == []


@pytest.mark.parametrize("values", [{"ago": 61.0}, {"known": ("m",)}, {"known": ("p",)}, {"known": ()}])
@pytest.mark.parametrize("over", [True, False])
def test_any_other_is_verified_within_the_run(verification: Verification, values: dict[str, Any], over: bool) -> None:
    generation, verification.over = backup(verification, **values), over
    assert verify(generation) is over
    assert verification.done == [(generation, LEASE, "store of 7", True), READ]


@pytest.mark.parametrize("status", ["damaged", "complete"])
def test_a_damaged_backup_ends_the_run_once_it_was_read(verification: Verification, status: str) -> None:
    generation = backup(verification, ago=61.0)
    generation.status, verification.over = status, False
    assert verify(generation) is False
    verification.over = True
    with pytest.raises(RunError) as error:
        verify(generation)
    assert (error.value.code, str(error.value)) == ("backup_damaged", DAMAGED)
