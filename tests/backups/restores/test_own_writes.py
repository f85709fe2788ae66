"""A new key under an emptied prefix is an alarm, except for what KVOps restored itself."""

import pytest

from backups.cleanup import requests as cleanup_requests
from backups.models import CleanupStage
from backups.restores import requests as restore_requests, undo as stage_undo
from kvops import timing
from kvops.inventory import families as key_families, unexplained as unexplained_deletions
from kvops.models import Family, Scan
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db

NAME = cleanup_helpers.NAMES[0]


@pytest.fixture
def emptied(estate: make.Estate, people: make.People) -> CleanupStage:
    """QA's masters are proven gone, and a scan knows it."""
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
    cleanup_helpers.scan(estate.qa)
    return stage


@pytest.fixture
def no_lag(monkeypatch: pytest.MonkeyPatch) -> None:
    """A listing shows every change at once, so that a deletion just before it explains nothing."""
    monkeypatch.setattr(timing, "LIST_LAG", 0.0)


def forgotten(estate: make.Estate) -> None:
    """As if a scan that began before the restore had taken its keys out of the inventory again."""
    estate.qa.key_set.all().delete()


def found(estate: make.Estate) -> list[str]:
    """The unexpected keys of a new scan."""
    cleanup_helpers.scan(estate.qa)
    return list(unexplained_deletions.names(Scan.objects.latest("pk"), new=True).values_list("name", flat=True))


@pytest.mark.usefixtures("no_lag")
def test_what_an_undo_restored_is_no_unexpected_key(
    estate: make.Estate, people: make.People, emptied: CleanupStage
) -> None:
    stage_undo.start_undo(emptied, by=people.operator2)
    make.work()
    forgotten(estate)
    estate.put(estate.qa, "master:c:1")
    assert found(estate) == ["master:c:1"]


@pytest.mark.usefixtures("no_lag")
def test_what_a_restore_wrote_is_no_unexpected_key(
    estate: make.Estate, people: make.People, emptied: CleanupStage
) -> None:
    assert emptied.generation is not None
    restore_helpers.done(emptied.generation, people, names=[NAME])
    forgotten(estate)
    estate.put(estate.qa, cleanup_helpers.NAMES[1])
    assert found(estate) == [cleanup_helpers.NAMES[1]]


def test_what_a_restore_wrote_is_in_the_inventory_and_counted_at_once(
    estate: make.Estate, people: make.People, emptied: CleanupStage
) -> None:
    assert emptied.generation is not None
    assert not estate.qa.key_set.exists()
    restore_helpers.done(emptied.generation, people, names=[NAME])
    assert list(estate.qa.key_set.values_list("name", "family__pattern")) == [(NAME, "master:")]
    assert [row.keys for row in key_families.keys_by_family(estate.qa)] == [1]


def test_a_restore_of_deleted_keys_says_before_which_certificate_it_makes_invalid(
    estate: make.Estate, people: make.People, emptied: CleanupStage
) -> None:
    assert emptied.generation is not None
    restore = restore_helpers.prepared(emptied.generation, people, names=[NAME])
    request = restore_requests.submit(restore, reason="needed as agreed", by=people.operator)
    for address in (f"/restores/{restore.pk}/", f"/approvals/{request.pk}/"):
        page = signed_in(people.reviewer).get(address).text
        assert "the certificate of its clean-up is no longer valid" in page
        assert f'href="/cleanup/stages/{emptied.pk}/"' in page


@pytest.mark.parametrize("way", ["overwrite", "skip"])
def test_a_key_that_was_written_again_counts_if_the_restore_overwrites_it(
    estate: make.Estate, people: make.People, emptied: CleanupStage, way: str
) -> None:
    assert emptied.generation is not None
    estate.put(estate.qa, NAME, b"somebody's")
    restore = restore_helpers.prepared(emptied.generation, people, names=[NAME], on_conflict=way)
    assert list(stage_undo.brought_back(restore)) == ([emptied] if way == "overwrite" else [])


def test_a_restore_of_keys_that_kvops_did_not_delete_makes_no_certificate_invalid(
    estate: make.Estate, people: make.People
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    restore = restore_helpers.prepared(restore_helpers.verified_backup(estate.qa), people)
    assert "certificate" not in signed_in(people.operator).get(f"/restores/{restore.pk}/").text


@pytest.mark.usefixtures("no_lag")
@pytest.mark.parametrize("data", [cleanup_helpers.master(NAME), b"somebody's"], ids=["equal", "value"])
def test_a_key_that_a_restore_only_found_in_kv_is_unexpected(
    estate: make.Estate, people: make.People, emptied: CleanupStage, data: bytes
) -> None:
    estate.put(estate.qa, NAME, data)
    stage_undo.start_undo(emptied, by=people.operator2)
    make.work()
    assert not estate.qa.key_set.filter(name=NAME).exists()
    assert found(estate) == [NAME]


def test_a_key_that_a_restore_found_just_before_the_scan_is_unexpected(
    estate: make.Estate, people: make.People
) -> None:
    """The restore is of keys that no clean-up deleted, so no late check looks at them."""
    cleanup_helpers.estate_with_masters(estate)
    generation = restore_helpers.verified_backup(estate.qa, "master:")
    restore_helpers.wipe(estate, estate.qa, *cleanup_helpers.NAMES[:2])
    cleanup_helpers.scan(estate.qa)
    estate.put(estate.qa, NAME, b"somebody's")
    restore_helpers.done(generation, people)
    assert found(estate) == [NAME]


@pytest.mark.usefixtures("no_lag")
def test_what_was_written_after_the_deletion_of_a_restored_key_is_unexpected(
    estate: make.Estate, people: make.People
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people), people)
    assert stage.generation is not None
    restore_helpers.wipe(estate, estate.qa, NAME)
    restore_helpers.done(stage.generation, people, names=[NAME])
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    stage.namespace.key_set.filter(name=NAME).delete()
    estate.put(estate.qa, NAME)
    assert found(estate) == [NAME]


@pytest.mark.parametrize(
    ("pattern", "alarm"), [("master:", False), ("m", True)], ids=["classified for a new use", "left over"]
)
def test_an_emptied_prefix_stays_an_alarm_until_the_policy_gives_it_a_new_use(
    estate: make.Estate, emptied: CleanupStage, pattern: str, alarm: bool
) -> None:
    Family.objects.filter(pattern="master:").update(pattern=pattern, category="cache")
    estate.put(estate.qa, "master:c:1")
    assert found(estate) == (["master:c:1"] if alarm else [])


def test_a_name_deleted_so_lately_that_the_listing_may_still_show_it_is_left_to_the_late_check(
    estate: make.Estate, emptied: CleanupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "LIST_LAG", 3600.0)  # however slow the machine is
    estate.put(estate.qa, NAME)
    assert found(estate) == []
    make.work(late=True)
    assert emptied.reappearances.get().name == NAME
