"""A family that a clean-up emptied: the overview counts it apart, so that a success does not look like a loss."""

import pytest
from django.test import Client

from kvops.overview.board import Board
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.retention.backups_of_any_age import backup_of_age
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
SENTENCE = "1 more family holds no keys."


@pytest.fixture
def auditor(estate: make.Estate, people: make.People) -> Client:
    """A reader, where `master:` is expected to have backups, and has them."""
    make.change_families("master:", interval_hours=168, grace_hours=24)
    for namespace in (estate.qa, estate.production):
        backup_of_age(namespace, 3)
    return signed_in(people.auditor)


def board(client: Client) -> Board:
    found: Board = client.get("/").context["overview"].board
    return found


def test_a_family_without_keys_is_counted_apart(auditor: Client, estate: make.Estate) -> None:
    assert [str(line.family) for line in board(auditor).restorable] == ["master:*"]
    cleanup_helpers.scan(estate.qa, estate.production)
    emptied = board(auditor)
    assert (len(emptied.restorable), [str(line.family) for line in emptied.emptied]) == (0, ["master:*"])
    assert SENTENCE in " ".join(auditor.get("/").text.split())


def test_a_family_with_keys_anywhere_is_not_counted_apart(auditor: Client, estate: make.Estate) -> None:
    estate.put(estate.production, "master:a:1")
    cleanup_helpers.scan(estate.qa, estate.production)
    assert SENTENCE not in " ".join(auditor.get("/").text.split())
    assert not board(auditor).emptied
