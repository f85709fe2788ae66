"""What a copy must come through: odd listings, odd bytes, odd metadata, lost answers, killed workers."""

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from threading import Event
from urllib.parse import parse_qs

import pytest
from django.db.models.functions import Now

from backups import archive
from backups.generations import export, start as generation_start
from backups.models import Generation
from kvops.cloudflare import KvEntry
from kvops.inventory import scan as inventory_scan
from kvops.models import Key, Run
from tests import make
from tests.fakes.http import Request
from tests.torture import bucket
from tests.torture.exporting import Exporter, exporter

METADATA = [
    '{"v":1.0}', '{"v":1}', '{"b":1,"a":2}', '{"a":2,"b":1}', '{"a":1,"a":2}', '{"a":1e400}', "1e400", "-0", "1.0", "1",
    '"text"', "[]", "[1,1.0,null]", '{"n":12345678901234567890}', '{"a":0.1234567890123456789}', "true",
    '{"\\ud800":"A"}', '{"医":"院 🏥"}', '{"a":"' + "x" * 1_010 + '"}', '{"a":null}',
]  # fmt: skip


def start(estate: make.Estate, *prefixes: str) -> Generation:
    return generation_start.start_backup(estate.qa, prefixes=prefixes or ["master:"], actor=make.SETUP)


def back_up(estate: make.Estate, *prefixes: str) -> Generation:
    """A copy that was read back."""
    made = start(estate, *prefixes)
    make.work()
    made.refresh_from_db()
    return made


def fill(estate: make.Estate, count: int, prefix: str = "master:") -> None:
    for index in range(count):
        estate.put(estate.qa, f"{prefix}{index:05}", b'{"n": %d}' % index)


def backed_up(estate: make.Estate, generation: Generation) -> dict[str, KvEntry]:
    bodies = [estate.s3.objects[key] for key in generation.object_keys()]
    return {entry.name: entry for body in bodies for entry in archive.read_entries([body])}


def in_kv(estate: make.Estate) -> dict[str, KvEntry]:
    """What the fake holds, as entries."""
    items = estate.cloudflare.namespace(estate.qa.namespace_id).walk("", None)
    return {one.name: KvEntry(one.name, one.data, one.expiration, one.metadata) for one in items}


def scanned(estate: make.Estate) -> set[str]:
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    return set(Key.objects.values_list("name", flat=True))


# B9: listings

LISTINGS: dict[str, Callable[[make.Estate], set[str]]] = {
    "scan": scanned,
    "backup": lambda estate: set(backed_up(estate, back_up(estate))),
}
by_each_lister = pytest.mark.parametrize("names", LISTINGS.values(), ids=LISTINGS)
type Lister = Callable[[make.Estate], set[str]]


@pytest.mark.hazard("B9")
@by_each_lister
@pytest.mark.parametrize("nth", [1, 2, 3])
def test_an_empty_page_that_has_a_cursor_is_not_the_end(estate: make.Estate, names: Lister, nth: int) -> None:
    fill(estate, 2_100)
    estate.cloudflare.fault("keys", "empty_page", nth=nth)
    assert names(estate) == set(in_kv(estate))


@pytest.mark.hazard("B9")
@by_each_lister
@pytest.mark.parametrize("page", [2, 3])
def test_a_cursor_refused_at_any_page_starts_the_listing_anew_and_nothing_is_there_twice(
    estate: make.Estate, names: Lister, page: int
) -> None:
    fill(estate, 2_100)
    estate.cloudflare.fault("keys", "cursor_refused", nth=page)
    assert names(estate) == set(in_kv(estate))


@pytest.mark.hazard("B9")
@by_each_lister
def test_after_a_restart_only_what_the_new_listing_shows_counts(estate: make.Estate, names: Lister) -> None:
    fill(estate, 1_500)
    asked: list[Request] = []

    def change(request: Request) -> None:
        asked.append(request)
        if len(asked) == 2:
            estate.cloudflare.namespace(estate.qa.namespace_id).delete("master:00003")
            estate.put(estate.qa, "master:00000:new")

    estate.cloudflare.hook("keys", change)
    estate.cloudflare.fault("keys", "cursor_refused", nth=2)
    assert names(estate) == set(in_kv(estate)) >= {"master:00000:new"}


