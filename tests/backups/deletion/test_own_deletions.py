"""What KVOps deleted itself is explained; what it left alone, or somebody wrote again, is not."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from audit import log
from backups.cleanup import requests as cleanup_requests
from backups.deletion.send import Sender
from backups.models import CleanupStage
from backups.restores import undo as stage_undo
from kvops import timing
from kvops.cloudflare import ListedKey
from kvops.inventory import own_changes, scan as inventory_scan, unexplained as unexplained_deletions
from kvops.models import Scan
from kvops.runs import outcomes
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.fakes.namespaces import Stored

pytestmark = pytest.mark.django_db

NAMES = tuple(f"master:a:{number}" for number in range(5))


@pytest.fixture
def approved(estate: make.Estate, people: make.People) -> CleanupStage:
    """The deletion of QA's masters, approved and not started."""
    cleanup_helpers.estate_with_masters(estate, NAMES)
    return cleanup_helpers.approved(cleanup_helpers.asked(people), people)


@pytest.fixture
def cleaned(estate: make.Estate, people: make.People) -> make.Estate:
    """QA's masters deleted by an approved deletion, except one that was changed."""
    cleanup_helpers.estate_with_masters(estate, NAMES)
    request = cleanup_helpers.asked(people)
    cleanup_helpers.approved(request, people)
    estate.put(estate.qa, NAMES[0], b"changed")
    cleanup_requests.start_deletion(cleanup_helpers.stage_of(request), by=people.operator)
    make.work()
    return estate


def vanish(estate: make.Estate, name: str) -> None:
    namespace = estate.cloudflare.namespace(estate.qa.namespace_id)
    assert isinstance(namespace, Stored)
    namespace.delete(name)


def found(estate: make.Estate, prefix: str = "") -> list[str]:
    made = inventory_scan.start_scan(estate.qa, actor=make.SETUP, prefix=prefix)
    make.work()
    return list(unexplained_deletions.names(Scan.objects.get(pk=made.pk)).values_list("name", flat=True))


def in_the_inventory(estate: make.Estate, *names: str) -> None:
    """As if the newest scan had begun before the proof, which takes names out of the inventory."""
    with log.transaction():
        own_changes.put_back(estate.qa, [ListedKey(name, None, None) for name in names])


def undone(people: make.People) -> None:
    stage_undo.start_undo(CleanupStage.objects.get(environment__slug="qa"), by=people.operator2)
    make.work()


def stopped(*_: object) -> None:
    raise outcomes.RunError("stopped", "by the test")


def long_after_the_deletion() -> None:
    """As if the newest listing had begun long after the deletion."""
    newest = Scan.objects.latest("pk")
    Scan.objects.filter(pk=newest.pk).update(created_at=Now() + timedelta(hours=1))


def test_an_approved_deletion_explains_all_it_sent(cleaned: make.Estate) -> None:
    in_the_inventory(cleaned, *NAMES[1:])
    assert found(cleaned) == []
    assert Scan.objects.latest("pk").gone == len(NAMES) - 1


def test_a_name_that_was_not_sent_is_not_explained(cleaned: make.Estate) -> None:
    vanish(cleaned, NAMES[0])
    assert found(cleaned) == [NAMES[0]]


def test_a_chunk_that_was_surely_not_sent_explains_nothing(
    estate: make.Estate, people: make.People, approved: CleanupStage
) -> None:
    estate.cloudflare.fault("bulk_delete", "refusal", status=403)
    cleanup_requests.start_deletion(approved, by=people.operator)
    make.work()
    assert approved.chunks.get(answer__unsent=True).names == len(NAMES)
    vanish(estate, NAMES[1])
    assert found(estate) == [NAMES[1]]


