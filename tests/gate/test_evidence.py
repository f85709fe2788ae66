"""What the reviewer of a deletion is shown, fact by fact: each is derived from rows, and again by the executor."""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from hashlib import sha256
from typing import Any

import pytest
from django.db.models.functions import Now

from backups import archive, policy
from backups.cleanup import evidence as cleanup_evidence, qa, shown_references
from backups.models import (
    BackupShare,
    BucketProtection,
    Check,
    CleanupEntry,
    CleanupRequest,
    CleanupStage,
    Generation,
    GenerationEntry,
    OtherName,
    Reappearance,
)
from kvops import timing
from kvops.approvals import evidence
from kvops.environments import hours
from kvops.models import Category, Database, Family, PolicyVersion
from tests import make
from tests.gate import world as gate
from tests.gate.world import NAMES, GateWorld
from tests.prepared import Prepared

pytestmark = pytest.mark.django_db
OPERATOR = "Operator <operator@example.com>"


@pytest.fixture
def first(prepared: Prepared, world: GateWorld, request_: CleanupRequest) -> CleanupStage:
    """QA, cleaned and accepted."""
    return prepared.step("accepted", lambda: gate.accepted(world, request_))


@pytest.fixture
def second(prepared: Prepared, world: GateWorld, first: CleanupStage) -> CleanupStage:
    """Production, waiting for the reviewer; it lacks one key of QA's and has another one."""
    names = (*NAMES[:2], "master:c:1")
    return prepared.step("second submitted", lambda: gate.submitted(world, first.request, "production", names))


def built(stage: CleanupStage) -> dict[str, Any]:
    """The evidence as it is derived now, as its reader has it."""
    found = CleanupStage.objects.select_related("request__family", "environment", "namespace").get(pk=stage.pk)
    text = evidence.canonical_evidence(cleanup_evidence.build(found))
    return dict(json.loads(text))


def moment(at: datetime | None) -> str:
    assert at is not None
    return at.astimezone(UTC).isoformat()


def test_the_place_and_the_rules_are_shown(world: GateWorld, second: CleanupStage) -> None:
    found, environment = built(second), second.environment
    rules = PolicyVersion.objects.latest("number")
    assert {name: value for name, value in found.items() if not isinstance(value, dict | list)} == {
        "format": qa.FORMAT, "action": "delete_keys", "environment": "production", "order": 2, "production": True,
        "api": environment.api_base_url, "account_id": environment.account_id, "binding": "SETTINGS",
        "namespace_id": second.namespace.namespace_id, "namespace_title": "production-settings",
        "storage": environment.r2_endpoint, "bucket": "production-bucket", "prefix": "master:", "exact": False,
        "family": str(second.request.family), "category": "legacy", "reason": "moved to D1",
        "asked_by": second.request.asker, "scope_digest": qa.scope_digest(second), "ticket": "",
    }  # fmt: skip
    assert found["policy"] == {"version": rules.number, "digest": rules.digest}
    assert found["stage"] == {
        "id": second.pk, "order": 2, "of": "production/SETTINGS", "scope_digest": second.scope_digest,
    }  # fmt: skip
    assert found["names"] == {
        "count": 3, "sha256": archive.names_sha256([*NAMES[:2], "master:c:1"]), "first": NAMES[0],
        "last": "master:c:1", "sample": [*NAMES[:2], "master:c:1"], "scan": second.scan_id,
    }  # fmt: skip
    assert (found["undo"], found["risks"]) == ({"hours": 72, "on_conflict": "skip"}, [])
    assert found["lock"] == {"state": "held", "forever": True, "locked_until": "", "rules": ["everything"]}
    assert found["warnings"] == [{"code": "read_in_bulk"}]
    assert set(found["cost"]) >= {"plan", "requests", "seconds", "deletes"}


def test_a_freeze_of_the_writers_the_hours_and_the_code_are_shown(second: CleanupStage) -> None:
    until = datetime(2026, 7, 1, tzinfo=UTC)
    gate.tampered(second.request, frozen_until=until, frozen_by="Release team")
    found = built(second)
    assert found["writers_frozen"] == {"until": moment(until), "by": "Release team"}
    assert found["hours"] == json.loads(json.dumps(hours.shown(second.environment)))
    assert found["references"] == shown_references.shown(second)


