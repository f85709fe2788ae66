"""Sent names are settled, names left by an early end are kept as such, and a restore is protected."""

from types import SimpleNamespace
from typing import Any, cast

import pytest

from backups.cleanup import evidence as cleanup_evidence, requests as cleanup_requests, stages
from backups.cleanup.stages import CleanupRefused
from backups.deletion import chunks, run as deletion_run, settle as deletion_settle
from backups.execution.live_digests import KeyVerdict, frozen
from backups.models import CleanupException, CleanupRequest, CleanupStage, Dataset, Restore
from backups.restores import safety_backup
from tests import make
from tests.gate import world as gate
from tests.gate.executing import alive, chunk_of, now
from tests.gate.world import NAMES, GateWorld

pytestmark = pytest.mark.django_db


def outcomes(mine: deletion_run._Deletion) -> dict[str, str]:
    return dict(CleanupException.objects.filter(stage=mine.stage).values_list("name", "outcome"))


# A sent name that is still there


@pytest.mark.parametrize(
    ("verdict", "attempt", "ending", "outcome"),
    [
        (KeyVerdict.ABSENT, 1, False, None),
        (KeyVerdict.EQUAL, 1, False, "alive"),
        (KeyVerdict.EQUAL, 2, False, "alive"),
        (KeyVerdict.EQUAL, 3, False, "failed"),
        (KeyVerdict.EQUAL, 1, True, "stopped"),
        (KeyVerdict.EQUAL, 3, True, "stopped"),
        (KeyVerdict.DIFFERENT, 1, False, "reappeared"),
        (KeyVerdict.DIFFERENT, 3, False, "reappeared"),
        (KeyVerdict.DIFFERENT, 1, True, "reappeared"),
    ],
)
def test_a_name_that_was_sent_is_reported_as_it_was_read(
    mine: deletion_run._Deletion, verdict: KeyVerdict, attempt: int, ending: bool, outcome: str | None
) -> None:
    chunk_of(mine, "sent", attempt=attempt)
    mine.lease.run.cursor = {"ending": True} if ending else {}
    deletion_settle.except_(mine.stage, dict.fromkeys(frozen(mine.stage, [0]), verdict), mine.lease)
    assert outcomes(mine) == ({NAMES[0]: outcome} if outcome else {})


def test_the_last_attempt_of_a_name_counts(mine: deletion_run._Deletion) -> None:
    chunk_of(mine, "settled", number=1, last=2)
    chunk_of(mine, "sent", number=2, first=1, last=1, attempt=3)
    entries = frozen(mine.stage, [0, 1, 2])
    deletion_settle.except_(mine.stage, dict.fromkeys(entries, KeyVerdict.EQUAL), mine.lease)
    assert outcomes(mine) == {NAMES[0]: "alive", NAMES[1]: "failed", NAMES[2]: "alive"}


# Ending early


def test_what_was_not_sent_is_left_over(mine: deletion_run._Deletion) -> None:
    chunk_of(mine, "sent")
    planned = chunk_of(mine, number=2, first=1, last=1)
    assert chunks._leave_the_rest(mine.stage, mine.lease.run) == {"phase": "delete", "ending": True}
    assert (outcomes(mine), now(planned).state) == ({NAMES[1]: "stopped", NAMES[2]: "stopped"}, "settled")


def test_before_anything_was_sent_every_name_is_left_over(mine: deletion_run._Deletion) -> None:
    chunk_of(mine, "settled", answer={"unsent": True})
    chunks._leave_the_rest(mine.stage, mine.lease.run)
    assert outcomes(mine) == dict.fromkeys(NAMES, "stopped")


def test_a_name_with_its_own_outcome_keeps_it_and_one_to_be_sent_again_is_read_again(
    mine: deletion_run._Deletion,
) -> None:
    chunk_of(mine, "sent")
    alive(mine, 0)
    alive(mine, 1, outcome="changed")
    chunks._leave_the_rest(mine.stage, mine.lease.run)
    assert outcomes(mine) == {NAMES[1]: "changed", NAMES[2]: "stopped"}


# The check's rules


def test_a_check_counts_for_the_rules_it_used(world: GateWorld, request_: CleanupRequest) -> None:
    stage = gate.checked(request_)
    stages.insist_check(stage)
    Dataset.objects.update(ignore=["updated_at", "name"])
    make.keep_policy()
    with pytest.raises(CleanupRefused, match="The dataset's rules changed after the check"):
        stages.insist_check(stage)
    with pytest.raises(CleanupRefused, match="The dataset's rules changed after the check"):
        cleanup_requests.submit(stage, by=world.people.operator)


