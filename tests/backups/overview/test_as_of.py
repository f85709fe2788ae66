"""The overview as of a past day: what could be restored then, and whether its backup still exists."""

from datetime import date, timedelta

import pytest
from django.db.models.functions import Now

from backups.models import Generation
from kvops.models import Family, Person, Run, Scan, ScanCount
from kvops.overview.board import FamilyCell
from kvops.runbook import todo
from tests import make
from tests.backups.retention.backups_of_any_age import backup_of_age
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


def day(ago: int) -> date:
    return todo.today() - timedelta(days=ago)


def masters(person: Person, ago: int) -> FamilyCell:
    """The cell of `master:` in QA as of a day."""
    answer = signed_in(person).get("/", {"as_of": day(ago).isoformat()})
    assert answer.status_code == 200
    lines = answer.context["overview"].board.lines
    cell: FamilyCell = next(line.cells[0] for line in lines if str(line.family) == "master:*")
    return cell


def test_the_newest_backup_of_that_day_counts_and_no_later_one(estate: make.Estate, people: make.People) -> None:
    old, new = backup_of_age(estate.qa, 20), backup_of_age(estate.qa, 3)
    found = [cell.backup.pk if (cell := masters(people.auditor, ago)).backup else None for ago in (25, 10, 1)]
    assert found == [None, old.pk, new.pk]


def test_a_backup_that_is_gone_today_could_be_restored_then(estate: make.Estate, people: make.People) -> None:
    old = backup_of_age(estate.qa, 20)
    with make.past_the_triggers():
        Generation.objects.filter(pk=old.pk).update(status="deleted", deleted_at=Now() - timedelta(days=5))
    then, after = masters(people.auditor, 10).backup, masters(people.auditor, 2).backup
    assert then is not None
    assert (then.pk, then.fate) == (old.pk, "deleted")
    assert after is None
    page = " ".join(signed_in(people.auditor).get("/", {"as_of": day(10).isoformat()}).text.split())
    assert "For 0 of them, these backups still exist today." in page


def test_a_backup_that_was_never_verified_does_not_count(estate: make.Estate, people: make.People) -> None:
    backup_of_age(estate.qa, 20, status="complete")
    assert masters(people.auditor, 10).backup is None


def test_a_backup_that_still_exists_says_so(estate: make.Estate, people: make.People) -> None:
    backup_of_age(estate.qa, 20)
    backup = masters(people.auditor, 10).backup
    assert backup is not None
    assert backup.fate == ""
    assert "still exists" in signed_in(people.auditor).get("/", {"as_of": day(10).isoformat()}).text


@pytest.mark.parametrize("wrong", ["2026-13-01", "yesterday", "20261101"])
def test_a_day_that_is_none_is_refused_with_its_form(people: make.People, wrong: str) -> None:
    answer = signed_in(people.auditor).get("/", {"as_of": wrong})
    assert answer.status_code == 422
    assert "Write the day as YYYY-MM-DD, such as 2026-11-20." in answer.text


def test_a_day_to_come_is_refused(people: make.People) -> None:
    answer = signed_in(people.auditor).get("/", {"as_of": day(-1).isoformat()})
    assert answer.status_code == 422
    assert "Choose a day up to today." in answer.text


def test_without_a_day_the_page_is_of_now(people: make.People) -> None:
    assert signed_in(people.auditor).get("/", {"as_of": ""}).status_code == 200


def counted(estate: make.Estate, ago: int, *, keys: int) -> None:
    """A scan of QA so many days ago, with this many keys of `master:`."""
    at = Now() - timedelta(days=ago)
    run = Run.objects.create(kind="scan", subject=f"x:{ago}", label="x", state="succeeded", finished_at=at)
    scan = Scan.objects.create(namespace=estate.qa, run=run, completed_at=at)
    family = Family.objects.get(pattern="master:")
    ScanCount.objects.create(scan=scan, category="legacy", family=family, pattern="master:*", keys=keys)


def sentence(person: Person, ago: int) -> str:
    """The heading and the line under it, as of a day."""
    page = " ".join(signed_in(person).get("/", {"as_of": day(ago).isoformat()}).text.split())
    return page.partition("<h1")[2].partition("The families are")[0]


def test_a_family_without_keys_today_counts_for_a_day_with_a_backup(estate: make.Estate, people: make.People) -> None:
    backup_of_age(estate.qa, 20)
    backup_of_age(estate.production, 20)
    before = sentence(people.auditor, 10)
    for ago in (12, 0):
        counted(estate, ago, keys=0)
    assert masters(people.auditor, 10).expected
    assert "For 1 of them" in before
    assert "For 1 of them" in sentence(people.auditor, 10)


def test_keys_of_that_day_without_a_backup_count_although_they_are_gone(
    estate: make.Estate, people: make.People
) -> None:
    make.change_families("master:", interval_hours=24, grace_hours=12)
    counted(estate, 12, keys=7)
    counted(estate, 0, keys=0)
    assert [masters(people.auditor, ago).expected for ago in (10, 0)] == [True, False]
