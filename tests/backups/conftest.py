"""What tests of copies share."""

import pytest

from kvops.models import Run
from kvops.runs import kinds


@pytest.fixture
def not_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """A finished copy stays as it is: what follows it is not what the test is about."""
    kind = kinds.KINDS[Run.Kind.BACKUP]
    monkeypatch.setitem(kinds.KINDS, Run.Kind.BACKUP, kinds.RunKind(kind.handler))
