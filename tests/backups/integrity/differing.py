"""A dataset with a check that found differences, for the tests about what follows."""

from datetime import timedelta

from backups.integrity import cases
from backups.models import Check, Difference, DifferenceCase, Generation
from kvops.models import Person
from kvops.runbook import todo
from tests import make
from tests.backups.generations import helpers as generation_helpers
from tests.backups.restores import helpers as restore_helpers

DAY = timedelta(days=1)


def put(estate: make.Estate, id_: str, name: object, **more: object) -> None:
    """A key of the dataset in QA's KV."""
    made = generation_helpers.master("city", id_, name, **more)
    estate.put(estate.qa, made.name, made.data)


def check_of(generation: Generation) -> Check:
    """A finished check of the backup."""
    found = make.check(generation)
    make.work()
    found.refresh_from_db()
    return found


def failed(estate: make.Estate) -> Check:
    """City 1 is not in D1, city 2 has another name there, and city 3 has no key. City 4 agrees."""
    generation_helpers.dataset()
    generation_helpers.rows(estate, ("city", "2", "Osaka"), ("city", "3", "Kobe"), ("city", "4", "Otsu"))
    for id_, name in (("1", "Kyoto"), ("2", "Nara"), ("4", "Otsu")):
        put(estate, id_, name)
    found = check_of(restore_helpers.verified_backup(estate.qa))
    assert found.differences == 3
    return found


def agree(estate: make.Estate) -> None:
    """Bring D1 into agreement with KV."""
    database = generation_helpers.d1(estate)
    database.execute("PRAGMA query_only = 0")
    database.execute("DELETE FROM masters")
    generation_helpers.rows(estate, ("city", "1", "Kyoto"), ("city", "2", "Nara"), ("city", "4", "Otsu"))


def only(check: Check, kind: str) -> Difference:
    """The one difference of this kind."""
    return check.found.get(kind=kind)


def assigned(check: Check, owner: Person, by: Person) -> DifferenceCase:
    """A case of the check that is due in a week."""
    return cases.assign(check, owner=owner, due=todo.today() + 7 * DAY, note="", by=by)


def let_it_be_late(case: DifferenceCase) -> None:
    """Let the day of the case be over."""
    DifferenceCase.objects.filter(pk=case.pk).update(due=todo.today() - 2 * DAY)
