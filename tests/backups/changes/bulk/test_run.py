"""Bulk changes, written by the real client into the fake: exactly the approved keys, and only what was approved."""

import json
from dataclasses import replace

import pytest

from audit.models import Entry
from backups.models import BulkChange, Generation, Restore, RestoreEntry
from kvops.models import Key, Run
from tests import make
from tests.backups.changes.bulk import helpers as bulk_helpers
from tests.backups.changes.bulk.helpers import DAY, EXPIRY, MARK, NAMES, PAGES, Scope

pytestmark = pytest.mark.django_db
Outcome = RestoreEntry.Outcome


@pytest.fixture
def ready(estate: make.Estate) -> make.Estate:
    return bulk_helpers.ready(estate)


def test_each_key_gets_the_expiration_and_keeps_its_bytes_and_metadata(
    ready: make.Estate, people: make.People
) -> None:
    before = bulk_helpers.held(ready, ready.qa)
    restore = bulk_helpers.done(ready.qa, people)
    after, at = bulk_helpers.held(ready, ready.qa), restore.bulk.expiration
    earliest, latest = bulk_helpers.in_a_day()
    assert at is not None
    assert earliest <= at <= latest
    assert {name: replace(before[name], expiration=at) for name in NAMES} == {name: after[name] for name in NAMES}
    assert {name: before[name] for name in PAGES} == {name: after[name] for name in PAGES}
    assert (restore.written, restore.equal, restore.left) == (3, 0, 0)
