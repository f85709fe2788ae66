"""What tests of copies share."""

import pytest

from kvops import runs
from kvops.models import Run


@pytest.fixture
def not_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished copy stays as it is: what follows it is not what the test is about."""
    kind = runs.KINDS[Run.Kind.BACKUP]
    monkeypatch.setitem(runs.KINDS, Run.Kind.BACKUP, runs.Kind(kind.handler))
