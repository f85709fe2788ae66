"""Only the web server has the review key, and it opens no backup."""

import pytest
from django.core.management import CommandError, call_command
from pytest_django.fixtures import Settings

from backups.bucket import access as bucket_access
from backups.changes import propose, review_key
from backups.changes.propose import Wish
from backups.changes.review_key import ReviewKeyMissing
from backups.models import Generation
from backups.retention import erasure, holds
from kvops.inventory import scan as inventory_scan
from kvops.models import Scan
from kvops.runs.outcomes import RunError
from tests import keys, make
from tests.backups.changes import helpers as change_helpers
from tests.backups.changes.helpers import KEY, NEW

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting")]


def test_the_worker_refuses_to_start_with_it() -> None:
    with pytest.raises(CommandError, match="KVOPS_REVIEW_IDENTITY is for the web server"):
        call_command("worker", skip_checks=True)


def test_proposals_are_encrypted_to_the_recipients_of_backups_and_to_the_review_key() -> None:
    assert review_key.recipients() == [*keys.RECIPIENTS, str(keys.REVIEW.to_public())]


@pytest.mark.parametrize("value", ["", "AGE-SECRET-KEY-WRONG", "# only a comment"])
def test_a_key_that_is_none_is_said_without_quoting_it(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("TEST_REVIEW_IDENTITY", value)
    with pytest.raises(ReviewKeyMissing) as missing:
        review_key.recipients()
    assert "KVOPS_REVIEW_IDENTITY" in str(missing.value)
    assert "WRONG" not in str(missing.value)


def test_an_unset_key_is_said(settings: Settings) -> None:
    settings.REVIEW_IDENTITY = ""
    with pytest.raises(ReviewKeyMissing, match="is not set for the web server"):
        review_key.identity()


def test_an_identity_of_backups_is_no_review_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEST_REVIEW_IDENTITY", str(keys.OPERATIONS))
    with pytest.raises(ReviewKeyMissing, match="also a recipient of backups"):
        review_key.recipients()


def test_without_recipients_of_backups_nothing_is_proposed(
    estate: make.Estate, people: make.People, settings: Settings
) -> None:
    change_helpers.ready(estate)
    old = propose.live_entry(estate.qa, KEY)
    settings.AGE_RECIPIENTS = ()
    with pytest.raises(ReviewKeyMissing, match="KVOPS_AGE_RECIPIENTS"):
        propose.propose(estate.qa, KEY, old=old, wish=Wish(value=NEW), by=people.operator)


def test_the_web_server_makes_and_opens_a_proposal_without_the_identities_of_backups(
    estate: make.Estate, people: make.People, settings: Settings
) -> None:
    change_helpers.ready(estate)
    old = propose.live_entry(estate.qa, KEY)
    settings.AGE_IDENTITY = settings.DIGEST_KEY = ""
    change = propose.propose(estate.qa, KEY, old=old, wish=Wish(value=NEW), by=people.operator)
    assert change.object_key in estate.s3.objects


def test_the_erasing_path_of_proposals_erases_nothing_else(estate: make.Estate) -> None:
    with bucket_access.store(estate.qa.environment) as store, pytest.raises(RunError):
        erasure.erase_proposal_permanently(store, None, "qa/backups/kv/x.json")  # type: ignore[arg-type]
    assert estate.s3.calls("DELETE") == []


def test_an_open_change_holds_its_backup_and_the_backup_covers_no_family(
    estate: make.Estate, people: make.People
) -> None:
    change_helpers.ready(estate)
    change = change_helpers.proposed(estate.qa, people)
    assert change.generation is not None
    [hold] = holds.holds_of([change.generation.pk])[change.generation.pk]
    assert (hold.text, hold.url) == (f"Change {change.pk} needs it.", f"/changes/{change.pk}/")
    assert Generation.objects.get(pk=change.generation.pk).purpose == Generation.Purpose.CHANGE


def test_a_key_that_a_change_created_is_no_unexpected_key(estate: make.Estate, people: make.People) -> None:
    change_helpers.ready(estate)
    change_helpers.started(change_helpers.proposed(estate.qa, people, "mail:new"), people)
    make.work()
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    newest = Scan.objects.filter(namespace=estate.qa).latest("pk")
    assert (newest.unexplained, newest.unexpected_keys.count()) == (0, 0)
