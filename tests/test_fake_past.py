"""The fake's namespace with a past: older answers, keys that return, and what a read was told before a delete."""

from collections.abc import Iterator

import httpx
import pytest

from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.past import Lag, Remembering

ACCOUNT, NAMESPACE = "a" * 32, "1" * 32


class Moved:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.at = 1_000.0

    def __call__(self) -> float:
        return self.at


@pytest.fixture
def clock() -> Moved:
    return Moved()


@pytest.fixture
def fake() -> Iterator[FakeCloudflare]:
    """A fake that nobody judges: it is not the product that deletes here."""
    with FakeCloudflare() as made:
        yield made


@pytest.fixture
def kv(fake: FakeCloudflare, clock: Moved) -> Remembering:
    fake.clock = clock
    for permission in ("read", "write"):
        fake.add_token(permission, account=ACCOUNT, permission=permission)
    return fake.add_remembering(ACCOUNT, NAMESPACE, "settings")


@pytest.fixture
def client(fake: FakeCloudflare) -> Iterator[httpx.Client]:
    base = f"{fake.base_url}/accounts/{ACCOUNT}/storage/kv/namespaces/{NAMESPACE}"
    with httpx.Client(base_url=base, trust_env=False) as made:
        yield made


def read(client: httpx.Client, name: str) -> bytes | None:
    answer = client.get(f"/values/{name}", headers={"Authorization": "Bearer read"})
    return answer.content if answer.status_code == httpx.codes.OK else None


def listed(client: httpx.Client) -> list[str]:
    answer = client.get("/keys", headers={"Authorization": "Bearer read"})
    return [key["name"] for key in answer.json()["result"]]


def delete(client: httpx.Client, name: str) -> None:
    client.post("/bulk/delete", json=[name], headers={"Authorization": "Bearer write"}).raise_for_status()


def test_reads_and_listings_may_be_old(
    fake: FakeCloudflare, kv: Remembering, clock: Moved, client: httpx.Client
) -> None:
    fake.put(NAMESPACE, "a", b"old")
    clock.at += 100
    fake.put(NAMESPACE, "a", b"new")
    fake.put(NAMESPACE, "b", b"new")
    fake.lag = lambda _route, _name: 60.0
    assert (read(client, "a"), read(client, "b"), listed(client)) == (b"old", None, ["a"])
    clock.at += 60
    assert (read(client, "a"), read(client, "b"), listed(client)) == (b"new", b"new", ["a", "b"])
    kv.delete("a")
    assert (read(client, "a"), listed(client)) == (b"new", ["a", "b"])


def test_a_lag_is_told_by_the_seed_and_never_longer_than_said() -> None:
    lags = [[lag("keys", "") for _ in range(50)] for lag in (Lag(1, 300.0), Lag(1, 300.0), Lag(2, 300.0))]
    assert lags[0] == lags[1] != lags[2]
    assert {0.0, 300.0} < {seconds for lag in lags for seconds in lag}
    assert max(seconds for lag in lags for seconds in lag) == 300.0


def test_a_deleted_key_returns_unless_it_was_written_meanwhile(
    fake: FakeCloudflare, kv: Remembering, clock: Moved
) -> None:
    for name in ("a", "b"):
        fake.put(NAMESPACE, name, b"value")
        kv.return_after_delete(name, 30)
        fake.remove(NAMESPACE, name)
    fake.put(NAMESPACE, "b", b"anew")
    clock.at += 29
    assert kv.get("a") is None
    clock.at += 1
    found = [fake.get(NAMESPACE, name) for name in ("a", "b")]
    assert [item.data for item in found if item] == [b"value", b"anew"]


def test_the_journal_says_what_was_there_and_what_the_last_read_was_told(
    fake: FakeCloudflare, clock: Moved, kv: Remembering, client: httpx.Client
) -> None:
    fake.put(NAMESPACE, "a", b"old")
    assert read(client, "a") == b"old"
    clock.at += 7
    fake.put(NAMESPACE, "a", b"new")
    delete(client, "a")
    [call] = fake.calls("bulk_delete")
    assert call.at - call.read["a"].at == 7
    assert call.deleted["a"] != call.read["a"].value
    assert kv.before_delete("a", call.at) == call.at
