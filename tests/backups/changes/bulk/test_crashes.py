"""The worker dies at every commit and every outside call of a bulk change: each key is written once and read back."""

import pytest

from backups.changes.bulk import requests as bulk_requests
from backups.changes.bulk.start import BulkWish
from backups.models import Restore
from kvops import clock, timing
from tests import make
from tests.backups.changes.bulk import helpers as bulk_helpers
from tests.backups.changes.bulk.helpers import DAY, NAMES
from tests.backups.changes.deaths import DeathPoints, boundaries, deaths, work_with_a_death

__all__ = ["boundaries"]
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(1800)]


def test_wherever_the_worker_dies_each_key_is_written_once(
    estate: make.Estate, people: make.People, boundaries: DeathPoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "STALE", 0.05)
    bulk_helpers.ready(estate)
    until = int(clock.now().timestamp()) + DAY
    wish = BulkWish(Restore.Operation.EXPIRATION, until=until)
    restore = bulk_helpers.approved(bulk_helpers.prepared(estate.qa, people, wish), people)
    bulk_requests.start(restore, by=people.operator)

    def die(at: int) -> None:
        work_with_a_death()
        ended = bulk_helpers.fresh(restore)
        assert (ended.state, ended.written, ended.left) == (Restore.State.DONE, 3, 0), at
        assert {bulk_helpers.held(estate, estate.qa)[name].expiration for name in NAMES} == {until}, at
        assert len(estate.cloudflare.calls("bulk_put")) == 1, at

    assert deaths(estate, boundaries, die) > 20
