"""Deleting one key of settings: encrypted copy, second person, QA first, and never more than that one name."""

import re

import pytest
from pytest_django.fixtures import Settings

from backups.bucket import reconcile as bucket_reconcile
from backups.cleanup import completion, preparation, requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused
from backups.comparisons import start as comparison_start
from backups.generations.scope import BackupRefused
from backups.models import CleanupRequest, CleanupStage, Generation, StoredObject
from backups.restores import undo as stage_undo
from kvops import timing
from kvops.approvals.titles import title_of
from kvops.models import ApprovalRequest, Category, Notification, NotificationEvent, Person, Run
from kvops.templatetags.ui import bytes_
from tests import make, searched
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.signing import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting")]
State = CleanupStage.State
KEY, SIBLING = "mail:smtp", "mail:smtp2"
LENGTH = 123_457
"""Bytes of a value: no other number on a page."""


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def mail(estate: make.Estate) -> make.Estate:
    """Two keys of settings in QA and production, scanned."""
    make.family("mail:", Category.SETTINGS)
    for namespace in (estate.qa, estate.production):
        estate.put(namespace, KEY, b'{"password":"hunter2"}')
        estate.put(namespace, SIBLING, b"{}")
    cleanup_helpers.scan(estate.qa, estate.production)
    return estate


def asked(people: make.People) -> CleanupRequest:
    return cleanup_requests.request(
        binding="SETTINGS", prefix=KEY, exact=True, reason="not used as agreed", by=people.operator
    )


def prepared(request: CleanupRequest, people: make.People, slug: str = "qa") -> CleanupStage:
    """Names frozen, copied, read back; the code searched."""
    preparation.freeze_stage(cleanup_helpers.stage_of(request, slug), by=people.operator)
    preparation.prepare_stage(cleanup_helpers.stage_of(request, slug), by=people.operator)
    make.work()
    cleanup_helpers.search_code(request)
    cleanup_helpers.share(cleanup_helpers.stage_of(request, slug), people)
    return cleanup_helpers.stage_of(request, slug)


def deleted(request: CleanupRequest, people: make.People, slug: str = "qa") -> CleanupStage:
    """Approved by another person, deleted and proven."""
    cleanup_requests.submit(prepared(request, people, slug), by=people.operator)
    cleanup_helpers.approve(cleanup_helpers.stage_of(request, slug), people)
    cleanup_requests.start_deletion(cleanup_helpers.stage_of(request, slug), by=people.operator)
    make.work()
    return cleanup_helpers.stage_of(request, slug)


def test_one_key_is_deleted_in_qa_and_then_in_production(mail: make.Estate, people: make.People) -> None:
    request = asked(people)
    qa = deleted(request, people)
    assert (qa.state, qa.names, qa.deleted) == (State.CONFIRMED, 1, 1)
    completion.accept_stage(qa, note="Mail still goes out", by=people.operator)
    assert deleted(request, people, "production").state == State.CONFIRMED
    assert set(restore_helpers.held(mail, mail.qa)) == set(restore_helpers.held(mail, mail.production)) == {SIBLING}


def test_its_backup_is_encrypted_and_verified_before_another_person_sees_it(
    mail: make.Estate, people: make.People
) -> None:
    stage = prepared(asked(people), people)
    assert stage.generation is not None
    assert (stage.state, stage.generation.status, stage.generation.encrypted) == (State.VERIFIED, "verified", True)
    assert b"hunter2" not in b"".join(mail.s3.objects.values())


def test_its_backup_names_the_key_alone_and_no_other_that_begins_like_it(
    mail: make.Estate, people: make.People
) -> None:
    backup = prepared(asked(people), people).generation
    assert backup is not None
    assert (backup.exact, backup.run.label) == (True, f"{backup.namespace} {KEY}")
    Generation.objects.filter(pk=backup.pk).update(status="damaged")
    client = signed_in(people.operator)
    for address in ("/backups/", f"/backups/{backup.pk}/", f"/backups/{backup.pk}/compare/", "/retention/", "/"):
        page = client.get(address).content.decode()
        assert KEY in page, address
        assert f"{KEY}*" not in page, address


def test_the_reviewer_sees_the_key_and_no_value_of_it(mail: make.Estate, people: make.People) -> None:
    request = asked(people)
    approval = cleanup_requests.submit(prepared(request, people), by=people.operator)
    page = signed_in(people.reviewer).get(f"/approvals/{approval.pk}/").content.decode()
    assert all(word in page for word in ("Places found", searched.COMMIT))
    assert (KEY in page, "hunter2" in page) == (True, False)


