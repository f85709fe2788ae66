"""A name that Cloudflare's edge refuses in an address is never written over, and holds up no restore."""

import pytest

from backups.models import Generation
from backups.restores import requests as restore_requests
from backups.restores.moves import RestoreRefused
from kvops import timing
from kvops.cloudflare import KvEntry
from tests import make
from tests.backups.restores import helpers as restore_helpers
from tests.backups.restores.helpers import Policy
from tests.fakes.http import Request

pytestmark = pytest.mark.django_db
NAME = "master:a:..."
NAMES = ("master:a:0", NAME, "master:a:2")
BINARY = b"\xff\xfe"


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def generation(estate: make.Estate) -> Generation:
    """A verified backup of three keys that are lost; the edge refuses one of the names."""
    estate.cloudflare.refuse_in_paths(NAME)
    restore_helpers.put(estate, estate.qa, *(KvEntry(name, b"{}", None, None) for name in NAMES))
    found = restore_helpers.verified_backup(estate.qa)
    restore_helpers.wipe(estate, estate.qa)
    return found


def binary(estate: make.Estate, name: str = NAME) -> None:
    """Another program writes a value that only a single read can return."""
    estate.put(estate.qa, name, BINARY)


def values(estate: make.Estate) -> dict[str, bytes]:
    return {name: item.data for name, item in restore_helpers.held(estate, estate.qa).items()}


def test_a_lost_key_of_such_a_name_is_restored_and_read_back(
    estate: make.Estate, people: make.People, generation: Generation
) -> None:
    restore = restore_helpers.done(generation, people)
    assert restore_helpers.outcomes(restore) == dict.fromkeys(NAMES, "written")


@pytest.mark.parametrize("policy", [Policy.SKIP, Policy.OVERWRITE])
def test_the_comparison_says_that_it_cannot_be_read_and_it_keeps_its_value(
    estate: make.Estate, people: make.People, generation: Generation, policy: Policy
) -> None:
    binary(estate)
    restore = restore_helpers.prepared(generation, people, on_conflict=policy)
    assert (restore.found, restore.overwritten, restore.conflicts) == ({"absent": 2, "unreadable": 1}, 0, 1)
    restore_helpers.started(restore, people)
    make.work()
    assert restore_helpers.outcomes(restore) == {NAMES[0]: "written", NAME: "unreadable", NAMES[2]: "written"}
    assert (restore_helpers.fresh(restore).state, values(estate)[NAME]) == ("done", BINARY)


def test_a_restore_that_stops_at_a_difference_stops_at_it(
    estate: make.Estate, people: make.People, generation: Generation
) -> None:
    binary(estate)
    restore = restore_helpers.prepared(generation, people, on_conflict=Policy.STOP)
    with pytest.raises(RestoreRefused, match="differ from the backup: 1"):
        restore_requests.submit(restore, reason="no longer needed", by=people.operator)


def test_so_it_does_if_the_value_came_after_the_approval(
    estate: make.Estate, people: make.People, generation: Generation
) -> None:
    run = restore_helpers.started(restore_helpers.prepared(generation, people, on_conflict=Policy.STOP), people)
    binary(estate)
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code, values(estate)) == ("failed", "conflict", {NAME: BINARY})
    assert "'master:a:...' cannot be read, because Cloudflare refuses its name" in run.error


def test_a_value_that_came_after_the_approval_is_not_overwritten(
    estate: make.Estate, people: make.People, generation: Generation
) -> None:
    restore = restore_helpers.prepared(generation, people)
    restore_helpers.started(restore, people)
    binary(estate)
    make.work()
    assert restore_helpers.outcomes(restore) == {NAMES[0]: "written", NAME: "unreadable", NAMES[2]: "written"}
    assert values(estate) == {NAMES[0]: b"{}", NAME: BINARY, NAMES[2]: b"{}"}


@pytest.mark.parametrize("fault", ["", "effect_then_reset"])
def test_a_value_that_came_after_the_write_ends_the_settling_all_the_same(
    estate: make.Estate, people: make.People, generation: Generation, fault: str
) -> None:
    if fault:
        estate.cloudflare.fault("bulk_put", fault)

    def rewrite(_: Request) -> None:
        if estate.cloudflare.calls("bulk_put"):
            binary(estate)

    restore = restore_helpers.prepared(generation, people)
    run = restore_helpers.started(restore, people)
    estate.cloudflare.hook("bulk_get", rewrite)
    make.work()
    run.refresh_from_db()
    assert (run.state, values(estate)[NAME]) == ("succeeded", BINARY), run.error
    assert restore_helpers.outcomes(restore) == {NAMES[0]: "written", NAME: "unreadable", NAMES[2]: "written"}


def test_an_equal_key_that_cannot_be_read_at_the_end_is_said_to_be_unreadable(
    estate: make.Estate, people: make.People, generation: Generation
) -> None:
    estate.put(estate.qa, NAME, b"{}")

    def rewrite(_: Request) -> None:
        if estate.cloudflare.calls("bulk_put"):
            binary(estate)

    restore = restore_helpers.prepared(generation, people)
    restore_helpers.started(restore, people)
    estate.cloudflare.hook("bulk_get", rewrite)
    make.work()
    assert restore_helpers.outcomes(restore)[NAME] == "unreadable"


def test_a_key_that_cannot_be_backed_up_first_is_not_backed_up_for_ever(
    estate: make.Estate, people: make.People, generation: Generation
) -> None:
    estate.put(estate.qa, NAME, b"another")
    restore = restore_helpers.prepared(generation, people, on_conflict=Policy.OVERWRITE)
    run = restore_helpers.started(restore, people)
    binary(estate)
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code, values(estate)) == ("failed", "no_safety_backup", {NAME: BINARY})
    assert "'master:a:...' could not be backed up first, because Cloudflare refuses its name" in run.error
    assert Generation.objects.filter(purpose="restore").count() == 1
