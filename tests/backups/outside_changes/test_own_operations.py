"""Every way in which KVOps writes or deletes a key explains its own changes: of 1,000, not one is reported."""

import random
import tomllib
from collections.abc import Mapping
from contextlib import ExitStack
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from audit import log
from backups.models import Generation, GenerationEntry, KeyChange, OutsideSearch
from backups.outside_changes import own_operations, search as outside_search
from kvops import clock
from kvops.models import ApprovalRequest, Category, Run
from tests import make
from tests.audit.make import triggers_off

pytestmark = pytest.mark.django_db
KEY, RECIPIENTS = "0123456789abcdef", ["age1first", "age1second"]
CHANGES, PUTS = 1_000, 25
type Values = Mapping[str, int | None]


def digest(name: str, value: int) -> bytes:
    """A stand-in for the keyed digest of an entry with this value."""
    return f"{name} {value}".encode().ljust(32, b".")[:32]


def run(at: datetime, number: int) -> Run:
    return Run(
        kind="look", subject=f"x:{number}", label="x", actor="x", state="succeeded", created_at=at, finished_at=at
    )


def backup(estate: make.Estate, values: Values, at: datetime) -> Generation:
    """A verified encrypted backup with these values."""
    mine = run(at, 0)
    mine.subject = f"backup:{at}"
    mine.save()
    made = Generation.objects.create(
        environment=estate.qa.environment,
        namespace=estate.qa,
        prefixes=["mail:"],
        category=Category.SETTINGS,
        run=mine,
        actor="x",
        recipients=RECIPIENTS,
        digest_key=KEY,
        bucket="b",
        stem=f"s/{at}",
        started_at=at,
        retain_until=at + timedelta(days=30),
    )
    kept = [(name, value) for name, value in sorted(values.items()) if value is not None]
    GenerationEntry.objects.bulk_create(
        GenerationEntry(generation=made, index=index, name=name, outcome="kept", digest=digest(name, value))
        for index, (name, value) in enumerate(kept)
    )
    done = {"finished_at": at, "verified_at": at, "manifest_sha256": "0" * 64, "digest_root": "0" * 64}
    Generation.objects.filter(pk=made.pk).update(status="complete", **done)
    Generation.objects.filter(pk=made.pk).update(status="verified")
    made.refresh_from_db()
    return made


def keep_changes(
    estate: make.Estate, people: make.People, changes: list[tuple[str, int | None, int]], since: datetime
) -> None:
    """Changes through KVOps, written and read back one after the other."""
    times = [since + timedelta(seconds=10 * (number + 1)) for number in range(len(changes))]
    with ExitStack() as stack:
        for table in ("kvops_approvalrequest", "kvops_run", "backups_keychange"):
            stack.enter_context(triggers_off(table))
        runs = Run.objects.bulk_create(run(at, number) for number, at in enumerate(times, 1))
        approvals = ApprovalRequest.objects.bulk_create(
            ApprovalRequest(
                kind="put_key",
                subject=f"keychange:{number}",
                title="x",
                environment=estate.qa.environment,
                evidence="{}",
                digest=sha256(b"{}").hexdigest(),
                requester=people.operator,
                approver=people.reviewer,
                starter=people.operator,
                state="used",
                decided_at=at,
                used_at=at,
                decide_by=at,
                use_by=at,
            )
            for number, at in enumerate(times)
        )
        KeyChange.objects.bulk_create(
            KeyChange(
                environment=estate.qa.environment,
                namespace=estate.qa,
                name=name,
                asked_by=people.operator,
                bucket="b",
                object_sha256="0" * 64,
                new_key=True,
                reason="no longer needed",
                approval=approval,
                run=its_run,
                state="done",
                outcome="written",
                attempt=1,
                digest_key=KEY,
                digest_before="" if before is None else digest(name, before).hex(),
                digest_after=digest(name, after).hex(),
                intended_at=at,
                settled_at=at,
                finished_at=at + timedelta(seconds=1),
            )
            for (name, before, after), approval, its_run, at in zip(changes, approvals, runs, times, strict=True)
        )


def searched(newer: Generation) -> OutsideSearch:
    with log.transaction():
        outside_search._search(newer)
    return OutsideSearch.objects.get(generation=newer)


def test_of_a_thousand_changes_through_kvops_none_is_reported_and_each_put_after_them_is(
    estate: make.Estate, people: make.People
) -> None:
    make.family("mail:", Category.SETTINGS)
    chance, now = random.Random(20), clock.now()
    names = [f"mail:{number:03}" for number in range(400)]
    values: dict[str, int | None] = {name: 0 if chance.random() < 0.7 else None for name in names}
    backup(estate, values, now - timedelta(hours=24))
    changes = []
    for number in range(1, CHANGES + 1):
        name = chance.choice(names)
        changes.append((name, values[name], number))
        values[name] = number
    keep_changes(estate, people, changes, now - timedelta(hours=20))
    touched = {name for name, _before, _after in changes}
    found = searched(backup(estate, values, now - timedelta(hours=2)))
    assert (found.found, found.explained) == (0, len(touched))
    put = chance.sample(sorted(touched), PUTS)
    found = searched(backup(estate, values | dict.fromkeys(put, 9_999), now - timedelta(hours=1)))
    assert sorted(found.changes.values_list("name", flat=True)) == sorted(put)


def test_puts_in_the_same_interval_are_reported_among_the_changes(estate: make.Estate, people: make.People) -> None:
    make.family("mail:", Category.SETTINGS)
    now = clock.now()
    backup(estate, {"mail:a": 0, "mail:b": 0, "mail:c": 0}, now - timedelta(hours=24))
    keep_changes(estate, people, [("mail:a", 0, 1), ("mail:b", 7, 1), ("mail:c", 0, 1)], now - timedelta(hours=20))
    found = searched(backup(estate, {"mail:a": 1, "mail:b": 1, "mail:c": 2}, now - timedelta(hours=2)))
    assert list(found.changes.order_by("name").values_list("name", flat=True)) == ["mail:b", "mail:c"]
    assert (found.changed, found.explained) == (2, 1)


def test_every_package_that_may_write_to_kv_has_its_operations() -> None:
    contracts = tomllib.loads(Path("pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    [writing] = [one for one in contracts if "kvops.cloudflare.writes" in one.get("protected_modules", ())]
    assert writing["allowed_importers"] == [
        "backups.execution",  # the clients only
        "backups.deletion",
        "backups.restores",
        "backups.changes",
    ]
    assert [source.__name__ for source in own_operations.SOURCES] == ["_changes", "_restores", "_deletions"]