def test_one_key_is_named_without_a_star_on_every_page_and_in_the_mail(mail: make.Estate, people: make.People) -> None:
    approval = cleanup_requests.submit(prepared(asked(people), people), by=people.operator)
    reviewer = signed_in(people.reviewer)
    pages = [reviewer.get(address).content.decode() for address in ("/", "/approvals/", f"/approvals/{approval.pk}/")]
    told = [f"{note.title} {note.lines}" for note in Notification.objects.all()]
    assert all(f"Delete 1 key {KEY} from QA" in page for page in pages)
    assert [text for text in [*pages, *told] if f"{KEY}*" in text] == []


def test_the_only_key_of_a_family_is_named_in_the_title(estate: make.Estate, people: make.People) -> None:
    estate.put(estate.qa, "mastercache:1")
    cleanup_helpers.scan(estate.qa, estate.production)
    cleanup_helpers.submitted(cleanup_helpers.asked(people, "mastercache:"), people)
    approval = ApprovalRequest.objects.get()
    assert title_of(approval) == "Delete 1 key mastercache:1 from QA qa-settings"
    assert approval.title == title_of(approval)


def test_the_message_names_the_request_in_the_language_of_its_reader(mail: make.Estate, people: make.People) -> None:
    Person.objects.filter(pk=people.reviewer.pk).update(language="ja")
    cleanup_requests.submit(prepared(asked(people), people), by=people.operator)
    told = Notification.objects.get(event=NotificationEvent.APPROVAL_WAITING, person=people.reviewer)
    assert told.lines[0].startswith("QA ")
    assert f" から {KEY} のキー 1\xa0件を削除" in told.lines[0]


def test_a_mark_of_direction_in_a_name_reaches_no_title(estate: make.Estate, people: make.People) -> None:
    name = "mail:\u202egpj"
    make.family("mail:", Category.SETTINGS)
    estate.put(estate.qa, name)
    cleanup_helpers.scan(estate.qa)
    request = cleanup_requests.request(
        binding="SETTINGS", prefix=name, exact=True, reason="no longer needed", by=people.operator
    )
    approval = cleanup_requests.submit(prepared(request, people), by=people.operator)
    key = signed_in(people.reviewer).get("/key/qa/SETTINGS/", {"name": name}).content.decode()
    assert "<title>mail:[U+202E]gpj" in key
    assert "mail:[U+202E]gpj" in approval.title
    assert "\u202e" not in f"{request}{list(Run.objects.values_list('label'))}"


def test_a_family_of_settings_is_never_cleaned_up(mail: make.Estate, people: make.People) -> None:
    with pytest.raises(CleanupRefused, match="deleted one at a time"):
        cleanup_requests.request(binding="SETTINGS", prefix="mail:", reason="no longer needed", by=people.operator)


def test_an_unclassified_key_is_never_deleted(mail: make.Estate, people: make.People) -> None:
    with pytest.raises(CleanupRefused, match="not classified"):
        cleanup_requests.request(
            binding="SETTINGS", prefix="mystery", exact=True, reason="no longer needed", by=people.operator
        )


def test_the_family_of_one_key_needs_no_more_than_its_name(mail: make.Estate, people: make.People) -> None:
    request = cleanup_requests.request(
        binding="SETTINGS", prefix="system-root", reason="no longer needed", by=people.operator
    )
    assert (request.exact, str(request)) == (True, "SETTINGS system-root")


def test_a_value_that_changed_since_the_backup_stays(mail: make.Estate, people: make.People) -> None:
    request = asked(people)
    cleanup_requests.submit(prepared(request, people), by=people.operator)
    cleanup_helpers.approve(cleanup_helpers.stage_of(request), people)
    mail.put(mail.qa, KEY, b"newer")
    cleanup_requests.start_deletion(cleanup_helpers.stage_of(request), by=people.operator)
    make.work()
    stage = cleanup_helpers.stage_of(request)
    assert (stage.deleted, stage.skipped) == (0, 1)
    assert restore_helpers.held(mail, mail.qa)[KEY].data == b"newer"


