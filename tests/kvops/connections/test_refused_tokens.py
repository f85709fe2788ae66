"""A secret that a service refuses is one message, with its reference, however much fails because of it."""

import pytest

from audit import log
from backups.bucket import access, protection
from backups.bucket.r2 import R2Store
from backups.bucket.store import CredentialsRefused
from backups.models import BucketProtection
from kvops.cloudflare import AuthError
from kvops.connections import clients, refused_tokens as noted
from kvops.inventory import scan as inventory_scan
from kvops.models import AnswerCount, Notification, RefusedToken, Run, Skew
from kvops.notifications import refused_tokens
from kvops.refusals import Sentence
from kvops.runs import announcements
from tests import make

pytestmark = pytest.mark.django_db


def told(person: str = "reviewer@example.com") -> list[str]:
    """The titles of what a person was sent, oldest first."""
    refused_tokens.tell()
    return list(Notification.objects.filter(person__email=person).order_by("pk").values_list("title", flat=True))


def read(estate: make.Estate) -> None:
    """A call with the read token of QA."""
    with clients.reader(estate.qa.environment) as reader:
        reader.namespace(estate.qa.namespace_id)


def be_refused(estate: make.Estate) -> None:
    with pytest.raises(AuthError):
        read(estate)


@pytest.fixture
def unknown(people: make.People, estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """QA has a read token that Cloudflare does not know."""
    monkeypatch.setenv("QA_READ", "nobody-knows-this")
    return monkeypatch


REFUSED = "Cloudflare refuses env:QA_READ of QA"


@pytest.mark.usefixtures("unknown")
def test_everything_that_fails_for_one_token_is_one_message(estate: make.Estate) -> None:
    for _ in range(3):
        inventory_scan.start_scan(estate.qa, actor=make.SETUP)
        make.work()
    protection.ask_cloudflare(estate.qa.environment)
    assert set(Run.objects.values_list("state", "error_code")) == {("failed", "token_refused")}
    assert told() == [REFUSED]
    assert told("operator@example.com") == [REFUSED]


@pytest.mark.usefixtures("unknown")
def test_the_message_names_the_reference_and_what_to_do(estate: make.Estate) -> None:
    be_refused(estate)
    told()
    text = "\n".join(Notification.objects.all()[0].lines)
    assert "does not know the token behind env:QA_READ" in text
    assert "Make a new one with the same permissions" in text
    assert "nobody-knows-this" not in text


@pytest.mark.usefixtures("unknown")
def test_an_unknown_token_is_not_called_a_missing_permission(estate: make.Estate) -> None:
    found = protection.ask_cloudflare(estate.qa.environment)
    assert BucketProtection.Problem(found.problem) is BucketProtection.Problem.TOKEN
    assert "permission" not in str(BucketProtection.Problem(found.problem).label)


def test_a_token_that_is_refused_again_later_is_told_again(estate: make.Estate, unknown: pytest.MonkeyPatch) -> None:
    be_refused(estate)
    assert told() == [REFUSED]
    with unknown.context() as good:
        good.setenv("QA_READ", "qa-read-token")
        read(estate)
    assert RefusedToken.objects.filter(over_at=None).count() == 0
    be_refused(estate)
    assert told() == [REFUSED, REFUSED]


def test_a_missing_permission_is_over_with_a_good_answer_to_the_same_call(estate: make.Estate) -> None:
    environment = estate.qa.environment
    noted.note_refused(environment, "env:QA_READ", {"keys": 403})
    read(estate)
    assert RefusedToken.objects.filter(over_at=None).count() == 1
    noted.note_accepted(environment, "env:QA_READ", ["keys"])
    assert RefusedToken.objects.filter(over_at=None).count() == 0


def test_a_permission_that_is_optional_is_no_alarm(people: make.People, estate: make.Estate) -> None:
    noted.note_refused(estate.qa.environment, "env:QA_READ", {"pages_projects": 403})
    assert told() == []


def test_each_reference_of_an_environment_has_its_message(people: make.People, estate: make.Estate) -> None:
    noted.note_refused(estate.qa.environment, "env:QA_READ", {"keys": 401})
    noted.note_refused(estate.qa.environment, "env:QA_WRITE", {"bulk_delete": 403})
    assert told() == [REFUSED, "Cloudflare refuses env:QA_WRITE of QA"]


def test_a_key_that_r2_does_not_know_has_one_too(
    people: make.People, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = estate.qa.environment
    with monkeypatch.context() as wrong:
        wrong.setenv("TEST_R2_KEY", "nobody-knows-this")
        for _ in range(2):
            with pytest.raises(CredentialsRefused), access.store(environment) as store:
                store.page("")
    assert told() == ["R2 refuses env:TEST_R2_KEY of QA"]
    with access.store(environment) as store:
        store.page("")
    assert RefusedToken.objects.filter(over_at=None).count() == 0


def test_a_key_is_accepted_also_by_a_store_that_tells_no_time(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = estate.qa.environment
    noted.note_refused(environment, environment.r2_access_key_id, {"bucket": 401}, Skew.Service.R2)
    monkeypatch.setattr(R2Store, "time", lambda _store: None)
    with access.store(environment) as store:
        store.page("")
    assert not RefusedToken.objects.filter(over_at=None).exists()


def test_a_failure_of_another_kind_is_told_all_the_same(people: make.People, estate: make.Estate) -> None:
    noted.note_refused(estate.qa.environment, "env:QA_READ", {"keys": 401})
    run = inventory_scan.start_scan(estate.qa, actor=make.SETUP).run
    with log.transaction():
        announcements.run_failed(run, "gave_up", Sentence("It did not work."))
    assert "Failed: scan qa/SETTINGS" in " ".join(told("operator@example.com"))


def test_answers_are_counted_by_call_status_and_time(estate: make.Estate) -> None:
    read(estate)
    read(estate)
    assert sum(AnswerCount.objects.filter(route="namespace", status=200).values_list("answers", flat=True)) == 2
    assert sum(AnswerCount.objects.values_list("seconds", flat=True)) > 0
