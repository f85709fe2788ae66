"""Putting keys back. `tests.judge` looks at the journal of the fake Cloudflare after every test."""

import pytest

from backups.models import Restore
from kvops import timing
from kvops.cloudflare import Entry
from tests import make
from tests.backups import restoring

pytestmark = pytest.mark.django_db
State = Restore.State


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


A, B, C = (Entry(f"master:a:{n}", f"value {n}".encode(), None, None) for n in "123")


def test_what_was_lost_is_there_again(estate: make.Estate, people: make.People) -> None:
    restoring.put(estate, estate.qa, A, B, C)
    generation = restoring.copy(estate.qa)
    before = restoring.held(estate, estate.qa)
    restoring.wipe(estate, estate.qa)
    restore = restoring.done(generation, people)
    assert restoring.held(estate, estate.qa) == before
    assert (restore.state, restore.written, restore.equal, restore.left) == (State.DONE, 3, 0, 0)