def test_a_chunk_whose_answer_never_came_explains_what_it_may_have_deleted(
    estate: make.Estate, people: make.People, approved: CleanupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    estate.cloudflare.fault("bulk_delete", "effect_then_reset")
    monkeypatch.setattr(Sender, "settle_by_reading", stopped)
    cleanup_requests.start_deletion(approved, by=people.operator)
    make.work()
    assert approved.chunks.get().state == "intended"
    assert found(estate) == []
    assert Scan.objects.latest("pk").gone == len(NAMES)


def test_a_key_that_was_written_again_and_vanishes_later_is_not_explained(cleaned: make.Estate) -> None:
    assert found(cleaned) == []
    cleaned.put(cleaned.qa, NAMES[1])
    assert found(cleaned) == []
    long_after_the_deletion()
    vanish(cleaned, NAMES[1])
    assert found(cleaned) == [NAMES[1]]


@pytest.mark.parametrize("meanwhile", [None, b"written again by the application"])
def test_a_key_that_an_undo_restored_or_found_there_and_vanishes_later_is_not_explained(
    cleaned: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch, meanwhile: bytes | None
) -> None:
    monkeypatch.setattr(timing, "LIST_LAG", 0.0)
    if meanwhile:
        cleaned.put(cleaned.qa, NAMES[1], meanwhile)
        in_the_inventory(cleaned, NAMES[1])
    undone(people)
    vanish(cleaned, NAMES[1])
    assert found(cleaned) == [NAMES[1]]


def test_a_key_that_a_restore_restored_before_it_was_deleted_is_explained(
    estate: make.Estate, people: make.People, approved: CleanupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "LIST_LAG", 0.0)
    vanish(estate, NAMES[1])
    assert approved.generation is not None
    assert restore_helpers.outcomes(restore_helpers.done(approved.generation, people))[NAMES[1]] == "written"
    cleanup_requests.start_deletion(approved, by=people.operator)
    make.work()
    in_the_inventory(estate, NAMES[1])
    assert found(estate) == []


def test_what_was_restored_so_late_that_the_listing_may_not_show_it_is_left_to_the_next_scan(
    cleaned: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "LIST_LAG", 300.0)
    undone(people)
    vanish(cleaned, NAMES[1])
    assert found(cleaned) == []
    assert cleaned.qa.key_set.filter(name=NAMES[1]).exists()
    monkeypatch.setattr(timing, "LIST_LAG", 0.0)
    assert found(cleaned) == [NAMES[1]]


def test_a_key_that_an_undo_only_found_in_kv_and_that_vanishes_at_once_is_not_explained(
    cleaned: make.Estate, people: make.People
) -> None:
    cleaned.put(cleaned.qa, NAMES[1], b"written again by the application")
    assert found(cleaned) == []
    long_after_the_deletion()
    undone(people)
    vanish(cleaned, NAMES[1])
    assert found(cleaned) == [NAMES[1]]


def test_a_deletion_before_a_narrower_scan_explains_only_what_that_scan_did_not_list(cleaned: make.Estate) -> None:
    cleaned.put(cleaned.qa, NAMES[1])
    assert found(cleaned, NAMES[1]) == []
    in_the_inventory(cleaned, *NAMES[2:])
    long_after_the_deletion()
    vanish(cleaned, NAMES[1])
    assert found(cleaned) == [NAMES[1]]


def test_a_deletion_of_one_environment_explains_nothing_in_another(cleaned: make.Estate) -> None:
    namespace = cleaned.cloudflare.namespace(cleaned.production.namespace_id)
    assert isinstance(namespace, Stored)
    namespace.delete(NAMES[1])
    made = inventory_scan.start_scan(cleaned.production, actor=make.SETUP)
    make.work()
    assert list(unexplained_deletions.names(made).values_list("name", flat=True)) == [NAMES[1]]


def test_a_key_that_an_undo_may_have_restored_is_not_explained(
    cleaned: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "LIST_LAG", 0.0)
    restore_helpers.stop_in_doubt(
        cleaned, stage_undo.start_undo(CleanupStage.objects.get(environment__slug="qa"), by=people.operator2)
    )
    in_the_inventory(cleaned, NAMES[1])
    vanish(cleaned, NAMES[1])
    assert found(cleaned) == [NAMES[1]]


def test_a_restore_into_one_environment_says_nothing_of_another(
    cleaned: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timing, "LIST_LAG", 0.0)
    backup = restore_helpers.verified_backup(cleaned.production)
    restore_helpers.wipe(cleaned, cleaned.production, NAMES[1])
    assert restore_helpers.outcomes(restore_helpers.done(backup, people))[NAMES[1]] == "written"
    in_the_inventory(cleaned, NAMES[1])
    assert found(cleaned) == []
