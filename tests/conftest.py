"""What every test may ask for."""

from collections.abc import Iterator

import pytest

from tests import make
from tests.audit.flush import flush_despite_triggers
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.s3 import FakeS3
from tests.sandbox_fixture import sandbox_api

__all__ = ["flush_despite_triggers", "sandbox_api"]


@pytest.fixture
def cloudflare() -> Iterator[FakeCloudflare]:
    """An empty fake Cloudflare."""
    with FakeCloudflare() as fake:
        yield fake


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    """An empty fake bucket."""
    with FakeS3() as fake:
        yield fake


@pytest.fixture
def people(db: None) -> make.People:
    """The five people."""
    return make.everybody()


@pytest.fixture
def estate(db: None, cloudflare: FakeCloudflare, s3: FakeS3) -> make.Estate:
    """QA and production with SETTINGS and MASTERS_D1, and the policy."""
    made = make.estate(cloudflare, s3)
    make.policy()
    return made
