"""The two clients of a run that changes KV: which tokens they have, and what both must see before a write."""

import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, Self, cast

import pytest
from django.utils import translation

from backups.execution import clients
from backups.execution.clients import Clients
from kvops import timing
from kvops.cloudflare import ApiError, RateLimited
from kvops.connections import quota
from kvops.models import Skew
from kvops.runs.outcomes import RunError
from tests import make
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db


class NamespaceClient:
    """Sees one namespace under one title, or is refused; remembers what it was made with."""

    def __init__(self, **reach: object) -> None:
        self.reach = reach
        self.title, self.refuses, self.clock = "qa-settings", cast("Exception | None", None), 0.0
        self.asked: list[str] = []
        self.open = True

    def namespace(self, namespace_id: str) -> SimpleNamespace:
        self.asked.append(namespace_id)
        if self.refuses:
            raise self.refuses
        return SimpleNamespace(title=self.title)

    def time(self) -> float:
        return time.time() + self.clock

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open = False


class ReservedBudget:
    """Remembers what was reserved; `wait` is its answer."""

    def __init__(self, of: object = None) -> None:
        self.of, self.reserved, self.wait, self.settled = of, list[int](), 0.0, False

    def reserve(self, calls: int) -> float:
        self.reserved.append(calls)
        return self.wait

    def settle(self) -> None:
        self.settled = True


@pytest.fixture
def pair() -> Clients:
    parts: list[Any] = [NamespaceClient(), NamespaceClient(), NamespaceClient(), ReservedBudget(), None]
    return Clients(*parts)


def seen(pair: Clients, name: str) -> NamespaceClient:
    return cast("NamespaceClient", {"read": pair.reader, "write": pair.probe}[name])


def test_both_tokens_must_see_the_namespace(world: GateWorld, pair: Clients) -> None:
    pair.insist_visible(world.qa)
    assert seen(pair, "read").asked == seen(pair, "write").asked == [make.NAMESPACES["qa"]]
    assert cast("NamespaceClient", pair.writer).asked == []
    assert cast("ReservedBudget", pair.budget).reserved == [2]


@pytest.mark.hazard("B27")
@pytest.mark.parametrize("name", ["read", "write"])
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_token_that_does_not_see_it_is_the_wrong_one(world: GateWorld, pair: Clients, name: str, status: int) -> None:
    seen(pair, name).refuses = ApiError("No such namespace.", status=status)
    with pytest.raises(RunError) as refused:
        pair.insist_visible(world.qa)
    assert refused.value.code == "wrong_token"
    assert str(refused.value) == f"The {name} token does not see {world.qa}. No such namespace."


@pytest.mark.parametrize("status", [400, 402, 405, 429, 500])
def test_another_failure_says_nothing_about_the_token(world: GateWorld, pair: Clients, status: int) -> None:
    seen(pair, "write").refuses = failed = ApiError("Not now.", status=status)
    with pytest.raises(ApiError) as raised:
        pair.insist_visible(world.qa)
    assert raised.value is failed


@pytest.mark.hazard("B27")
@pytest.mark.parametrize("name", ["read", "write"])
def test_a_namespace_of_another_title_is_the_wrong_target(world: GateWorld, pair: Clients, name: str) -> None:
    seen(pair, name).title = "another"
    with pytest.raises(RunError) as refused:
        pair.insist_visible(world.qa)
    assert refused.value.code == "wrong_target"
    assert str(refused.value) == "The namespace is called 'another' now, not 'qa-settings' as approved."


@pytest.mark.hazard("B20")
@pytest.mark.parametrize(("ahead", "right"), [(-timing.SKEW - 5, False), (0, True), (timing.SKEW + 5, False)])
def test_a_clock_of_cloudflare_that_is_far_from_ours_stops_it(
    world: GateWorld, pair: Clients, ahead: float, right: bool
) -> None:
    seen(pair, "read").clock = ahead
    with translation.override("ja"):
        if right:
            pair.insist_visible(world.qa)
            return
        with pytest.raises(RunError, match=r"^The database's clock is .* Cloudflare") as refused:
            pair.insist_visible(world.qa)
    assert refused.value.code == "clock_skew"
    assert Skew.objects.get().environment == world.qa.environment


def test_nothing_is_asked_that_is_not_paid(world: GateWorld, pair: Clients) -> None:
    cast("ReservedBudget", pair.budget).wait = 7.0
    with pytest.raises(RateLimited) as limited:
        pair.insist_visible(world.qa)
    assert (limited.value.retry_after, seen(pair, "read").asked) == (7.0, [])


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Sets both, and puts what can be looked at in the place of the clients and the budget."""
    for name in ("Cloudflare", "KVWriter"):
        monkeypatch.setattr(clients, name, type(name, (NamespaceClient,), {}))
    of = SimpleNamespace(of=lambda environment: f"that of {environment.budget}")
    monkeypatch.setattr(clients, "SharedBudget", of)
    monkeypatch.setattr(clients, "Prepaid", ReservedBudget)

    def set_(read: str, write: str) -> None:
        monkeypatch.setenv("GATE_QA_READ", read)
        monkeypatch.setenv("GATE_QA_WRITE", write)

    return set_


def test_each_client_has_its_token_and_all_share_a_budget(world: GateWorld, tokens: Callable[[str, str], None]) -> None:
    tokens("reads", "writes")
    environment = world.qa.environment
    with clients.open_clients(environment) as found:
        made = [cast("NamespaceClient", one) for one in (found.reader, found.probe, found.writer)]
        assert [type(one).__name__ for one in made] == ["Cloudflare", "Cloudflare", "KVWriter"]
        assert [one.reach["token"] for one in made] == ["reads", "writes", "writes"]
        assert {one.reach["budget"] for one in made} == {found.budget}
        assert {cast("Any", one.reach["meter"])._meter for one in made} == {found.meter}
        assert {one.reach["account_id"] for one in made} == {environment.account_id}
        budget = cast("ReservedBudget", found.budget)
        assert (budget.of, budget.settled) == ("that of shared", False)
        assert isinstance(found.meter, quota.QuotaMeter)
        assert found.meter._account == quota.QuotaMeter(environment)._account
    assert (budget.settled, [one.open for one in made]) == (True, [False] * 3)


def test_what_was_not_sent_is_given_back_though_it_fails(world: GateWorld, tokens: Callable[[str, str], None]) -> None:
    tokens("reads", "writes")
    with pytest.raises(RunError, match="broken"), clients.open_clients(world.qa.environment) as found:
        raise RunError("x", "broken")
    assert cast("ReservedBudget", found.budget).settled


@pytest.mark.parametrize(("read", "write", "missing"), [("", "writes", "GATE_QA_READ"), ("reads", "", "GATE_QA_WRITE")])
def test_without_a_token_nothing_is_opened(
    world: GateWorld, tokens: Callable[[str, str], None], read: str, write: str, missing: str
) -> None:
    tokens(read, write)
    with pytest.raises(RunError, match=f"^env:{missing}: the variable") as refused:
        clients.open_clients(world.qa.environment).__enter__()
    assert refused.value.code == "no_token"


@pytest.mark.hazard("B27")
def test_one_token_for_both_is_refused(world: GateWorld, tokens: Callable[[str, str], None]) -> None:
    tokens("same", "same")
    with pytest.raises(RunError) as refused:
        clients.open_clients(world.qa.environment).__enter__()
    assert refused.value.code == "wrong_token"
    assert str(refused.value) == "The read and the write token are the same; they must differ."
