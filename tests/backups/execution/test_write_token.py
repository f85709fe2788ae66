"""The write token is asked about once a day, so that a revoked one is known before a run writes."""

from datetime import timedelta

import pytest
from django.db.models.functions import Now

from backups.execution import write_token
from kvops import tasks
from kvops.models import Heartbeat, Notification, RefusedToken
from kvops.supervision import sweep
from tests import make
from tests.fakes.cloudflare import FakeCloudflare

pytestmark = pytest.mark.django_db
TOKEN = "qa-write-token"


def refused() -> list[tuple[str, int]]:
    return list(RefusedToken.objects.filter(over_at=None).values_list("reference", "status"))


def look(estate: make.Estate) -> None:
    tasks.look_into_bucket(estate.qa.environment.pk)


def a_day_later() -> None:
    Heartbeat.objects.filter(name__startswith="write_token").update(at=Now() - timedelta(days=1, seconds=1))


def asked(estate: make.Estate) -> int:
    return len(estate.cloudflare.calls("verify_token"))


def test_a_revoked_write_token_is_known_within_a_day(estate: make.Estate, people: make.People) -> None:
    look(estate)
    assert (asked(estate), refused()) == (1, [])
    estate.cloudflare.revoke_token(TOKEN)
    look(estate)
    assert (asked(estate), refused()) == (1, [])
    a_day_later()
    look(estate)
    assert refused() == [("env:QA_WRITE", 401)]
    sweep.sweep_once()
    told = Notification.objects.get(event="token.refused", person=people.operator)
    assert "env:QA_WRITE" in told.title
    assert TOKEN not in str(told.lines)


def test_a_new_write_token_ends_the_alarm(estate: make.Estate) -> None:
    estate.cloudflare.revoke_token(TOKEN)
    look(estate)
    estate.cloudflare.add_token(TOKEN, account=estate.qa.environment.account_id, permission="write")
    a_day_later()
    look(estate)
    assert refused() == []


@pytest.mark.parametrize("status", ["disabled", "expired"])
def test_a_token_that_is_not_active_is_refused(estate: make.Estate, status: str) -> None:
    estate.cloudflare._api.token_status = status
    look(estate)
    assert refused() == [("env:QA_WRITE", 401)]


def test_a_token_that_the_account_owns_is_asked_about_at_the_account(estate: make.Estate) -> None:
    estate.cloudflare.owned_by_accounts.add(TOKEN)
    look(estate)
    assert (len(estate.cloudflare.calls("verify_account_token")), refused()) == (1, [])


def test_without_an_answer_it_is_asked_at_the_next_look(estate: make.Estate, cloudflare: FakeCloudflare) -> None:
    cloudflare.fault("verify_token", "refusal", status=400, code=7003)
    look(estate)
    look(estate)
    assert (asked(estate), refused()) == (2, [])


def test_a_process_without_the_token_asks_nothing(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("QA_WRITE")
    write_token.ask_when_due(estate.qa.environment)
    assert (asked(estate), refused()) == (0, [])
