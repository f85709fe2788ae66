"""Backups of key families: what is in the bucket is what KV returned, whatever happens on the way."""

import time
from collections.abc import Callable
from datetime import timedelta
from hashlib import sha256

import pytest

from audit import log
from audit.models import Entry as AuditEntry
from backups import archive
from backups.generations import kv_reader, scope, start as generation_start
from backups.generations.export import Export
from backups.models import CleanupEntry, CleanupRequest, CleanupStage, Generation, GenerationEntry
from kvops import timing
from kvops.cloudflare import KvEntry
from kvops.inventory import scan as inventory_scan
from kvops.models import Budget, Category, Family, Run
from kvops.runs import driver as run_driver, outcomes
from tests import make
from tests.fakes.http import Request
from tests.fakes.s3 import FaultKind

pytestmark = pytest.mark.usefixtures("not_read_back")

ACTOR = log.Actor.system("tests")
ODD_NAMES = [
    "master:/ % ? # & + space",
    "master:..",
    "master:日本",
    "master:😀",
    "master:\u0001",
    "master:" + "x" * 505,
]
GUARDS = {("GET", name) for name in ("bucket_lock", "bucket_lifecycle", "managed_domain", "custom_domains")}
READ_ONLY = {("GET", "keys"), ("GET", "value"), ("GET", "metadata"), ("POST", "bulk_get")} | GUARDS


def start(estate: make.Estate, *prefixes: str) -> Generation:
    return generation_start.start_backup(estate.qa, prefixes=prefixes or ["master:"], actor=ACTOR)


def back_up(estate: make.Estate, *prefixes: str) -> Generation:
    made = start(estate, *prefixes)
    make.work()
    made.refresh_from_db()
    return made


def fill(estate: make.Estate, count: int) -> None:
    for index in range(count):
        estate.put(estate.qa, f"master:{index:05}", b'{"n": %d}' % index)


def backed_up(estate: make.Estate, generation: Generation) -> dict[str, KvEntry]:
    bodies = [estate.s3.objects[key] for key in generation.object_keys()]
    return {entry.name: entry for body in bodies for entry in archive.read_entries([body])}


def run_of(generation: Generation) -> Run:
    return Run.objects.get(generation=generation)


def crash_once(monkeypatch: pytest.MonkeyPatch, method: str, after: Callable[[], None] = lambda: None) -> None:
    """Let the next call of an export's method never come to its effect in Postgres."""
    real = getattr(Export, method)

    def crash(self: Export, *args: object) -> None:
        monkeypatch.setattr(Export, method, real)
        after()
        raise outcomes.TryLater("The worker is gone.")

    monkeypatch.setattr(Export, method, crash)


def small_parts(monkeypatch: pytest.MonkeyPatch, keys: int) -> None:
    monkeypatch.setattr(archive, "MAX_KEYS", keys)
    monkeypatch.setattr(archive.writing, "MAX_KEYS", keys)


def test_a_backup_holds_exactly_what_kv_holds(estate: make.Estate) -> None:
    for number, name in enumerate(ODD_NAMES):
        estate.put(estate.qa, name, bytes(range(256)) * number, metadata={"日本": [1, 1.0, None]})
    made = back_up(estate)
    stored = estate.cloudflare.namespace(estate.qa.namespace_id)
    assert made.status == "complete"
    assert {name: entry.data for name, entry in backed_up(estate, made).items()} == {
        name: item.data for name in ODD_NAMES if (item := stored.get(name))
    }
    assert {entry.metadata for entry in backed_up(estate, made).values()} == {'{"日本":[1,1.0,null]}'}


def test_a_backup_of_nothing_is_refused_and_says_so(estate: make.Estate) -> None:
    made = back_up(estate)
    assert (made.status, run_of(made).state, run_of(made).error_code) == ("writing", "failed", "nothing_found")
    assert "Nothing found: KV lists no key of SETTINGS under master:" in run_of(made).error
    assert [key for key in estate.s3.objects if key.startswith(made.stem)] == []
    fill(estate, 1)
    run_driver.resume(run_of(made), actor=ACTOR)
    make.work()
    made.refresh_from_db()
    assert (made.status, made.keys) == ("complete", 1)