@pytest.mark.hazard("B9")
def test_the_prefix_stands_in_every_page_asked_for(estate: make.Estate) -> None:
    fill(estate, 2_100)
    fill(estate, 3, "mastercache:")
    asked: list[str] = []
    estate.cloudflare.hook("keys", lambda request: asked.extend(parse_qs(request.query)["prefix"]))
    assert set(backed_up(estate, back_up(estate))) == {name for name in in_kv(estate) if name.startswith("master:")}
    assert asked == ["master:"] * 3


# B12, B14: bytes and metadata


@pytest.mark.hazard("B12")
def test_random_bytes_are_backed_up_exactly_although_the_family_is_read_in_bulk(estate: make.Estate) -> None:
    rng = random.Random(12)
    for number in range(60):
        data = rng.randbytes(rng.randrange(300))
        estate.put(
            estate.qa, f"master:{number:02}", b"\x00" + data if number % 2 else data.hex().encode() + b"\xff\x00"
        )
    for number, data in enumerate([b"", b"\x00", b"\xff", b"\xc3(", "\ufffd".encode(), b"\xed\xa0\x80", b"\xf8\x88"]):
        estate.put(estate.qa, f"master:odd:{number}", data)
    made = back_up(estate)
    assert (made.status, made.read) == ("verified", "bulk")
    assert backed_up(estate, made) == in_kv(estate)


@pytest.mark.hazard("B14")
def test_metadata_of_every_spelling_is_backed_up_as_the_text_it_was(estate: make.Estate) -> None:
    for number, text in enumerate(METADATA):
        estate.put(estate.qa, f"master:{number:02}", b"{}", metadata=text)
    estate.put(estate.qa, "master:null", b"{}", metadata="null")
    made = back_up(estate)
    assert made.status == "verified"
    found = backed_up(estate, made)
    assert [found[f"master:{number:02}"].metadata for number in range(len(METADATA))] == METADATA
    assert found["master:null"].metadata is None


@pytest.mark.hazard("B14")
def test_two_spellings_of_the_same_metadata_are_two_different_backups(estate: make.Estate) -> None:
    roots = set()
    for text in ('{"v":1}', '{"v":1.0}', '{"v":1e0}', '{"v":1,"v":1}'):
        estate.put(estate.qa, "master:a", b"{}", metadata=text)
        roots.add(back_up(estate).digest_root)
    assert len(roots) == 4


# Keys that change under the export


def test_a_value_that_changes_during_the_export_is_in_the_backup_as_it_was_read(estate: make.Estate) -> None:
    fill(estate, 250)
    reads: list[Request] = []

    def write(request: Request) -> None:
        reads.append(request)
        if len(reads) == 3:
            estate.put(estate.qa, "master:00240", b"late")
            estate.put(estate.qa, "master:00001", b"too late")

    estate.cloudflare.hook("bulk_get", write)
    made = back_up(estate)
    assert made.status == "verified"
    found = backed_up(estate, made)
    assert found["master:00001"].data in (b'{"n": 1}', b"too late")
    digests = {entry.name: bytes(entry.digest or b"") for entry in made.entries.all()}
    assert digests == {name: export.entry_digest(entry, None) for name, entry in found.items()}


def test_each_key_of_a_backup_is_marked_with_what_became_of_it(estate: make.Estate) -> None:
    fill(estate, 3)
    estate.put(estate.qa, "master:short", b"{}", expiration=int(time.time()) - 1)
    estate.cloudflare.clock = lambda: time.time() - 60  # the listing still shows it

    def go_on(_: Request) -> None:
        estate.cloudflare.clock = time.time
        estate.cloudflare.namespace(estate.qa.namespace_id).delete("master:00001")

    estate.cloudflare.hook("bulk_get", go_on)
    made = back_up(estate)
    assert dict(made.entries.values_list("name", "outcome")) == {
        "master:00000": "kept", "master:00001": "vanished", "master:00002": "kept", "master:short": "expired",
    }  # fmt: skip
    assert (made.status, made.keys, made.vanished, made.expired) == ("partial", 2, 1, 1)


