"""A dataset, a table in D1 and a copy in the bucket, for the tests of integrity checks."""

import json
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db.models.functions import Now

from backups import archive
from backups.models import Dataset, Generation, GenerationPart
from kvops.cloudflare import KvEntry
from kvops.models import Category, Namespace, Run
from tests import make
from tests.prepared import step


def dataset(**more: object) -> Dataset:
    """`master:{type}:{id}` in SETTINGS is a row of `masters`."""
    values: dict[str, object] = {
        "name": "masters",
        "binding": "SETTINGS",
        "prefix": "master:",
        "database": "MASTERS_D1",
        "table": "masters",
        "key": "master:{type}:{id}",
        "fields": {"id": "id", "type": "type", "name": "name"},
        "ignore": ["updated_at"],
        **more,
    }
    return step("dataset", *values.items(), build=lambda: _dataset(values))


def _dataset(values: Mapping[str, object]) -> Dataset:
    made = Dataset.objects.create(**values)
    make.keep_policy()
    return made


def d1(estate: make.Estate, slug: str = "qa") -> sqlite3.Connection:
    """The environment's real SQLite behind the fake."""
    return estate.cloudflare._api.databases[make.DATABASES[slug]][2]


def rows(estate: make.Estate, *found: tuple[object, ...], table: str = "masters (type, id, name)") -> None:
    """Put rows into D1 of QA."""
    marks = ", ".join("?" * len(found[0]))
    d1(estate).execute("PRAGMA query_only = 0")  # the read token's
    d1(estate).executemany(f"INSERT INTO {table} VALUES ({marks})", found)
    d1(estate).commit()


def entry(name: str, value: object) -> KvEntry:
    """A key with a JSON value, or with bytes as they are."""
    data = value if isinstance(value, bytes) else json.dumps(value, ensure_ascii=False).encode()
    return KvEntry(name, data, None, None)


def master(type_: str, id_: object, name: object, **more: object) -> KvEntry:
    """A key of the dataset above."""
    return entry(f"master:{type_}:{id_}", {"type": type_, "id": id_, "name": name, **more})


def backup_of(
    estate: make.Estate,
    *entries: KvEntry,
    namespace: Namespace | None = None,
    prefixes: Sequence[str] = ("master:",),
    per_part: int = 10_000,
    **more: object,
) -> Generation:
    """A complete generation of these entries, in parts, as the export would have written it."""
    namespace = namespace or estate.qa
    ordered = sorted(entries, key=lambda one: one.name.encode())
    run = Run.objects.create(
        kind=Run.Kind.BACKUP,
        subject=f"backup:{Run.objects.count()}",
        label="backup",
        actor="tests",
        state="succeeded",
        finished_at=Now(),
    )
    stem = f"backups/kv/{prefixes[0].strip(':')}/{run.pk}"
    facts: Mapping[str, object] = {
        "status": Generation.Status.COMPLETE,
        "keys": len(ordered),
        "finished_at": Now(),
        "manifest_sha256": "0" * 64,
        "digest_root": "0" * 64,
        **more,
    }
    made = Generation.objects.create(
        environment=namespace.environment,
        namespace=namespace,
        prefixes=list(prefixes),
        category=Category.LEGACY,
        run=run,
        actor="tests",
        bucket=estate.s3.bucket,
        stem=stem,
        retain_until=Now() + timedelta(days=30),
    )
    for number, start in enumerate(range(0, max(len(ordered), 1), per_part), 1):
        _part(estate, made, number, ordered[start : start + per_part])
    _finish(made, facts)
    return made


def _finish(made: Generation, facts: Mapping[str, object]) -> None:
    """Written as the export leaves it, then found to be what its status says."""
    written = facts["status"] if facts["status"] == Generation.Status.PARTIAL else Generation.Status.COMPLETE
    Generation.objects.filter(pk=made.pk).update(**{**facts, "status": written})
    Generation.objects.filter(pk=made.pk).update(status=facts["status"])
    made.refresh_from_db()


def _part(estate: make.Estate, generation: Generation, number: int, entries: Sequence[KvEntry]) -> None:
    writer = archive.PartWriter()
    for one in entries:
        assert writer.add(one)
    objects = writer.finish(generation.stem, number)
    for stored in objects:
        estate.s3.objects[stored.part.key] = stored.body
    plain, api_only = objects[0].part, objects[1].part if len(objects) > 1 else None
    GenerationPart.objects.create(
        generation=generation,
        number=number,
        object_key=plain.key,
        sha256=plain.sha256,
        size=plain.size,
        keys=plain.keys,
        digest_root=plain.digest_root,
        digests_key=plain.digests_key,
        digests_sha256=plain.digests_sha256,
        api_only_key=api_only.key if api_only else "",
        api_only_sha256=api_only.sha256 if api_only else "",
        api_only_keys=api_only.keys if api_only else 0,
        first_index=0,
        last_index=max(len(entries) - 1, 0),
    )