def test_expirations_are_backed_up_and_kept_with_the_names(estate: make.Estate) -> None:
    soon = int(time.time()) + 500
    estate.put(estate.qa, "master:a", b"{}", expiration=soon)
    made = back_up(estate)
    assert backed_up(estate, made)["master:a"].expiration == soon
    assert made.entries.get().expiration == soon


def test_digests_in_postgres_are_those_of_what_kv_returned(estate: make.Estate) -> None:
    estate.put(estate.qa, "master:a", b"value", metadata="7")
    made = back_up(estate)
    expected = archive.entry_digest("master:a", sha256(b"value").digest(), "7", None)
    entry = made.entries.get()
    assert (bytes(entry.digest or b""), entry.size, entry.outcome) == (expected, 5, "kept")


def test_a_lost_byte_order_mark_in_the_sample_makes_all_reads_exact(estate: make.Estate) -> None:
    fill(estate, 30)
    for index in range(30):
        estate.put(estate.qa, f"master:{index:05}", b"\xef\xbb\xbf%d" % index)
    made = back_up(estate)
    assert made.read == "exact"
    assert backed_up(estate, made)["master:00029"].data == b"\xef\xbb\xbf29"


@pytest.mark.parametrize(
    ("keys", "read_both_ways"), [(0, 0), (3, 3), (20, 20), (1_999, 20), (2_000, 21), (100_000, 70)]
)
def test_twenty_keys_and_one_in_two_thousand_are_read_both_ways(keys: int, read_both_ways: int) -> None:
    assert len(set(kv_reader.sample("seed", keys))) == read_both_ways


def test_a_write_between_the_two_reads_of_the_sample_changes_nothing(estate: make.Estate) -> None:
    fill(estate, 3)
    bulk_reads: list[Request] = []

    def write(request: Request) -> None:
        if len(bulk_reads) == 1:
            estate.put(estate.qa, "master:00001", b"new")

    estate.cloudflare.hook("bulk_get", bulk_reads.append)
    estate.cloudflare.hook("value", write)
    assert back_up(estate).read == "bulk"


def test_a_family_that_says_exact_is_never_read_in_bulk(estate: make.Estate) -> None:
    make.family("master:bin:", Category.LEGACY, read="exact")
    estate.put(estate.qa, "master:bin:a", b"\xef\xbb\xbf")
    assert backed_up(estate, back_up(estate))["master:bin:a"].data == b"\xef\xbb\xbf"
    assert estate.cloudflare.calls("bulk_get") == []


def test_an_expired_key_leaves_the_backup_complete(estate: make.Estate) -> None:
    fill(estate, 2)
    estate.put(estate.qa, "master:short", b"{}", expiration=int(time.time()) - 1)
    estate.cloudflare.clock = lambda: time.time() - 60  # the listing still shows it

    def catch_up(_: Request) -> None:
        estate.cloudflare.clock = time.time

    estate.cloudflare.hook("bulk_get", catch_up)
    made = back_up(estate)
    assert (made.status, made.expired, made.vanished, made.keys) == ("complete", 1, 0, 2)


def test_names_postgres_cannot_hold_make_the_backup_partial(estate: make.Estate) -> None:
    fill(estate, 1)
    estate.put(estate.qa, "master:nul\0", b"{}")
    made = back_up(estate)
    assert (made.status, made.vanished, made.keys) == ("partial", 1, 1)


def test_several_prefixes_are_one_backup_and_overlaps_count_once(estate: make.Estate) -> None:
    fill(estate, 2)
    estate.put(estate.qa, "mastercache:a", b"{}")
    made = back_up(estate, "mastercache:", "master:", "master:00000")
    assert (made.prefixes, made.keys, made.category) == (["master:", "mastercache:"], 3, "legacy")
    assert made.patterns == ["master:*", "mastercache:*"]


