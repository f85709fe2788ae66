"""The free plan: what was sent in a day is counted, and work waits for the next day instead of failing."""

from datetime import timedelta

import pytest

from kvops import clock
from kvops.cloudflare import DailyLimitReached
from kvops.connections import clients, quota
from kvops.inventory import scan as inventory_scan
from kvops.models import DailyUse, Environment, Run
from kvops.runs import driver as run_driver
from tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def free(estate: make.Estate) -> Environment:
    environment = estate.qa.environment
    environment.plan = Environment.Plan.FREE
    environment.save()
    return environment


def use(environment: Environment, **operations: int) -> None:
    """As if so much had been sent today."""
    today = clock.now().date()
    DailyUse.objects.update_or_create(account=environment.account_id, day=today, defaults=operations)


def sent(environment: Environment) -> dict[str, int]:
    return quota.today(environment.account_id)


@pytest.mark.parametrize("plan", Environment.Plan)
def test_what_a_client_sends_is_counted_a_key_at_a_time(estate: make.Estate, plan: str) -> None:
    Environment.objects.update(plan=plan)
    environment = Environment.objects.get(slug="qa")
    estate.put(estate.qa, "a")
    with clients.reader(environment) as client:
        client.list_keys(estate.qa.namespace_id)
        client.bulk_get(estate.qa.namespace_id, ["a", "b", "c"])
        client.exact_get(estate.qa.namespace_id, "a")
        client.namespace(estate.qa.namespace_id)
    assert sent(environment) == {"read": 5, "write": 0, "delete": 0, "list": 1}


def test_a_call_that_is_repeated_is_counted_again(free: Environment, estate: make.Estate) -> None:
    estate.cloudflare.fault("keys", "error", times=2)
    with clients.reader(free) as client:
        client.list_keys(estate.qa.namespace_id)
    assert sent(free)["list"] == 3 == len(estate.cloudflare.calls("keys"))


def test_two_workers_share_the_day(free: Environment) -> None:
    use(free, lists=998)
    first, second = quota.QuotaMeter(free), quota.QuotaMeter(free)
    first.count("list", 1)
    first.keep()
    second.insist({"list": 1})
    with pytest.raises(DailyLimitReached):
        second.insist({"list": 2})


def test_what_does_not_fit_any_more_is_not_sent(free: Environment, estate: make.Estate) -> None:
    use(free, lists=1_000)
    with clients.reader(free) as client, pytest.raises(DailyLimitReached, match="1000 lists of the free plan"):
        client.list_keys(estate.qa.namespace_id)
    assert estate.cloudflare.calls("keys") == []


def test_a_paid_plan_has_no_such_end(estate: make.Estate) -> None:
    use(estate.qa.environment, lists=10_000_000)
    with clients.reader(estate.qa.environment) as client:
        client.list_keys(estate.qa.namespace_id)


def test_what_was_sent_yesterday_does_not_count(free: Environment) -> None:
    use(free, lists=1_000)
    DailyUse.objects.update(day=clock.now().date() - timedelta(days=1))
    quota.QuotaMeter(free).insist({"list": 1_000})


def test_what_is_more_than_a_whole_day_is_not_kept_waiting_for_ever(free: Environment) -> None:
    quota.QuotaMeter(free).insist({"read": 200_000})


def until_midnight() -> float:
    now = clock.now()
    return 86_400 - (now.hour * 3_600 + now.minute * 60 + now.second)


def scan(estate: make.Estate) -> Run:
    run = inventory_scan.start_scan(estate.qa, actor=make.SETUP).run
    run_driver.drive(run.pk)
    run.refresh_from_db()
    return run


def test_a_run_waits_for_midnight_and_says_so(free: Environment, estate: make.Estate) -> None:
    use(free, lists=1_000)
    run = scan(estate)
    assert (run.state, run.note, run.starts) == (Run.State.RUNNING, run_driver.WAITS_FOR_TOMORROW, 0)
    assert run.wake_at is not None
    assert clock.seconds_until(run.wake_at) == pytest.approx(until_midnight(), abs=3)
    DailyUse.objects.all().delete()
    make.work()
    run.refresh_from_db()
    assert run.state == Run.State.SUCCEEDED


@pytest.mark.parametrize("status", [400, 429])
def test_a_run_waits_for_midnight_when_cloudflare_says_so(estate: make.Estate, status: int) -> None:
    estate.cloudflare.fault("keys", "refusal", status=status, code=10048)
    run = scan(estate)
    assert (run.state, run.note) == (Run.State.RUNNING, run_driver.WAITS_FOR_TOMORROW)
    assert run.wake_at is not None
    assert clock.seconds_until(run.wake_at) == pytest.approx(until_midnight(), abs=3)
    make.work()
    run.refresh_from_db()
    assert run.state == Run.State.SUCCEEDED
