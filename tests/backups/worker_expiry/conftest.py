"""Counts of the door that no test leaves to the next one."""

import pytest

from backups.worker_expiry import strangers


@pytest.fixture(autouse=True)
def no_calls_before() -> None:
    """The rule of another test may have the same number."""
    strangers.forget()
