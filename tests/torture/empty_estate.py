"""Where a row works: an empty database, the two environments of the tests, and the fakes behind them."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from unittest.mock import patch

from kvops.models import BudgetSpend, Run
from kvops.operations import registry
from tests import make
from tests.audit import flush
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.s3 import FakeS3


@contextmanager
def estate() -> Iterator[make.Estate]:
    """QA and production with the policy of the tests, all empty; the clients repeat their calls without waiting."""
    flush.empty_the_database()
    with ExitStack() as stack:
        stack.enter_context(no_waiting())
        made = make.estate(stack.enter_context(FakeCloudflare()), stack.enter_context(FakeS3()))
        make.policy()
        yield made


@contextmanager
def no_waiting() -> Iterator[None]:
    """Let the clients repeat their calls at once."""
    with (
        patch("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0),
        patch("kvops.cloudflare._http.BACKOFF_CAP", 0.0),
    ):
        yield


@contextmanager
def small_parts(keys: int) -> Iterator[None]:
    """Let a part of a copy hold so many keys at most."""
    with patch("backups.archive.MAX_KEYS", keys), patch("backups.archive.writing.MAX_KEYS", keys):
        yield


@contextmanager
def not_read_back() -> Iterator[None]:
    """Let a finished copy stay as it is, instead of being read back at once."""
    alone = replace(registry.RUNS[Run.Kind.BACKUP], finished=())
    with patch.dict(registry.RUNS, {Run.Kind.BACKUP: alone}):
        yield


def fresh_budget() -> None:
    """Forget the requests so far: rows are not about their number."""
    BudgetSpend.objects.all().delete()
