"""The worker dies at every commit and every outside call of a change: it is written once, read back and erased."""

import pytest

from audit.models import Entry
from backups.changes import requests as change_requests
from backups.models import KeyChange
from tests import make
from tests.backups.changes import helpers as change_helpers
from tests.backups.changes.deaths import DeathPoints, boundaries, deaths, work_with_a_death
from tests.backups.changes.helpers import KEY

__all__ = ["boundaries"]

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting"), pytest.mark.timeout(1800)]


def test_wherever_the_worker_dies_the_key_is_written_once_and_the_proposal_is_erased(
    estate: make.Estate, people: make.People, boundaries: DeathPoints
) -> None:
    value = b'{"n":1}'
    change_helpers.ready(estate)
    assert change_helpers.held(estate, estate.qa, KEY) is not None
    change = change_helpers.approved(change_helpers.proposed(estate.qa, people, value=value), people)
    change_requests.start(change, by=people.operator)

    def die(at: int) -> None:
        work_with_a_death()
        ended = change_helpers.fresh(change)
        held = change_helpers.held(estate, estate.qa)
        assert (ended.outcome, held.data if held else None) == (KeyChange.Outcome.WRITTEN, value), at
        assert len(estate.cloudflare.calls("put_value")) == 1, at
        assert Entry.objects.filter(action="change.intended", subject=ended.subject).count() >= 1
        assert (ended.erased_at is not None, change_helpers.proposals(estate)) == (True, []), at

    assert deaths(estate, boundaries, die) > 30
