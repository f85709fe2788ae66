"""Before a restore that stops at a conflict, each name is compared with its own entry of the backup."""

import pytest

from backups.generations.reader import Wanted
from backups.restores import run as restore_run
from kvops.cloudflare import KvEntry
from kvops.runs.outcomes import RunError
from tests.gate.test_restore_calls import Reading
from tests.gate.test_restore_keys import want


def entry(one: Wanted) -> KvEntry:
    return KvEntry(one.name, str(one.index).encode(), None, None)


@pytest.fixture
def reading(monkeypatch: pytest.MonkeyPatch) -> Reading:
    found = Reading()
    found.take = entry  # type: ignore[method-assign]
    monkeypatch.setattr(restore_run, "wanted", lambda _of, indexes: [want(index=index) for index in indexes])
    monkeypatch.setattr(restore_run, "reserve", lambda *_: None)
    return found


def test_each_name_is_compared_with_its_own_entry(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_run, "live_values", lambda *given: [(one, entry(one)) for one in given[2]])
    assert reading._look() is None


def test_the_entry_of_another_name_is_a_conflict(reading: Reading, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restore_run, "live_values", lambda *given: [(one, entry(want())) for one in given[2]])
    with pytest.raises(RunError, match="is there now and not as in the backup"):
        reading._look()
