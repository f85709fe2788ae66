"""Names that would turn "delete this key" into "delete the namespace": refused by import, plan and client."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from django.db import IntegrityError
from django.db.transaction import atomic
from hypothesis import given, settings, strategies as st

from backups.generations import start as generation_start
from backups.models import CleanupEntry
from kvops.cloudflare import Cloudflare, CloudflareError, KvEntry
from kvops.cloudflare.writes import KVWriter
from kvops.inventory import scan as inventory_scan
from kvops.models import Category, Key
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.fakes.cloudflare import FakeCloudflare
from tests.kvops.cloudflare.estate import NS, estate as served, reader, writer

pytestmark = pytest.mark.hazard("B1")

PATHS = (".", "..")
STEPS = st.lists(st.sampled_from(["..", ".", "", "%2e%2e", "%2E", "..%2f", "a", "values", "?", "#", "\\..", "\0", "/"]))
NAMES = (
    st.text(max_size=30) | STEPS.map("/".join) | STEPS.map("".join) | st.sampled_from(["\ud800", "..\ud800", "x" * 513])
)


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[FakeCloudflare, Cloudflare, KVWriter]]:
    with served() as fake, reader(fake) as reads, writer(fake) as writes:
        yield fake, reads, writes


@settings(max_examples=150, deadline=None)
@given(name=NAMES)
def test_no_name_makes_the_client_send_anything_but_the_calls_it_knows(
    shared: tuple[FakeCloudflare, Cloudflare, KVWriter], name: str
) -> None:
    fake, reads, writes = shared
    calls = (
        lambda: writes.bulk_put(NS, [KvEntry(name, b"v", None, None)]),
        lambda: writes.put_value(NS, KvEntry(name, b"v", None, None)),
        lambda: reads.exact_get(NS, name),
        lambda: reads.bulk_get(NS, [name]),
        lambda: reads.list_keys(NS, prefix=name),
        lambda: writes.bulk_delete(NS, [name]),
    )
    for call in calls:
        with suppress(CloudflareError):
            call()
    assert {call.method for call in fake.journal} <= {"GET", "POST", "PUT"}
    assert "unknown" not in {call.route for call in fake.journal}
    assert fake.namespace(NS).id == NS


@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_is_listed_never_comes_into_the_inventory(estate: make.Estate, name: str) -> None:
    make.family(name, Category.LEGACY, exact=True)
    estate.put(estate.qa, name)
    estate.put(estate.qa, "master:a")
    scan = inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    scan.refresh_from_db()
    assert (list(Key.objects.values_list("name", flat=True)), scan.unstorable) == (["master:a"], 1)


@pytest.mark.parametrize("name", PATHS)
def test_a_path_that_is_listed_makes_a_backup_partial_and_is_never_asked_for(estate: make.Estate, name: str) -> None:
    make.family(".", Category.LEGACY)
    estate.put(estate.qa, name)
    estate.put(estate.qa, ".well-known")
    made = generation_start.start_backup(estate.qa, prefixes=["."], actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert (made.status, made.keys, made.vanished) == ("partial", 1, 1)
    assert not any(call.path.endswith(f"/{name}") for call in estate.cloudflare.journal)


@pytest.mark.parametrize("name", ["", *PATHS])
def test_no_path_can_be_put_on_the_list_of_what_to_delete(estate: make.Estate, people: make.People, name: str) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.asked(people).stages.get(order=1)
    with pytest.raises(IntegrityError, match="cleanup_name_is_no_path"), atomic():
        CleanupEntry.objects.create(stage=stage, index=0, name=name)