def test_the_manifest_is_put_last(estate: make.Estate) -> None:
    fill(estate, 1)
    made = back_up(estate)
    put = [call.key for call in estate.s3.calls("PUT")]
    assert put[-1] == made.manifest_key
    assert len(put) == len(estate.s3.objects) == 4


def test_the_manifest_says_what_the_row_says(estate: make.Estate) -> None:
    fill(estate, 3)
    made = back_up(estate)
    body = estate.s3.objects[made.manifest_key]
    document = archive.parse_manifest(body)
    assert sha256(body).hexdigest() == made.manifest_sha256
    assert (document.digest_root, document.counts.keys, document.stem) == (made.digest_root, 3, made.stem)
    assert document.retain_until == made.retain_until
    assert made.finished_at == document.finished_at


def test_objects_are_named_as_designed(estate: make.Estate) -> None:
    fill(estate, 1)
    made = back_up(estate)
    stamp = f"{made.started_at:%Y%m%dT%H%M%S.%fZ}"
    assert made.object_keys() == [f"qa/backups/kv/master/{stamp}.json"]
    assert made.retain_until == made.started_at + timedelta(days=14)


def test_parts_follow_each_other_without_a_gap(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    small_parts(monkeypatch, 100)
    fill(estate, 250)
    made = back_up(estate)
    ranges = list(made.parts.order_by("number").values_list("first_index", "last_index"))
    assert ranges == [(0, 99), (100, 199), (200, 249)]
    assert made.object_keys()[2] == f"{made.stem}.part-00003.json"


def test_calls_stay_within_the_stated_number(estate: make.Estate) -> None:
    fill(estate, 1_050)
    made = back_up(estate)
    routes = {route: len(estate.cloudflare.calls(route)) for route in ("keys", "bulk_get", "value", "metadata")}
    assert routes == {"keys": 2, "bulk_get": 11 + 1, "value": 20, "metadata": 20}
    assert made.calls == run_of(made).calls == sum(routes.values())


def test_only_reading_routes_are_used(estate: make.Estate) -> None:
    fill(estate, 5)
    estate.put(estate.qa, "master:bin", b"\xff")
    back_up(estate)
    assert estate.cloudflare.journal_routes() == READ_ONLY


def test_every_step_is_in_the_record(estate: make.Estate) -> None:
    fill(estate, 1)
    made = back_up(estate)
    verify(made)
    entries = AuditEntry.objects.filter(subject=f"generation:{made.pk}").order_by("seq")
    assert [(entry.action, entry.digest) for entry in entries] == [
        ("generation.started", ""),
        ("generation.completed", made.manifest_sha256),
        ("generation.verified", made.manifest_sha256),
    ]


def verify(generation: Generation) -> None:
    generation_start.start_verification(generation, actor=ACTOR)
    make.work()
    generation.refresh_from_db()


def frozen_stage(estate: make.Estate, *names: str) -> CleanupStage:
    """A stage whose names were frozen by hand."""
    request = CleanupRequest.objects.create(
        binding="SETTINGS",
        prefix="master:",
        family=Family.objects.get(pattern="master:"),
        category=Category.LEGACY,
        reason="migrated as agreed",
        requested_by=make.person("asker"),
    )
    stage = CleanupStage.objects.create(
        request=request, environment=estate.qa.environment, namespace=estate.qa, order=1
    )
    CleanupEntry.objects.bulk_create(CleanupEntry(stage=stage, index=i, name=name) for i, name in enumerate(names))
    return stage


def test_a_clean_ups_backup_is_of_its_frozen_names_and_lists_nothing(estate: make.Estate) -> None:
    fill(estate, 3)
    stage = frozen_stage(estate, "master:00000", "master:00002")
    with log.transaction():
        made = generation_start.create_backup(
            estate.qa, prefixes=["master:"], actor=ACTOR, purpose=Generation.Purpose.CLEANUP, stage=stage
        )
    make.work()
    made.refresh_from_db()
    assert (made.status, made.patterns, made.category) == ("complete", ["master:*"], "legacy")
    assert list(backed_up(estate, made)) == ["master:00000", "master:00002"]
    assert estate.cloudflare.calls("keys") == []


# What is refused


def test_settings_known_to_the_inventory_are_refused_with_their_number(estate: make.Estate) -> None:
    estate.put(estate.qa, "system-root")
    estate.put(estate.qa, "unknown")
    inventory_scan.start_scan(estate.qa, actor=ACTOR)
    make.work()
    with pytest.raises(scope.BackupRefused, match=r"2 keys .* must be backed up encrypted") as refusal:
        start(estate, "")
    assert refusal.value.count == 2
    assert "1 key of " in str(scope.refusal(estate.qa, [""], 1))
    assert "1,000 keys of " in str(scope.refusal(estate.qa, [""], 1_000))
    assert not Generation.objects.exists()


def test_settings_found_by_the_listing_stop_the_run_before_any_value_is_read(estate: make.Estate) -> None:
    fill(estate, 2)
    estate.put(estate.qa, "system-root", b"secret")
    made = back_up(estate, "")
    assert (made.status, run_of(made).error_code) == ("writing", "encryption")
    assert "1 key of " in run_of(made).error
    assert estate.cloudflare.journal_routes() == {("GET", "keys")} | GUARDS


def test_a_refused_listing_goes_on_once_the_keys_are_classified(estate: make.Estate) -> None:
    estate.put(estate.qa, "mastery", b"{}")
    made = back_up(estate, "master")
    make.family("mastery", Category.CACHE, exact=True)
    run_driver.resume(run_of(made), actor=ACTOR)
    make.work()
    made.refresh_from_db()
    assert (made.status, made.keys, made.category) == ("complete", 1, "cache")


def test_a_prefix_without_a_family_is_refused(estate: make.Estate) -> None:
    with pytest.raises(scope.BackupRefused, match="Keys of SETTINGS under unknown:"):
        start(estate, "unknown:")


def test_a_clock_that_went_back_is_refused(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    before = back_up(estate).started_at - timedelta(hours=1)
    monkeypatch.setattr("kvops.clock.now", lambda: before)
    with pytest.raises(scope.BackupRefused, match="clock"):
        start(estate)


# What goes wrong on the way


@pytest.mark.parametrize("kind", ["torn", "503"])
@pytest.mark.parametrize("suffix", [".json", ".json.digests", ".RESTORE.md", ".manifest.json"])
def test_a_store_that_fails_for_a_while_only_delays(estate: make.Estate, kind: FaultKind, suffix: str) -> None:
    fill(estate, 3)
    made = start(estate)
    estate.s3.fault(kind, "PUT", key=made.stem + suffix, after=5, times=4)
    make.work()
    verify(made)
    assert made.status == "verified"


@pytest.mark.parametrize("phase", ["list_names", "sample", "_commit", "_begin_to_close", "close"])
def test_a_crash_at_any_point_is_made_good(estate: make.Estate, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
    small_parts(monkeypatch, 2)
    fill(estate, 5)
    crash_once(monkeypatch, phase)
    made = back_up(estate)
    verify(made)
    assert (made.status, made.keys) == ("verified", 5)


def test_a_crash_after_the_manifest_was_put_writes_the_same_again(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(estate, 1)
    crash_once(monkeypatch, "_result")
    made = back_up(estate)
    assert made.status == "complete"
    assert [call.status for call in estate.s3.calls("PUT") if call.key == made.manifest_key] == [200, 412]


def test_values_that_changed_after_a_crash_are_stored_under_the_next_attempt(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(estate, 3)
    crash_once(monkeypatch, "_commit", after=lambda: estate.put(estate.qa, "master:00001", b"changed"))
    made = back_up(estate)
    verify(made)
    assert made.object_keys() == [f"{made.stem}.try-2.json"]
    assert (made.status, backed_up(estate, made)["master:00001"].data) == ("verified", b"changed")


def test_a_foreign_object_with_a_parts_name_is_a_hard_stop(estate: make.Estate) -> None:
    fill(estate, 1)
    made = start(estate)
    estate.s3.objects[f"{made.stem}.json"] = b"not ours"
    make.work()
    assert run_of(made).error_code == "conflict"
    assert estate.s3.objects == {f"{made.stem}.json": b"not ours"}


def test_a_cursor_that_is_always_refused_ends_the_run(estate: make.Estate) -> None:
    fill(estate, 1_100)

    def refuse(request: Request) -> None:
        if "cursor=" in request.query:
            estate.cloudflare.fault("keys", "cursor_refused")

    estate.cloudflare.hook("keys", refuse)
    made = back_up(estate)
    assert run_of(made).error_code == "listing"


def test_a_spent_budget_closes_the_part_and_goes_on_later(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "STEP", 30.0)
    fill(estate, 700)
    made = start(estate)
    estate.cloudflare.fault("bulk_get", "429", nth=7, seconds=30)  # the sample is one of them
    run_driver.drive(made.run.pk)
    assert 0 < run_of(made).done < 700
    Budget.objects.update(blocked_until=None)
    make.work()
    verify(made)
    assert (made.status, made.keys, made.parts.count()) == ("verified", 700, 2)


def test_a_server_error_storm_only_delays(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvops.cloudflare._http.ATTEMPTS", 1)
    fill(estate, 3)
    estate.cloudflare.fault("bulk_get", "html_524", nth=2, times=3)
    assert back_up(estate).status == "complete"


def test_a_long_part_ends_when_its_time_is_up(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(estate, 3)
    monkeypatch.setattr(timing, "PART", 0.0)
    made = back_up(estate)
    assert (made.status, made.parts.count()) == ("complete", 3)


# Reading one value from a copy


def test_one_value_is_read_from_the_backup(estate: make.Estate) -> None:
    fill(estate, 3)
    estate.put(estate.qa, "master:odd", b"api", metadata="1")
    made = back_up(estate)
    assert generation_start.read_entry(made, "master:00001") == KvEntry("master:00001", b'{"n": 1}', None, None)
    assert generation_start.read_entry(made, "master:odd") == KvEntry("master:odd", b"api", None, "1")
    assert generation_start.read_entry(made, "master:none") is None


def test_the_newest_of_each_and_the_holders_of_a_key(estate: make.Estate) -> None:
    fill(estate, 1)
    first, second, other = back_up(estate), back_up(estate), back_up(estate, "master:x")
    assert set(Generation.objects.newest_of_each()) == {second, other}
    assert set(Generation.objects.holding("master:00000")) == {first, second}
    assert GenerationEntry.objects.count() == 2


# Names that Cloudflare's edge refuses in a path


@pytest.mark.parametrize("name", ["master:...", "master:../", "master:<script>"])
def test_a_name_that_the_edge_refuses_in_a_path_is_read_in_bulk(estate: make.Estate, name: str) -> None:
    estate.put(estate.qa, name, b"{}")
    estate.cloudflare.refuse_in_paths(name)
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert (made.status, made.read, made.keys) == ("complete", "bulk", 1), made.run.error


@pytest.mark.parametrize("exact", [False, True])
def test_if_its_value_must_be_read_singly_the_backup_is_partial_and_says_so(
    estate: make.Estate, *, exact: bool
) -> None:
    for name in ("master:a", "master:b"):
        estate.put(estate.qa, name, b"{}")
    estate.put(estate.qa, "master:...", b"{}" if exact else b"\xff\xfe")
    make.change_families("master:", read="exact" if exact else "bulk")
    estate.cloudflare.refuse_in_paths("master:...")
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert (made.status, made.keys, made.vanished, made.run.state) == ("partial", 2, 1, "succeeded")
    assert "Of these, unreadable: 1." in made.problem
    assert "'master:...'" in made.problem
    assert made.entries.get(name="master:...").outcome == "unreadable"


def test_a_page_for_people_instead_of_every_answer_is_no_refused_name(estate: make.Estate) -> None:
    estate.put(estate.qa, "master:a", b"{}")
    estate.cloudflare.fault("bulk_get", "page_403", times=99)
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    assert (made.status, made.run.state) == ("writing", "failed")
