"""Counts of the door that no test leaves to the next one."""

import pytest

from backups.worker_expiry import strangers


@pytest.fixture(autouse=True)
def no_calls_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rule of another test may have the same number, and no minute ends within a test."""
    monkeypatch.setattr(strangers, "_period", lambda _seconds: 1)
    strangers.forget()
