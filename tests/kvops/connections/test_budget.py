"""The request budget: never more than the limit in any window, whoever asks."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.db.models import F

from kvops import timing
from kvops.connections.budget import Prepaid, SharedBudget
from kvops.models import Budget, BudgetSpend

pytestmark = pytest.mark.django_db


def small() -> SharedBudget:
    return SharedBudget("account", calls=10, window=300)


def pass_time(seconds: int) -> None:
    """As if it were so many seconds later."""
    BudgetSpend.objects.update(second=F("second") - seconds)


def spent() -> int:
    return sum(BudgetSpend.objects.values_list("calls", flat=True))


def test_the_product_takes_at_most_80_percent_of_what_cloudflare_allows() -> None:
    assert (SharedBudget("account").calls, SharedBudget("account").window) == (960, 301)  # a second for the way
    assert timing.BUDGET_CALLS <= 1_200 * 0.8


def test_requests_are_granted_until_the_budget_is_spent() -> None:
    budget = small()
    assert [budget.take(4), budget.take(6)] == [0.0, 0.0]
    assert budget.take() > 0
    assert spent() == 10


def test_what_does_not_fit_takes_nothing() -> None:
    budget = small()
    budget.take(8)
    assert budget.take(3) > 0
    assert (spent(), budget.take(2)) == (8, 0.0)


def test_the_wait_lasts_until_enough_has_left_the_window() -> None:
    budget = small()
    budget.take(4)
    pass_time(100)
    budget.take(6)
    assert budget.take(4) == pytest.approx(201, abs=2)
    assert budget.take(5) == pytest.approx(301, abs=2)


def test_a_request_counts_until_its_second_is_wholly_outside_the_window() -> None:
    budget = small()
    budget.take(10)
    pass_time(300)
    assert 0 < budget.take() <= 2
    pass_time(2)
    assert budget.take() == 0.0


def test_no_window_holds_more_than_the_limit() -> None:
    budget, now, granted = small(), 0, []
    for step in (0, 1, 1, 150, 148, 1, 1, 1, 30, 200, 69, 2, 299, 2):
        now += step
        pass_time(step)
        while budget.take(3) == 0.0:
            granted.append(now)
    # The real clock moves by less than a second during the test, so a second is left at each edge.
    for start in granted:
        assert 3 * sum(start <= at < start + 299 for at in granted) <= 10


def test_a_budget_is_its_own_by_name() -> None:
    small().take(10)
    assert SharedBudget("another", calls=10).take() == 0.0


def test_old_seconds_are_forgotten() -> None:
    budget = small()
    budget.take()
    pass_time(1_000)
    budget.take()
    assert BudgetSpend.objects.count() == 1


def test_what_is_left_is_told_without_taking() -> None:
    budget = small()
    budget.take(3)
    assert (budget.left().calls, budget.left().blocked) == (7, 0.0)


def test_retry_after_blocks_everybody() -> None:
    small().observed(remaining=None, wait=120)
    assert small().take() == pytest.approx(120, abs=2)
    assert small().left().blocked == pytest.approx(120, abs=2)


def test_requests_left_block_nobody_and_are_shown() -> None:
    small().observed(remaining=500, wait=0.0)
    assert (small().take(), small().left().told) == (0.0, 500)


def test_requests_left_are_stored_every_few_seconds_only() -> None:
    budget = small()
    budget.observed(remaining=500, wait=0.0)
    budget.observed(remaining=400, wait=0.0)
    assert small().left().told == 500


def test_what_was_left_a_window_ago_is_not_shown() -> None:
    small().observed(remaining=500, wait=0.0)
    Budget.objects.update(told_at=F("told_at") - timedelta(seconds=302))
    assert small().left().told is None


def test_a_later_answer_does_not_shorten_a_block() -> None:
    small().observed(remaining=None, wait=120)
    small().observed(remaining=0, wait=5)
    assert small().take() == pytest.approx(120, abs=2)


def test_a_block_ends_by_itself() -> None:
    small().observed(remaining=None, wait=120)
    Budget.objects.update(blocked_until=F("blocked_until") - timedelta(seconds=121))
    assert small().take() == 0.0


def test_threads_use_what_is_paid_and_nothing_more() -> None:
    prepaid = Prepaid(small())
    assert prepaid.reserve(4) == 0.0
    assert [prepaid.take() for _ in range(4)] == [0.0] * 4
    assert prepaid.take() > timing.LONGEST_WAIT
    assert spent() == 4


def test_reserving_again_pays_for_what_was_sent_and_what_is_to_come() -> None:
    prepaid = Prepaid(small())
    prepaid.reserve(4)
    prepaid.take()
    prepaid.reserve(4)
    assert (spent(), prepaid.paid) == (5, 4)


def later(budget: SharedBudget, seconds: int) -> None:
    pass_time(seconds)
    budget._last -= seconds


def test_what_was_paid_long_ago_counts_when_it_is_sent() -> None:
    budget = small()
    prepaid = Prepaid(budget)
    prepaid.reserve(8)
    later(budget, 290)
    prepaid.reserve(8)
    pass_time(20)
    assert small().take(3) > 0


@pytest.mark.parametrize("told", [Prepaid.keep, Prepaid.settle])
def test_requests_sent_some_time_after_they_were_paid_count_from_then(told: Callable[[Prepaid], None]) -> None:
    budget = small()
    prepaid = Prepaid(budget)
    prepaid.reserve(6)
    for _ in range(6):
        prepaid.take()
    later(budget, 200)
    told(prepaid)
    pass_time(110)
    assert (spent(), small().take(5) > 0, small().take(4)) == (6, True, 0.0)


def test_what_is_still_paid_stays_paid_when_what_was_sent_is_told() -> None:
    budget = small()
    prepaid = Prepaid(budget)
    prepaid.reserve(6)
    prepaid.take(2)
    later(budget, 200)
    prepaid.keep()
    assert (spent(), prepaid.paid) == (6, 4)
    prepaid.settle()
    assert (spent(), prepaid.paid) == (2, 0)


def test_who_wakes_up_late_gives_nothing_of_others_back() -> None:
    asleep, awake = small(), small()
    prepaid = Prepaid(asleep)
    prepaid.reserve(8)
    later(asleep, 400)
    assert awake.take(9) == 0.0
    prepaid.settle()
    assert (spent(), small().take(2) > 0) == (9, True)


def test_what_was_paid_a_window_ago_is_not_sent_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    prepaid = Prepaid(small())
    prepaid.reserve(8)
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 300)
    prepaid.keep()
    assert (prepaid.take() > timing.LONGEST_WAIT, prepaid.exhausted) == (True, False)


def test_more_than_the_limit_is_refused_instead_of_waited_for() -> None:
    with pytest.raises(ValueError, match="11 requests at once"):
        small().take(11)
    assert not BudgetSpend.objects.exists()


def test_a_wait_that_an_answer_asked_for_holds_for_the_next_reservation() -> None:
    prepaid = Prepaid(small())
    prepaid.reserve(4)
    prepaid.observed(remaining=None, wait=90)
    assert prepaid.reserve(4) == pytest.approx(90, abs=2)
    assert prepaid.paid == 0


def test_a_reservation_that_does_not_fit_says_how_long_to_wait() -> None:
    small().take(8)
    prepaid = Prepaid(small())
    assert prepaid.reserve(3) > 0
    assert (spent(), prepaid.take() > 0) == (8, True)


def test_what_threads_heard_is_told_when_they_are_done() -> None:
    prepaid = Prepaid(small())
    prepaid.observed(remaining=None, wait=90)
    prepaid.observed(remaining=0, wait=30)
    assert small().take() == 0.0
    prepaid.settle()
    assert small().take() == pytest.approx(90, abs=2)


def test_what_was_reserved_and_not_sent_is_given_back() -> None:
    small().take(2)
    prepaid = Prepaid(small())
    prepaid.reserve(8)
    prepaid.take(3)
    prepaid.settle()
    assert spent() == 5
    assert small().take(5) == 0.0


def test_what_others_sent_before_is_not_given_back() -> None:
    small().take(4)
    pass_time(299)
    prepaid = Prepaid(small())
    prepaid.reserve(4)
    prepaid.settle()
    assert list(BudgetSpend.objects.order_by("second").values_list("calls", flat=True)) == [4, 0]


@pytest.mark.django_db(transaction=True)
def test_processes_side_by_side_share_one_budget() -> None:
    def take_and_close(_: int) -> float:
        try:
            return small().take(2)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(take_and_close, range(12)))
    assert answers.count(0.0) == 5
    assert spent() == 10
