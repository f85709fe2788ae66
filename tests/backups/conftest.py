"""What tests of copies share."""

from dataclasses import replace

import pytest

from kvops.models import Run
from kvops.operations import registry


@pytest.fixture
def not_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished copy stays as it is: what follows it is not what the test is about."""
    monkeypatch.setitem(registry.RUNS, Run.Kind.BACKUP, replace(registry.RUNS[Run.Kind.BACKUP], finished=()))