def test_the_ticket_and_the_freeze_stay_as_submitted(second: CleanupStage) -> None:
    before = cleanup_evidence.arranged(second)
    until = datetime(2026, 7, 1, tzinfo=UTC)
    gate.tampered(second.request, ticket="https://tickets.example/2", frozen_until=until, frozen_by="Another team")
    found = gate.stage_of(second.request, "production")
    assert cleanup_evidence.submitted(found) == json.loads(json.dumps(before))
    found.approval = None
    now = cleanup_evidence.submitted(found)
    assert (now["ticket"], now["writers_frozen"]["by"]) == ("https://tickets.example/2", "Another team")
    assert now == cleanup_evidence.arranged(found)


def test_the_hours_of_the_undo_are_exact(second: CleanupStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "UNDO_WITHIN", 3600.0 * 5000)
    assert built(second)["undo"]["hours"] == 5000


def test_the_backup_is_shown_with_its_digests(second: CleanupStage) -> None:
    assert second.generation
    backup = Generation.objects.get(pk=second.generation.pk)
    share = BackupShare.objects.get(generation=backup)
    found = built(second)
    assert found["generation"] == {
        "id": backup.pk, "environment": "production", "namespace_id": second.namespace.namespace_id,
        "bucket": "production-bucket", "manifest": backup.manifest_key, "manifest_sha256": backup.manifest_sha256,
        "digest_root": "4" * 64, "keys": 3, "bytes": 6, "status": "verified", "finished_at": moment(backup.finished_at),
        "recipients": [], "entries_root": root(backup), "prefixes": ["master:"], "exact": False, "read": "bulk",
        "expired": 0,
    }  # fmt: skip
    assert found["shared"] == {
        "place": "#kv-cleanup", "by": OPERATOR, "notification": None, "at": moment(share.at),
    }  # fmt: skip


def root(backup: Generation) -> str:
    """The root over the entries as the docstring has it: their place, expiration, outcome, size, digest and name."""
    found = archive.Root()
    for entry in sorted(GenerationEntry.objects.filter(generation=backup), key=lambda entry: entry.index):
        digest = bytes(entry.digest or b"").hex()
        line = f"{entry.index} {entry.expiration} {entry.outcome} {entry.size} {digest} {entry.name}"
        found.add(sha256(line.encode()).digest())
    return found.hexdigest()


def test_the_entries_of_the_backup_are_in_the_evidence_one_by_one(second: CleanupStage) -> None:
    assert second.generation
    with gate.past_the_triggers():
        GenerationEntry.objects.create(
            generation=second.generation, index=-1, name="z", outcome="kept", size=2, digest=b"0" * 32
        )
    digests = {built(second)["generation"]["entries_root"], root(second.generation)}
    assert len(digests) == 1
    changes: list[dict[str, object]] = [
        {"size": 3}, {"expiration": 9}, {"name": "y"}, {"digest": b"1" * 32},
        {"outcome": "vanished", "digest": None, "size": None},
    ]  # fmt: skip
    for change in changes:
        with gate.past_the_triggers():
            GenerationEntry.objects.filter(generation=second.generation, index=-1).update(**change)
        digests.add(built(second)["generation"]["entries_root"])
    assert len(digests) == 1 + len(changes)


def test_a_backup_that_nobody_shared_says_so(second: CleanupStage) -> None:
    with gate.past_the_triggers():
        BackupShare.objects.filter(generation=second.generation).delete()
    assert built(second)["shared"] is None


def test_a_backup_that_a_message_shared_names_the_message(second: CleanupStage) -> None:
    with gate.past_the_triggers():
        BackupShare.objects.filter(generation=second.generation).update(by=None, notification_id=7)
        shared = built(second)["shared"]
        BackupShare.objects.filter(generation=second.generation).delete()  # there is no such message
    assert (shared["by"], shared["notification"]) == ("", 7)


def test_the_check_is_shown_with_its_rules(second: CleanupStage) -> None:
    check = second.check_passed
    assert check
    database = Database.objects.get(environment=second.environment)
    assert built(second)["check"] == {
        "id": check.pk, "outcome": "passed", "generation": second.generation_id, "environment": "production",
        "source": check.source, "database": "MASTERS_D1", "database_id": database.database_id, "dataset": "masters",
        "definition": check.definition, "definition_digest": check.definition_digest, "keys": 3, "rows": 3,
        "kv_rows": 0, "differences": 0, "only_in_d1": 0, "finished_at": moment(check.finished_at),
    }  # fmt: skip


def test_a_stage_without_a_check_and_a_check_without_a_database_say_so(second: CleanupStage) -> None:
    with gate.past_the_triggers():
        Database.objects.filter(environment=second.environment).update(binding="OTHER")
    assert built(second)["check"]["database_id"] == ""
    gate.tampered(second, check_passed=None)
    assert built(second)["check"] is None


