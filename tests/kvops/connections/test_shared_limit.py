"""One user's limit over several environments and other tools: ours stay below it."""

from collections.abc import Iterator

import pytest

from kvops.cloudflare import RateLimited
from kvops.connections import clients
from kvops.connections.budget import SharedBudget
from kvops.models import Environment
from tests import make

QUOTA, OURS = 120, 96
"""Requests in 300 s: a tenth of Cloudflare's limit and of ours."""


@pytest.fixture
def limited(estate: make.Estate) -> Iterator[make.Estate]:
    estate.cloudflare.quota = QUOTA
    yield estate
    estate.cloudflare.quota = None


def asked(environment: Environment, calls: int) -> int:
    """Requests that were answered before the budget says to wait."""
    budget, done = SharedBudget(environment.budget, calls=OURS), 0
    with clients.reader(environment, budget) as reader:
        for _call in range(calls):
            try:
                reader.namespace(environment.namespaces.get().namespace_id)
            except RateLimited:
                break
            done += 1
    return done


def refused(estate: make.Estate) -> int:
    return sum(call.status == 429 for call in estate.cloudflare.journal)


def test_two_environments_share_one_budget(limited: make.Estate) -> None:
    done = [asked(one, 60) for one in Environment.objects.order_by("order")]
    assert (done, refused(limited)) == ([60, OURS - 60], 0)


def test_environments_with_budgets_of_their_own_do_not_share(estate: make.Estate) -> None:
    Environment.objects.filter(slug="qa").update(budget="qa")
    done = [asked(one, 60) for one in Environment.objects.order_by("order")]
    assert done == [60, 60]


def test_a_colleague_is_left_the_margin(limited: make.Estate) -> None:
    limited.cloudflare.colleague(70)
    done = asked(limited.qa.environment, OURS)
    assert QUOTA - 70 - done == QUOTA * 200 // 1200 - 1
    assert refused(limited) == 0


def test_the_busier_the_colleague_the_earlier_ours_wait(limited: make.Estate) -> None:
    environment, done = limited.qa.environment, 0
    for _round in range(10):
        limited.cloudflare.colleague(8)
        done += asked(environment, 10)
    # In the sixth round 20 are left, the margin: the answer to the call that is one too many says 19.
    assert (done + 6 * 8, refused(limited)) == (QUOTA - 20 + 1, 0)


def test_an_environment_may_take_less(estate: make.Estate) -> None:
    Environment.objects.update(requests=500)
    assert SharedBudget.of(Environment.objects.get(slug="qa")).calls == 500
