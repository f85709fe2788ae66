"""What tests of copies share."""

import pytest

from kvops.models import Run
from kvops.runs import lease as leases


@pytest.fixture
def not_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished copy stays as it is: what follows it is not what the test is about."""
    kind = leases.KINDS[Run.Kind.BACKUP]
    monkeypatch.setitem(leases.KINDS, Run.Kind.BACKUP, leases.Kind(kind.handler))