def test_what_came_of_it_in_qa_is_shown(world: GateWorld, first: CleanupStage, second: CleanupStage) -> None:
    assert built(second)["qa"] == [
        {
            "only_here": 1, "only_there": 1, "sample_here": ["master:c:1"], "sample_there": ["master:b:1"],
            "stage": first.pk, "environment": "qa", "scope_digest": first.scope_digest, "names": 3, "deleted": 3,
            "skipped": 0, "leftovers": {"count": 0, "sample": [], "note": ""}, "note": "Opened the pages, all well",
            "others": {"count": 0, "sample": [], "note": "", "by": ""}, "reappeared": 0, "reappeared_notes": [],
            "by": OPERATOR, "at": moment(first.accepted_at),
            "checked_again": [{"of": of, "check": None, "refused": False} for of in ("backup", "dataset")],
        }
    ]  # fmt: skip


def test_a_difference_with_d1_after_the_clean_up_of_qa_is_shown_and_a_warning(
    first: CleanupStage, second: CleanupStage
) -> None:
    check = first.check_passed
    assert check
    gate.tampered(check, outcome="failed", differences=2)
    gate.tampered(first, check_after=check)
    gate.tampered(first, dataset_check_after=gate._check(_backup(second)))
    gate.tampered(Check.objects.latest("pk"), outcome="pending", finished_at=None)
    found = built(second)
    [shown] = found["qa"]
    assert shown["checked_again"] == [
        {"of": "backup", "check": check.pk, "outcome": "failed", "differences": 2},
        {"of": "dataset", "check": Check.objects.latest("pk").pk, "outcome": "pending", "differences": 0},
    ]
    assert found["warnings"][:2] == [
        {"code": "qa_differs", "environment": "Qa", "count": 2},
        {"code": "qa_not_checked_again", "environment": "Qa"},
    ]


def test_a_lock_that_is_not_held_is_a_risk(second: CleanupStage) -> None:
    BucketProtection.objects.all().delete()
    found = built(second)
    assert found["lock"]["state"] != "held"
    assert found["risks"] == [f"lock_{found['lock']['state']}"]


def test_keys_of_another_clean_up_are_not_compared(world: GateWorld, second: CleanupStage) -> None:
    gate.frozen(gate.stage_of(gate.asked(world, "mastercache:")), ("mastercache:1",))
    [shown] = built(second)["qa"]
    assert (shown["only_here"], shown["only_there"]) == (1, 1)


def test_keys_that_only_one_environment_has_are_counted_and_the_first_five_named(
    first: CleanupStage, second: CleanupStage
) -> None:
    here, there = ([f"master:{side}:{n}" for n in range(7)] for side in ("here", "there"))
    for stage, names in ((second, here), (first, there)):
        with gate.past_the_triggers():
            CleanupEntry.objects.bulk_create(
                CleanupEntry(stage=stage, index=20 - n, name=name) for n, name in enumerate(names)
            )
            CleanupStage.objects.filter(pk=stage.pk).update(names=10, deleted=10)
    [found] = built(second)["qa"]
    assert (found["only_here"], found["only_there"]) == (8, 8)
    assert found["sample_here"] == ["master:c:1", *here[:2:-1]]
    assert found["sample_there"] == ["master:b:1", *there[:2:-1]]


def test_other_keys_and_reappeared_keys_of_qa_are_shown_with_their_explanations(
    world: GateWorld, first: CleanupStage, second: CleanupStage
) -> None:
    why = {"others_note": "an import as agreed", "others_by": world.people.operator, "others_at": Now()}
    gate.tampered(first, others=9, skipped=1, deleted=2, leftovers_note="a job", **why)
    with gate.past_the_triggers():
        OtherName.objects.bulk_create(OtherName(stage=first, name=f"master:x:{n}") for n in (6, 5, 4, 3, 2, 1))
        for index, note in enumerate(("f", "e", "d", "c" * 600, "b", "a", "a")):
            Reappearance.objects.create(
                stage=first, index=index, name=f"master:{index}", same=True, note=note,
                acknowledged_by=world.people.operator, acknowledged_at=Now(),
            )  # fmt: skip
    found = built(second)
    [shown] = found["qa"]
    assert (shown["skipped"], shown["deleted"]) == (1, 2)
    sample = [f"master:x:{n}" for n in range(1, 6)]
    assert shown["others"] == {"count": 9, "sample": sample, "note": "an import as agreed", "by": OPERATOR}
    assert (shown["reappeared"], shown["reappeared_notes"]) == (7, ["a", "b", "c" * 500, "d", "e"])
    assert found["warnings"] == [
        {"code": "qa_leftovers", "environment": "Qa", "count": 1},
        {"code": "qa_others", "environment": "Qa", "count": 9},
        {"code": "qa_reappeared", "environment": "Qa", "count": 7},
        {"code": "read_in_bulk"},
    ]


