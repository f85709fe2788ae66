"""What every test may ask for."""

import gc
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest
from django.db import connection
from django.utils import translation
from hypothesis import HealthCheck, settings
from pytest_django import DjangoDbBlocker
from pytest_django.fixtures import Settings

from backups.bucket import newest_manifest
from kvops.models import Namespace
from kvops.operations import looks, registry
from tests import judge, make, template
from tests.audit.flush import flush_despite_triggers
from tests.fakes.cloudflare import FakeCloudflare
from tests.fakes.s3 import FakeS3
from tests.keys import encrypting
from tests.prepared import Prepared, preparing, step
from tests.sandbox_fixture import sandbox_api

__all__ = ["encrypting", "flush_despite_triggers", "sandbox_api"]

# An example may take as long as a busy machine needs; pytest's time limit ends one that hangs.
settings.register_profile("kvops", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kvops")


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Collect no garbage while modules are imported, and keep them out of later rounds: they stay to the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that they share their set-up in one process while the other processes do the rest."""
    items.sort(key=lambda item: item.path.parent.name != "torture")


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings_parallel_suffix: None, django_db_blocker: DjangoDbBlocker
) -> None:
    """Test databases are copied instead of migrated."""
    with django_db_blocker.unblock():
        connection.settings_dict["TEST"]["TEMPLATE"] = template.migrated()


class Ports:
    """Where the fakes of this process serve: the rows of a state that is put back name the same addresses."""

    cloudflare = s3 = 0


@pytest.fixture
def cloudflare() -> Iterator[FakeCloudflare]:
    """An empty fake Cloudflare."""
    with FakeCloudflare(port=Ports.cloudflare) as fake:
        Ports.cloudflare = port_of(fake.base_url)
        yield fake


@pytest.fixture
def s3() -> Iterator[FakeS3]:
    """An empty fake bucket."""
    with FakeS3(port=Ports.s3) as fake:
        Ports.s3 = port_of(fake.endpoint)
        yield fake


def port_of(address: str) -> int:
    """The port of an address that names one."""
    return urlsplit(address).port or 0


@pytest.fixture(autouse=True)
def just_started() -> None:
    """Each test begins as a new process does: it has looked into no bucket yet, though ports and numbers come again."""
    newest_manifest._looked.clear()


@pytest.fixture(autouse=True)
def english() -> None:
    """A page in Japanese leaves its language behind: the next test begins in English all the same."""
    translation.deactivate()


@pytest.fixture(autouse=True)
def states_have_words(request: pytest.FixtureRequest) -> Iterator[None]:
    """No page of a test shows a state as it is stored. A row that lacks a part has no state to show."""
    as_stored = registry.unknown

    def unknown(state: str) -> looks.Look:
        if state not in {"", "None"}:
            pytest.fail(f"The state {state!r} has no look in the operation of its feature.")
        return as_stored(state)

    # Not with the test's own `monkeypatch`: what a test changes by that keeps it from states that were built before.
    with pytest.MonkeyPatch.context() as patch:
        if request.node.name != "test_a_state_without_an_entry_is_shown_as_it_is":
            patch.setattr(registry, "unknown", unknown)
        yield


@pytest.fixture(autouse=True)
def nothing_that_may_not_be(request: pytest.FixtureRequest) -> Iterator[None]:
    """After every test on the fake Cloudflare: only allowed calls, only approved and copied keys deleted or written."""
    if "cloudflare" not in request.fixturenames:
        yield
        return
    fake: FakeCloudflare = request.getfixturevalue("cloudflare")
    bucket: FakeS3 = request.getfixturevalue("s3")
    # Asked for now, so that both are still there when the test is over.
    request.getfixturevalue("db")
    yield
    # Without deletes and writes the database is left alone: a test may have broken its transaction.
    deletes, writes = (any(getattr(call, what) for call in fake.journal) for what in ("deleted", "written"))
    approved = judge.approved_sets(bucket.objects) if deletes else []
    writable = judge.writable_sets(bucket.erased | bucket.objects) if writes else []
    found = judge.problems(fake.journal, approved, writable)
    gone = [call.key for call in bucket.calls("DELETE")]
    found += judge.bucket_problems(gone, bucket.bucket) if gone else []
    assert not found, "\n".join(found)


@pytest.fixture
def prepared(db: None, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Iterator[Prepared]:
    """The states that many tests begin with."""
    with preparing(monkeypatch, settings) as found:
        yield found


@pytest.fixture
def people(prepared: Prepared) -> make.People:
    """The five people."""
    return step("people", build=make.everybody)


@pytest.fixture
def estate(prepared: Prepared, cloudflare: FakeCloudflare, s3: FakeS3) -> make.Estate:
    """QA and production with SETTINGS and MASTERS_D1, and the policy."""
    prepared.fakes = cloudflare, s3
    qa, production = step("estate", build=lambda: _estate(cloudflare, s3))
    return make.Estate(cloudflare, s3, qa, production)


def _estate(cloudflare: FakeCloudflare, s3: FakeS3) -> tuple[Namespace, Namespace]:
    made = make.estate(cloudflare, s3)
    make.policy()
    return made.qa, made.production