# B18: the answer to a put is lost

SUFFIXES = [".json", ".json.digests", ".RESTORE.md", ".manifest.json"]


@pytest.fixture
def no_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


@pytest.mark.hazard("B18")
@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_put_whose_answer_was_lost_finds_its_own_bytes_there(estate: make.Estate, suffix: str) -> None:
    fill(estate, 2)
    made = start(estate)
    estate.s3.fault("lost_answer", "PUT", key=made.stem + suffix)
    make.work()
    made.refresh_from_db()
    assert made.status == "verified"
    assert [call.status for call in estate.s3.calls("PUT") if call.key == made.stem + suffix] == [0, 412]


@pytest.mark.hazard("B18")
@pytest.mark.usefixtures("no_backoff")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_put_whose_answer_was_lost_and_that_finds_other_bytes_is_a_hard_stop(
    estate: make.Estate, suffix: str
) -> None:
    fill(estate, 2)
    made = start(estate)
    key, tries = made.stem + suffix, []

    def somebody_else(method: str, asked: str) -> None:
        if (method, asked) == ("PUT", key):
            tries.append(asked)
            if len(tries) == 2:
                estate.s3.objects[key] = b"somebody else's"

    estate.s3.hook(somebody_else)
    estate.s3.fault("lost_answer", "PUT", key=key)
    make.work()
    made.refresh_from_db()
    run = Run.objects.get(generation=made)
    assert (made.status, run.state, run.error_code) == ("writing", "failed", "conflict")
    assert "would overwrite" in run.error
    assert estate.s3.objects[key] == b"somebody else's"


# B13, B17: in processes of their own


@pytest.fixture
def process(estate: make.Estate) -> Iterator[Exporter]:
    with exporter(5) as process:
        yield process


@pytest.mark.hazard("B17")
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("not_read_back")
@pytest.mark.parametrize("object_of", [".json", ".part-00002.json", ".part-00003.json", ".manifest.json"])
def test_a_worker_killed_after_any_part_leaves_no_backup_and_the_next_one_finishes_it(
    estate: make.Estate, process: Exporter, object_of: str
) -> None:
    fill(estate, 12)
    made = start(estate)
    known = Event()
    child: list[int] = []

    def started(pid: int) -> None:
        child[:] = [pid]
        known.set()

    def kill(method: str, key: str) -> None:
        put = key in estate.s3.objects  # and it has been answered
        if (method, key) == ("HEAD", made.stem + object_of) and put and known.wait(30):
            os.kill(child[0], signal.SIGKILL)

    estate.s3.hook(kill)
    while estate.s3.objects.get(made.stem + object_of) is None:
        process.drive(made.run.pk, started)
    made.refresh_from_db()
    assert (made.status, made.manifest_key) == ("writing", "")
    estate.s3.heal()
    Run.objects.filter(pk=made.run.pk).exclude(owner="").update(lease_until=Now() - timedelta(hours=1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(archive, "MAX_KEYS", 5)
        patch.setattr(archive.writing, "MAX_KEYS", 5)
        make.work()
    made.refresh_from_db()
    assert made.status == "complete"
    held = bucket.held(estate.s3.objects, made.stem)
    assert held == {entry.name: (entry.data, None, None) for entry in in_kv(estate).values()}


LARGE = 25 * 1024 * 1024
MOST = 335 * 1024 * 1024
"""A part of 64 MiB, one more value being read and one being written in several forms each, and the process itself."""


@pytest.mark.hazard("B13")
@pytest.mark.django_db(transaction=True)
@pytest.mark.usefixtures("not_read_back")
def test_values_of_25_mib_are_backed_up_in_bounded_memory(estate: make.Estate) -> None:
    text, binary = b"0123456789abcdef" * (LARGE // 16), random.Random(13).randbytes(16) * (LARGE // 16)
    for number in range(12):
        estate.put(estate.qa, f"master:{number:02}", binary if number % 2 else text)
    made = start(estate)
    with exporter(5, scale=1) as process:
        peak = process.drive(made.run.pk, lambda _: None)
    make.work()
    made.refresh_from_db()
    assert (made.status, made.bytes) == ("complete", 12 * LARGE)
    assert peak < MOST