def test_nothing_is_deleted_where_the_key_of_the_digests_is_lost(
    mail: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = asked(people)
    cleanup_requests.submit(prepared(request, people), by=people.operator)
    cleanup_helpers.approve(cleanup_helpers.stage_of(request), people)
    monkeypatch.setenv("TEST_DIGEST_KEY", "n" * 40)
    run = cleanup_requests.start_deletion(cleanup_helpers.stage_of(request), by=people.operator)
    make.work()
    run.refresh_from_db()
    assert (run.state, run.error_code) == (Run.State.FAILED, "encryption")
    assert set(restore_helpers.held(mail, mail.qa)) == {KEY, SIBLING}


def test_it_is_restored_by_an_undo(mail: make.Estate, people: make.People) -> None:
    before = restore_helpers.held(mail, mail.qa)
    stage = deleted(asked(people), people)
    stage_undo.start_undo(stage, by=people.operator2)
    make.work()
    assert restore_helpers.held(mail, mail.qa) == before


def test_an_environment_without_the_key_is_proven_empty_beside_its_siblings(
    mail: make.Estate, people: make.People
) -> None:
    restore_helpers.wipe(mail, mail.qa, KEY)
    cleanup_helpers.scan(mail.qa)
    stage = prepared(asked(people), people)
    assert (stage.state, stage.names) == (State.CONFIRMED, 0)


def test_without_recipients_it_is_not_backed_up_and_not_deleted(
    mail: make.Estate, people: make.People, settings: Settings
) -> None:
    settings.AGE_RECIPIENTS = ()
    request = asked(people)
    preparation.freeze_stage(cleanup_helpers.stage_of(request), by=people.operator)
    with pytest.raises(BackupRefused, match="KVOPS_AGE_RECIPIENTS"):
        preparation.prepare_stage(cleanup_helpers.stage_of(request), by=people.operator)
    assert not Generation.objects.exists()


def test_a_keys_page_leads_to_the_form_with_its_name(mail: make.Estate, people: make.People) -> None:
    client = signed_in(people.operator)
    page = client.get(f"/key/qa/SETTINGS/?name={KEY}").content.decode()
    address = f"/cleanup/new/?binding=SETTINGS&amp;prefix={KEY.replace(':', '%3A')}&amp;exact=1"
    assert address in page
    form = client.get(address.replace("&amp;", "&")).context["form"]
    assert (form.initial["prefix"], form.initial["exact"]) == (KEY, True)


@pytest.mark.parametrize(("exact", "status"), [("on", 302), ("", 422)])
def test_the_form_asks_for_one_key(mail: make.Estate, people: make.People, exact: str, status: int) -> None:
    client = signed_in(people.operator)
    typed = {
        "binding": "SETTINGS",
        "prefix": KEY,
        "reason": "not used as agreed",
        **({"exact": exact} if exact else {}),
    }
    assert client.post("/cleanup/new/", typed).status_code == status
    assert CleanupRequest.objects.filter(exact=True, prefix=KEY).count() == (status == 302)


def told(person: Person, address: str, *lengths: int) -> set[str]:
    """The given lengths that an address shows, in any form."""
    answer = signed_in(person).get(address)
    assert answer.status_code == 200, address
    page = b"".join(answer).decode()
    forms = [form for each in lengths for form in (str(each), f"{each:,}", bytes_(each))]
    return {form for form in forms if re.search(rf"(?<![0-9a-f.]){re.escape(form)}(?![0-9a-f])", page)}


def test_no_page_and_no_file_tells_the_exact_length_of_the_value(mail: make.Estate, people: make.People) -> None:
    for namespace in (mail.qa, mail.production):
        mail.put(namespace, KEY, b"s" * LENGTH)
    cleanup_helpers.scan(mail.qa, mail.production)
    stage = prepared(asked(people), people)
    cleanup_requests.submit(stage, by=people.operator)
    stage = cleanup_helpers.stage_of(stage.request)
    mail.put(mail.qa, KEY, b"s" * (LENGTH + 1))
    backup = Generation.objects.get(stages=stage)
    bucket_reconcile.start(mail.qa.environment, actor=make.SETUP)
    compared = comparison_start.with_kv(backup, mail.qa, actor=make.SETUP)
    make.work()
    (name,) = backup.object_keys()
    stored = StoredObject.objects.get(key=name)
    of_backup, history = f"/backups/{backup.pk}/", "?environment=qa&family=SETTINGS/mail:*"
    addresses = [
        *("/backups/", "/backups/csv", "/storage/", "/storage/csv", f"/storage/objects/{stored.pk}/", of_backup),
        *(f"{of_backup}compare/", f"{of_backup}compare/{compared.pk}/", f"{of_backup}compare/{compared.pk}/file"),
        *(f"/backups/history/{history}", f"/backups/history/report/{history}", f"/backups/history/events.csv{history}"),
        *(f"/approvals/{stage.approval_id}/", f"/cleanup/stages/{stage.pk}/", f"/runs/{backup.run_id}/"),
    ]
    lengths = (LENGTH, LENGTH + 1, stored.size or 0)
    assert not {address: shown for address in addresses if (shown := told(people.auditor, address, *lengths))}
    assert not told(people.operator, f"{of_backup}restores/new/", *lengths)