def test_an_environment_without_such_keys_is_a_warning(
    world: GateWorld, request_: CleanupRequest, second: CleanupStage, first: CleanupStage
) -> None:
    gate.tampered(first, names=0, deleted=0, skipped=1, empty_reason="QA has none", leftovers_note="x")
    assert built(second)["warnings"] == [{"code": "qa_empty", "environment": "Qa"}, {"code": "read_in_bulk"}]


WARNED: dict[str, tuple[Callable[[CleanupStage], object], list[dict[str, object]]]] = {
    "expired": (
        lambda stage: gate.tampered(_backup(stage), expired=2),
        [{"code": "expired", "count": 2}, {"code": "read_in_bulk"}],
    ),
    "public": (
        lambda _: BucketProtection.objects.update(public=["files.example"]),
        [{"code": "bucket_public", "hosts": ["files.example"]}, {"code": "read_in_bulk"}],
    ),
    "read exactly": (lambda stage: gate.tampered(_backup(stage), read="exact"), []),
    "sample": (
        lambda _: Family.objects.update(sample=True),
        [{"code": "read_in_bulk"}, {"code": "sample_family"}],
    ),
}


def _backup(stage: CleanupStage) -> Generation:
    assert stage.generation
    return stage.generation


@pytest.mark.parametrize("what", WARNED)
def test_the_reviewer_is_warned(second: CleanupStage, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    change, warnings = WARNED[what]
    monkeypatch.setattr(policy, "shown", dict)
    with gate.past_the_triggers():
        change(second)
    assert built(second)["warnings"] == warnings


def test_the_digest_is_that_of_the_text_and_the_title_says_what_goes(second: CleanupStage) -> None:
    found = gate.stage_of(second.request, "production")
    text = evidence.canonical_evidence(cleanup_evidence.build(found))
    assert cleanup_evidence.evidence_digest(found) == sha256(text.encode()).hexdigest()
    title = cleanup_evidence.title(found)
    assert title == f"Delete 3 keys {second.request.pattern} from Production production-settings"


def test_the_text_of_evidence_has_sorted_keys_and_no_spaces() -> None:
    assert evidence.canonical_evidence({"b": [1, None], "a": "本番"}) == '{"a":"本番","b":[1,null]}'
    with pytest.raises(ValueError, match="not JSON compliant"):
        evidence.canonical_evidence({"a": float("nan")})


def test_a_moment_is_in_utc_and_none_is_empty() -> None:
    at = datetime(2026, 7, 1, 12, 30, tzinfo=timezone(timedelta(hours=9)))
    assert (evidence.moment(at), evidence.moment(None)) == ("2026-07-01T03:30:00+00:00", "")


# The policy in force


def test_the_policy_in_force_is_its_newest_version(world: GateWorld) -> None:
    make.family("stock:", Category.LEGACY)
    newest = PolicyVersion.objects.order_by("-number")[0]
    assert newest.number > 1
    assert policy.shown() == {"version": newest.number, "digest": newest.digest}


def test_rows_that_nobody_approved_stop_it_and_the_sentence_says_which(world: GateWorld) -> None:
    newest = PolicyVersion.objects.latest("number")
    with gate.past_the_triggers():
        Family.objects.filter(pattern="master:").update(encrypt=True)
    with pytest.raises(policy.PolicyEdited) as edited:
        policy.shown()
    assert str(edited.value) == (
        f"The rules in the database differ from policy {newest.number}: Family SETTINGS master:*: Always encrypted no →"
        f" yes. Nobody approved this. Nothing goes on until they are as in policy {newest.number} again; have the"
        " database checked."
    )


def test_a_policy_that_is_replaced_between_the_two_reads_is_read_again(
    world: GateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = policy.Policy.read_rows

    def replaced() -> policy.Policy:
        monkeypatch.setattr(policy.Policy, "read_rows", read)
        make.family("stock:", Category.LEGACY)
        return read()

    monkeypatch.setattr(policy.Policy, "read_rows", replaced)
    newest = PolicyVersion.objects.latest("number").number + 1
    assert policy.shown() == {"version": newest, "digest": PolicyVersion.objects.latest("number").digest}
