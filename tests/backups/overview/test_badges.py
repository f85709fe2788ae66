"""The numbers of the menu about restores, changes, retention, to-dos and storage."""

from datetime import timedelta

import pytest

from backups.models import StoredObject
from kvops.cloudflare import KvEntry
from kvops.models import Person, RunbookTodo
from kvops.runbook import todo
from kvops.site import badges
from kvops.supervision import heartbeats
from tests import make
from tests.backups.changes import helpers as change_helpers
from tests.backups.changes.bulk import helpers as bulk_helpers
from tests.backups.integrity import differing
from tests.backups.restores import helpers as restore_helpers
from tests.backups.retention import requesting
from tests.kvops.runbook.test_todo import follow_up

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _everything_runs(db: None) -> None:
    for name in ("sweep", "worker", "canary"):
        heartbeats.beat(name)


def shown(person: Person, entry: str) -> list[tuple[int, bool]]:
    """The numbers beside an entry, each with whether it is red."""
    found = badges.of(person.logins.get())
    return [(one.count, one.alarm) for one in found.get(entry, [])]


def test_an_approved_restore_waits_for_the_operators_but_for_its_approver(
    estate: make.Estate, people: make.People
) -> None:
    restore_helpers.put(estate, estate.qa, KvEntry("master:1", b"1", None, None))
    backup = restore_helpers.verified_backup(estate.qa)
    restore_helpers.wipe(estate, estate.qa)
    restore = restore_helpers.prepared(backup, people)
    assert shown(people.operator, "restores") == []
    restore_helpers.approved(restore, people)
    assert shown(people.operator, "restores") == [(1, False)]
    assert shown(people.auditor, "restores") == []


@pytest.mark.usefixtures("encrypting")
def test_an_approved_change_waits_for_the_operators(estate: make.Estate, people: make.People) -> None:
    change = change_helpers.proposed(change_helpers.ready(estate).qa, people)
    assert shown(people.operator, "changes") == []
    change_helpers.approved(change, people)
    assert shown(people.operator, "changes") == [(1, False)]


def test_an_approved_bulk_change_waits_at_the_changes(estate: make.Estate, people: make.People) -> None:
    restore = bulk_helpers.prepared(bulk_helpers.ready(estate).qa, people)
    assert shown(people.operator, "changes") == []
    bulk_helpers.approved(restore, people)
    assert shown(people.operator, "changes") == [(1, False)]
    assert shown(people.operator, "restores") == []


def test_an_approved_prune_request_waits_at_retention(estate: make.Estate, people: make.People) -> None:
    requesting.expired(estate, 40)
    assert shown(people.operator, "retention") == []
    requesting.approved(estate, people)
    assert shown(people.operator, "retention") == [(1, False)]


def test_the_overdue_to_dos_of_a_person_are_one_red_number(estate: make.Estate, people: make.People) -> None:
    today = todo.today()
    for due in (today - DAY, today):
        for owner in (people.auditor, people.operator):
            RunbookTodo.objects.create(entry=1, text="x", owner=owner, due=due, created_by=owner)
    follow_up(estate.qa.environment, people, "a.ts", today - DAY)
    assert shown(people.auditor, "todos") == [(2, True)]
    assert shown(people.operator, "todos") == [(1, True)]


def test_a_case_whose_day_is_over_counts_as_an_overdue_to_do(estate: make.Estate, people: make.People) -> None:
    case = differing.assigned(differing.failed(estate), people.operator2, people.operator)
    assert shown(people.operator2, "todos") == []
    differing.let_it_be_late(case)
    assert shown(people.operator2, "todos") == [(1, True)]
    assert shown(people.operator, "todos") == []


@pytest.mark.parametrize(("status", "told"), [("missing", [(1, True)]), ("changed", [(1, True)]), ("unknown", [])])
def test_a_bucket_that_differs_from_its_backups_is_red(
    estate: make.Estate, people: make.People, status: str, told: list[tuple[int, bool]]
) -> None:
    requesting.expired(estate, 40)
    assert shown(people.auditor, "storage") == []
    StoredObject.objects.update(status=status)
    assert shown(people.auditor, "storage") == told
