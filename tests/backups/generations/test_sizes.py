"""The sizes of values in the list of keys, as verified backups hold them."""

import pytest

from kvops.models import Category, Key
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.outside_changes.helpers import backed_up
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
LIST = "/keys/qa/SETTINGS/"


def sizes(people: make.People) -> dict[str, int | None]:
    """The size that each row of the list shows."""
    rows = signed_in(people.operator).get(LIST).context["rows"]
    return {row.key.name: row.size for row in rows}


def test_a_key_that_a_verified_backup_holds_shows_its_size(estate: make.Estate, people: make.People) -> None:
    for name in ("master:a:1", "mastercache:1"):
        estate.put(estate.qa, name, b"1234567")
    cleanup_helpers.scan(estate.qa)
    assert set(sizes(people).values()) == {None}
    backed_up(estate, "master:")
    assert sizes(people) == {"master:a:1": 7, "mastercache:1": None}
    assert "Size in the backup" in signed_in(people.operator).get(LIST).content.decode()


def test_a_setting_shows_no_size_even_if_a_backup_in_the_clear_holds_it(
    estate: make.Estate, people: make.People
) -> None:
    estate.put(estate.qa, "master:a:1", b"1234567")
    cleanup_helpers.scan(estate.qa)
    backed_up(estate, "master:")
    make.change_families("master:", category=Category.SETTINGS)
    Key.objects.update(category=Category.SETTINGS)  # as the next scan finds it
    assert sizes(people) == {"master:a:1": None}
    assert "Size in the backup" not in signed_in(people.operator).get(LIST).content.decode()
