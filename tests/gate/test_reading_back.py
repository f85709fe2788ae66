"""A backup that was read back is, object for object and entry for entry, the one that was written."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from hashlib import sha256

import pytest

from backups import archive
from backups.generations import encryption
from backups.generations.verification import NotAsWritten, StoredBackup
from backups.models import Generation, GenerationEntry, GenerationPart
from kvops import clock
from kvops.cloudflare import KvEntry
from kvops.models import Run
from tests import keys
from tests.gate import world as gate
from tests.gate.world import NAMES, GateWorld

pytestmark = pytest.mark.django_db
KEY = b"k" * 32


@dataclass
class Written:
    """A backup of two parts, as it was written, and the bucket that holds it."""

    generation: Generation
    manifest: archive.Manifest
    objects: dict[str, bytes]

    def compared(self) -> list[tuple[int, int]]:
        return list(StoredBackup(fresh(self.generation), self.opened, lambda: None).compared())

    def opened(self, key: str) -> Iterator[bytes]:
        yield self.objects[key][:9]
        yield self.objects[key][9:]

    def store(self, manifest: archive.Manifest, *, known: bool = True) -> None:
        """Replace the manifest; `known`: so that Postgres has its digest."""
        self.objects[manifest.key] = body = manifest.to_json()
        if known:
            gate.tampered(self.generation, manifest_sha256=sha256(body).hexdigest())


def fresh(generation: Generation) -> Generation:
    return Generation.objects.select_related("environment", "namespace").get(pk=generation.pk)


@pytest.fixture
def backup(world: GateWorld) -> Written:
    return written(world)


@pytest.fixture
def encrypted(world: GateWorld, monkeypatch: pytest.MonkeyPatch) -> Written:
    """The same, encrypted to an identity of this process, with the digests of a key of this process."""
    monkeypatch.setattr(encryption, "identities", lambda: [keys.OPERATIONS])
    monkeypatch.setattr(encryption, "_digest_keys", lambda: [KEY])
    return written(world, recipients=tuple(keys.RECIPIENTS), key=KEY)


def written(world: GateWorld, *, recipients: tuple[str, ...] = (), key: bytes | None = None) -> Written:
    namespace, at = world.qa, clock.now()
    generation = Generation.objects.create(
        environment=namespace.environment, namespace=namespace, prefixes=["master:"], category="legacy", actor="tests",
        run=gate.over(Run.Kind.BACKUP, "namespace:1", namespace.environment), bucket=namespace.environment.r2_bucket,
        stem="backups/kv/master/1", started_at=at, retain_until=at + timedelta(days=30),
    )  # fmt: skip
    objects: dict[str, bytes] = {}
    parts: list[archive.Part] = []
    for number, names in enumerate((NAMES[:2], NAMES[2:]), 1):
        parts += _part(generation, objects, number, names, recipients=recipients, key=key)
    plain = _manifest(generation, tuple(parts))
    manifest, notes = archive.with_restore_notes(
        replace(plain, recipients=recipients, digest_key=archive.key_id(key) if key else "")
    )
    objects[manifest.restore_key] = notes
    Generation.objects.filter(pk=generation.pk).update(
        status="complete", finished_at=manifest.finished_at, manifest_key=manifest.key, manifest_sha256="0" * 64,
        digest_root=manifest.digest_root, keys=len(NAMES), bytes=2 * len(NAMES),
        recipients=list(recipients), digest_key=manifest.digest_key,
    )  # fmt: skip
    found = Written(generation, manifest, objects)
    found.store(manifest)
    return found


def _part(
    generation: Generation,
    objects: dict[str, bytes],
    number: int,
    names: tuple[str, ...],
    *,
    recipients: tuple[str, ...],
    key: bytes | None,
) -> list[archive.Part]:
    writer, first = archive.PartWriter(key), 2 * (number - 1)
    for index, name in enumerate(names, first):
        digest = writer.add(KvEntry(name, b"{}", None, None))
        GenerationEntry.objects.create(
            generation=generation, index=index, name=name, outcome="kept", digest=digest, size=2
        )
    [data] = writer.finish(generation.stem, number, recipients)
    part = data.part
    objects |= {part.key: data.body, part.digests_key: data.digests}
    GenerationPart.objects.create(
        generation=generation, number=number, object_key=part.key, sha256=part.sha256,
        size=part.size, keys=len(names), digest_root=part.digest_root,
        digests_key=part.digests_key, digests_sha256=part.digests_sha256, first_index=first,
        last_index=first + len(names) - 1, stored=[asdict(part)],
    )  # fmt: skip
    return [part]


def _manifest(generation: Generation, parts: tuple[archive.Part, ...]) -> archive.Manifest:
    namespace = generation.namespace
    return archive.Manifest(
        environment=generation.environment.slug, account_id=generation.environment.account_id,
        binding=namespace.binding, namespace_id=namespace.namespace_id, namespace_title=namespace.title,
        bucket=generation.bucket, stem=generation.stem, prefixes=("master:",), families=("master:*",),
        counts=archive.Counts(keys=3, value_bytes=6, vanished=0), parts=parts, digest_root=archive.parts_root(parts),
        started_at=generation.started_at, finished_at=generation.started_at, retain_until=generation.retain_until,
        made_by="tests", code_version="1", audit_sequence=1, audit_hash="0" * 64, recipients=(), digest_key="",
        source="", tables=(),
    )  # fmt: skip


def refused(backup: Written) -> str:
    with pytest.raises(NotAsWritten) as problem:
        backup.compared()
    return str(problem.value)


def test_every_part_of_an_intact_backup_is_told_with_its_entries(backup: Written) -> None:
    assert backup.compared() == [(1, 2), (2, 1)]


def test_an_encrypted_backup_is_opened_and_its_digests_are_those_of_the_key(encrypted: Written) -> None:
    assert encrypted.compared() == [(1, 2), (2, 1)]
    assert NAMES[0].encode() not in b"".join(encrypted.objects.values())


def test_only_entries_that_are_kept_are_expected(backup: Written) -> None:
    with gate.past_the_triggers():
        GenerationPart.objects.filter(generation=backup.generation, number=2).update(last_index=3)
        GenerationEntry.objects.create(generation=backup.generation, index=3, name="master:z", outcome="vanished")
    assert backup.compared() == [(1, 2), (2, 1)]


def test_a_part_of_another_backup_is_not_looked_at(world: GateWorld, backup: Written) -> None:
    other = gate._backed_up(gate.frozen(gate.stage_of(gate.asked(world))), NAMES)
    gate.tampered(other.parts.get(), id=-1)
    assert backup.compared() == [(1, 2), (2, 1)]


def test_a_manifest_that_says_the_same_in_other_bytes_is_another(backup: Written) -> None:
    backup.store(replace(backup.manifest, made_by="somebody else"), known=False)
    assert refused(backup) == "The manifest is not the one that was written."


FACTS: Mapping[str, tuple[str, object]] = {
    "bucket": ("bucket", "other"),
    "stem": ("stem", "backups/kv/master/2"),
    "digest root": ("digest_root", "0" * 64),
    "number of keys": ("keys", 4),
    "number of bytes": ("bytes", 7),
    "list of recipients": ("recipients", ["a", "b"]),
    "key of the digests": ("digest_key", "k"),
}


@pytest.mark.parametrize("fact", FACTS)
def test_a_manifest_of_another_backup_is_refused(backup: Written, fact: str) -> None:
    column, known = FACTS[fact]
    reading = StoredBackup(fresh(backup.generation), backup.opened, lambda: None)
    setattr(reading.generation, column, known)
    with pytest.raises(NotAsWritten, match=f"^The {fact} in the manifest is .*, not ") as problem:
        list(reading.compared())
    assert str(problem.value).endswith(f", not {known}.")


@pytest.mark.parametrize("fact", ["environment", "account", "namespace"])
def test_a_manifest_of_another_place_is_refused(backup: Written, fact: str) -> None:
    reading = StoredBackup(fresh(backup.generation), backup.opened, lambda: None)
    reading.generation.environment.slug = "other" if fact == "environment" else "qa"
    if fact == "account":
        reading.generation.environment.account_id = "other"
    if fact == "namespace":
        reading.generation.namespace.namespace_id = "other"
    with pytest.raises(NotAsWritten, match=f"^The {fact} in the manifest is .*, not other.$"):
        list(reading.compared())


def test_other_recovery_steps_are_refused(backup: Written) -> None:
    backup.objects[backup.manifest.restore_key] += b"\n"
    assert refused(backup) == "The recovery steps are not the ones that were written."


def test_entries_that_kv_returned_and_a_part_lacks_are_missing(backup: Written) -> None:
    with gate.past_the_triggers():
        GenerationPart.objects.filter(generation=backup.generation, number=1).update(last_index=2)
    assert refused(backup) == "Part 1 lacks entries that KV returned: 1."


@pytest.mark.parametrize("other", [{"digest": b"x" * 32}, {"name": "master:a:0"}])
def test_an_entry_that_kv_did_not_return_is_refused(backup: Written, other: Mapping[str, object]) -> None:
    with gate.past_the_triggers():
        GenerationEntry.objects.filter(generation=backup.generation, index=0).update(**other)
    assert refused(backup) == f"{backup.manifest.parts[0].key} holds an entry that KV did not return."


def test_an_object_with_another_value_is_refused(backup: Written) -> None:
    key = backup.manifest.parts[0].key
    backup.objects[key] = backup.objects[key].replace(b"{}", b"[]", 1)
    assert refused(backup) == f"{key}: 'master:a:1' differs in value."


def test_a_part_that_was_never_written_is_refused(backup: Written) -> None:
    with gate.past_the_triggers():
        GenerationPart.objects.filter(generation=backup.generation, number=2).delete()
    assert refused(backup) == "The manifest names part 2, which was never written."


def test_a_part_that_the_manifest_does_not_name_is_missing(backup: Written) -> None:
    with gate.past_the_triggers():
        GenerationPart.objects.filter(generation=backup.generation, number=2).update(number=3)
        GenerationPart.objects.create(generation=backup.generation, number=2, **_last(backup))
    assert refused(backup) == "The manifest names other parts than were written."


def _last(backup: Written) -> dict[str, object]:
    row = GenerationPart.objects.filter(generation=backup.generation, number=3).values().get()
    return {name: value for name, value in row.items() if name not in {"id", "generation_id", "number"}}


def test_a_key_that_kv_returned_and_no_part_is_about_is_missing(backup: Written) -> None:
    with gate.past_the_triggers():
        GenerationEntry.objects.create(
            generation=backup.generation, index=9, name="z", outcome="kept", digest=b"x" * 32, size=2
        )
    assert refused(backup) == "Keys in the manifest: 3, returned by KV: 4."


def test_the_lease_is_kept_between_the_chunks(backup: Written) -> None:
    kept: list[None] = []
    for _ in StoredBackup(fresh(backup.generation), backup.opened, lambda: kept.append(None)).compared():
        pass
    assert len(kept) == 2 * len(backup.objects)


def test_a_step_goes_on_with_the_part_it_is_told(backup: Written) -> None:
    found = StoredBackup(fresh(backup.generation), backup.opened, lambda: None).compared(2)
    assert list(found) == [(2, 1)]