@pytest.mark.parametrize("missing", ["check", "dataset"])
def test_without_a_check_or_its_dataset_nothing_is_submitted(
    world: GateWorld, request_: CleanupRequest, missing: str
) -> None:
    stage = gate.checked(request_)
    if missing == "check":
        stage.check_passed = None
    else:
        Dataset.objects.update(prefix="other:")
    with pytest.raises(CleanupRefused, match="The dataset's rules changed after the check"):
        stages.insist_check(stage)


# The safety backup of a restore


@pytest.mark.parametrize(
    ("overwritten", "status", "keys", "protects"),
    [
        (0, None, 0, True),
        (1, None, 0, False),
        (1, "verified", 1, True),
        (1, "complete", 1, False),
        (1, "damaged", 1, False),
        (1, "damaged", 0, False),
        (1, "partial", 1, False),
        (1, "partial", 0, True),
    ],
)
def test_only_a_verified_backup_of_every_key_protects_what_is_overwritten(
    overwritten: int, status: str | None, keys: int, protects: bool
) -> None:
    safety = SimpleNamespace(status=status, keys=keys) if status else None
    restore = cast("Restore", SimpleNamespace(overwritten=overwritten, overwritten_backup=safety))
    assert safety_backup.is_backed_up(restore) == protects


# The risks that a reviewer accepts


@pytest.mark.parametrize(
    ("category", "lock", "risks"),
    [
        ("legacy", "held", []),
        ("settings", "held", []),
        ("legacy", "missing", ["lock_missing"]),
        ("settings", "missing", ["lock_missing"]),
        ("settings", "unknown", ["lock_unknown"]),
        ("cache", "missing", []),
    ],
)
def test_a_bucket_without_a_lock_is_a_risk_except_for_a_cache(
    stage: CleanupStage, monkeypatch: pytest.MonkeyPatch, category: str, lock: str, risks: list[str]
) -> None:
    monkeypatch.setattr("backups.bucket.protection.shown", lambda _generation: {"state": lock})
    stage.request.category = category
    assert cleanup_evidence.build(stage)["risks"] == risks


def test_the_reviewer_is_shown_every_fact_that_the_executor_derives_again(stage: CleanupStage) -> None:
    found = cleanup_evidence.build(stage)
    parts: dict[str, Any] = {name: value for name, value in found.items() if isinstance(value, dict | list)}
    environment, request = stage.environment, stage.request
    assert {name: value for name, value in found.items() if name not in parts} == {
        "format": 1, "action": "delete_keys", "environment": "qa", "order": 1, "production": False,
        "api": environment.api_base_url, "account_id": environment.account_id, "binding": "SETTINGS",
        "namespace_id": stage.namespace.namespace_id, "namespace_title": "qa-settings",
        "storage": environment.r2_endpoint, "bucket": "qa-bucket", "prefix": "master:", "exact": False,
        "family": str(request.family), "category": "legacy", "reason": "moved to D1", "asked_by": request.asker,
        "scope_digest": stage.scope_digest, "ticket": "",
    }  # fmt: skip
    digest, names = stage.scope_digest, parts["names"]
    assert parts["stage"] == {"id": stage.pk, "order": 1, "of": "qa/SETTINGS", "scope_digest": digest}
    assert (names["count"], names["sha256"], names["scan"]) == (3, stage.names_sha256, stage.scan_id)
    assert (parts["generation"]["id"], parts["check"]["id"]) == (stage.generation_id, stage.check_passed_id)
    assert (parts["references"]["search"]["commit"], parts["shared"]["place"]) == ("4f2a91c", "#kv-cleanup")
    assert (parts["qa"], parts["risks"], parts["lock"]["state"]) == ([], [], "held")
    assert parts["undo"] == {"hours": 72, "on_conflict": "skip"}
    assert parts["writers_frozen"] == {"until": "", "by": ""}
    assert parts["hours"] == {"hours": "", "days": "", "time_zone": ""}
    assert parts["warnings"] == [{"code": "read_in_bulk"}]
    assert set(parts) == {
        "stage", "policy", "names", "generation", "shared", "check", "references", "qa", "lock", "risks", "cost",
        "hours", "writers_frozen",
        "undo", "warnings",
    }  # fmt: skip
