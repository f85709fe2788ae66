"""One account with a namespace and a database, and our clients pointed at it."""

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from kvops.cloudflare import Cloudflare, RequestBudget, Unlimited
from kvops.cloudflare.writes import KVWriter
from tests.fakes.cloudflare import FakeCloudflare

ACCOUNT = "a" * 32
NS = "5" * 32
DB = "d1-database"
LOOPBACK = frozenset({"127.0.0.1"})


@contextmanager
def estate() -> Iterator[FakeCloudflare]:
    """A running fake with one account."""
    with FakeCloudflare() as fake:
        fake.add_token("reads", account=ACCOUNT, permission="read")
        fake.add_token("writes", account=ACCOUNT, permission="write")
        fake.add_namespace(ACCOUNT, NS, "qa-settings")
        fake.add_database(ACCOUNT, DB, "masters")
        yield fake


def _no_sleep(seconds: float) -> None:
    """The tests have no time."""


def reader(
    fake: FakeCloudflare,
    *,
    token: str = "reads",
    base_url: str = "",
    allowed_hosts: Collection[str] = LOOPBACK,
    budget: RequestBudget | None = None,
    sleep: Callable[[float], None] = _no_sleep,
    timeout: float = 5.0,
) -> Cloudflare:
    """The reading client."""
    return Cloudflare(
        account_id=ACCOUNT,
        token=token,
        base_url=base_url or fake.base_url,
        allowed_hosts=allowed_hosts,
        budget=budget or Unlimited(),
        sleep=sleep,
        timeout=timeout,
    )


def writer(fake: FakeCloudflare, *, token: str = "writes", base_url: str = "", timeout: float = 5.0) -> KVWriter:
    """The writing client."""
    return KVWriter(
        account_id=ACCOUNT,
        token=token,
        base_url=base_url or fake.base_url,
        allowed_hosts=LOOPBACK,
        budget=Unlimited(),
        sleep=_no_sleep,
        timeout=timeout,
    )
