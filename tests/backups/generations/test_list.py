"""The list of backups: a day in the past, the previous backup, the dates, and a bound for queries and size."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from audit.actions import Action
from backups.models import Comparison, Generation
from tests import make
from tests.audit.make import sql, triggers_off, write
from tests.backups.generations import helpers as generation_helpers
from tests.backups.generations.test_pages import backed_up, filled, numbers
from tests.backups.retention.backups_of_any_age import backup_of_age
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def page(client: Client, address: str = "/backups/") -> str:
    return " ".join(client.get(address).content.decode().split())


def test_a_day_shows_the_backups_that_could_be_restored_then(estate: make.Estate, operator: Client) -> None:
    filled(estate)
    verified = backed_up(estate, verify=False)
    generation_helpers.backup_of(estate)
    today = timezone.localdate()
    assert numbers(operator, f"?as_of={today}") == [verified.pk]
    assert numbers(operator, f"?as_of={today - timedelta(days=1)}") == []


def test_nobody_knows_what_can_be_restored_on_a_day_to_come(estate: make.Estate, operator: Client) -> None:
    filled(estate)
    backed_up(estate)
    address = f"?as_of={timezone.localdate() + timedelta(days=1)}"
    assert numbers(operator, address) == []
    assert "Choose a day up to today." in page(operator, f"/backups/{address}")


def told(action: Action, made: Generation, days: int) -> None:
    """An entry about a backup, of so many days ago."""
    write(action, subject=f"generation:{made.pk}")
    with triggers_off("audit_entry"):
        sql(
            "UPDATE audit_entry SET at = %s WHERE seq = (SELECT max(seq) FROM audit_entry)",
            timezone.now() - timedelta(days=days),
        )


@pytest.mark.parametrize("end", [Action.GENERATION_DELETING, Action.GENERATION_DAMAGED])
def test_a_backup_that_ended_since_is_shown_for_a_day_before(
    estate: make.Estate, operator: Client, end: Action
) -> None:
    made, today = backup_of_age(estate.qa, 5), timezone.localdate()
    told(Action.GENERATION_VERIFIED, made, 4)
    told(end, made, 1)
    for days, found in ((6, []), (4, [made.pk]), (2, [made.pk]), (0, [])):
        assert numbers(operator, f"?as_of={today - timedelta(days=days)}") == found


def test_the_newest_two_backups_are_compared_in_one_click(estate: make.Estate, operator: Client) -> None:
    filled(estate)
    first, other = backed_up(estate), backed_up(estate, "master:city:1")
    second = backed_up(estate)
    text = page(operator)
    assert f'value="backup:{first.pk}" formaction="/backups/{second.pk}/compare/start"' in text
    assert f'formaction="/backups/{other.pk}/compare/start"' not in text
    assert f'name="against" value="backup:{first.pk}"' in page(operator, f"/backups/{second.pk}/")
    answer = operator.post(f"/backups/{second.pk}/compare/start", {"against": f"backup:{first.pk}"})
    made = Comparison.objects.get()
    assert answer.headers["Location"] == f"/backups/{first.pk}/compare/{made.pk}/"
    assert (made.generation, made.other) == (first, second)


def test_the_comparison_begins_with_the_previous_backup_of_the_same_scope(
    estate: make.Estate, operator: Client
) -> None:
    filled(estate)
    first = backed_up(estate)
    backed_up(estate, "master:city:1")
    second = backed_up(estate)
    form = operator.get(f"/backups/{second.pk}/compare/").context["form"]
    assert form.initial["against"] == f"backup:{first.pk}"
