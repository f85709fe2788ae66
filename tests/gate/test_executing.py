"""The executor on rows and a KV in memory: what it insists on before the first chunk, before each, at the delete."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from types import SimpleNamespace
from typing import cast

import pytest
from django.db import connection
from django.db.models import F
from django.db.models.functions import Now
from django.test.utils import CaptureQueriesContext
from pytest_django import DjangoAssertNumQueries

from audit import log
from audit.models import Entry as AuditEntry
from backups import archive
from backups.cleanup import evidence as cleanup_evidence, requests as cleanup_requests, stages
from backups.cleanup.stages import CleanupRefused
from backups.deletion import (
    mandate as deletion_mandate,
    run as deletion_run,
    send as deletion_send,
    settle as deletion_settle,
)
from backups.deletion.send import Sender, _Read
from backups.execution import live_digests, revalidation
from backups.execution.clients import Clients
from backups.execution.live_digests import Frozen, KeyVerdict
from backups.generations import encryption
from backups.generations.export import entry_digest
from backups.models import (
    BucketProtection,
    CleanupChunk,
    CleanupEntry,
    CleanupException,
    CleanupRequest,
    CleanupStage,
    Generation,
    GenerationEntry,
)
from kvops import clock, timing
from kvops.cloudflare import CloudflareError, KvEntry, TooLate
from kvops.models import ApprovalRequest, Category, Environment, Family, Namespace, PolicyVersion, Role, Run
from kvops.references import look as code_look
from kvops.runs import driver as run_driver, emergency
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, LeaseLost, RunError, Stopped
from tests import make
from tests.gate import world as gate
from tests.gate.executing import Kv, monotonic, now
from tests.gate.world import NAMES, GateWorld

pytestmark = pytest.mark.django_db


# The target


def insist(stage: CleanupStage, lease: Lease) -> None:
    deletion_mandate.insist_target(gate.stage_of(stage.request, stage.environment.slug), lease)


def test_what_was_approved_is_let_through(stage: CleanupStage, lease: Lease) -> None:
    insist(stage, lease)
    deletion_mandate.insist_as_approved(stage, lease)


TARGETS: dict[str, tuple[Callable[[CleanupStage], object], str]] = {
    "api": (lambda s: set_environment(s, api_base_url="http://127.0.0.1:8"), "api is http://127.0.0.1:8 now"),
    "account": (lambda s: set_environment(s, account_id="c" * 32), f"account_id is {'c' * 32} now"),
    "bucket": (lambda s: set_environment(s, r2_bucket="other"), "bucket is other now"),
    "production": (lambda s: set_environment(s, production=True), "production is True now"),
    "environment": (lambda s: set_environment(s, slug="qb"), "environment is qb now"),
    "namespace": (lambda s: set_namespace(s, namespace_id="9" * 32), f"namespace_id is {'9' * 32} now"),
    "title": (lambda s: set_namespace(s, title="other"), "namespace_title is other now, not qa-settings as approved."),
    "prefix": (lambda s: gate.tampered(s.request, prefix="master:a:"), "prefix is master:a: now"),
}


def set_environment(stage: CleanupStage, **values: object) -> None:
    Environment.objects.filter(pk=stage.environment_id).update(**values)


def set_namespace(stage: CleanupStage, **values: object) -> None:
    Namespace.objects.filter(pk=stage.namespace_id).update(**values)


@pytest.mark.hazard("B27")
@pytest.mark.parametrize("what", TARGETS)
def test_another_target_than_was_approved_is_refused(stage: CleanupStage, lease: Lease, what: str) -> None:
    change, why = TARGETS[what]
    change(stage)
    with pytest.raises(RunError, match=f"^{why}") as refused:
        deletion_mandate.insist_target(fresh(stage), lease)
    assert refused.value.code == "wrong_target"


def fresh(stage: CleanupStage) -> CleanupStage:
    related = ("environment", "namespace", "request__family", "generation", "approval")
    return CleanupStage.objects.select_related(*related).get(pk=stage.pk)


CARRIED = "The run does not carry the stage's approval."
STARTED = "The run is not the one that was started with the approval."
RUNS: dict[str, tuple[Callable[[GateWorld, CleanupStage, Lease], object], str]] = {
    "another digest": (lambda _w, _s, lease: setattr(lease.run, "approval_digest", "0" * 64), CARRIED),
    "another approval": (lambda _w, _s, lease: setattr(lease.run, "approval_id", 0), CARRIED),
    "another subject": (lambda _w, _s, lease: setattr(lease.run, "subject", "stage:0"), STARTED),
    "another starter": (lambda w, _s, lease: setattr(lease.run, "started_by_id", w.people.nobody.pk), STARTED),
    "another environment": (
        lambda w, _s, lease: setattr(lease.run, "environment_id", w.production.environment_id), STARTED
    ),
    "another state": (lambda _w, s, _l: gate.tampered(s, state="approved"), STARTED),
}  # fmt: skip


def test_a_stage_without_an_approval_deletes_nothing(stage: CleanupStage, lease: Lease) -> None:
    stage.approval = None
    with pytest.raises(RunError) as refused:
        deletion_mandate.insist_target(stage, lease)
    assert (refused.value.code, str(refused.value)) == ("not_approved", CARRIED)
    with pytest.raises(RunError) as refused:
        deletion_mandate.insist_as_approved(stage, lease)
    assert refused.value.code == "stale"


@pytest.mark.hazard("4.2.5")
@pytest.mark.parametrize("what", RUNS)
def test_another_run_than_was_started_is_refused(
    world: GateWorld, stage: CleanupStage, lease: Lease, what: str
) -> None:
    change, why = RUNS[what]
    change(world, stage, lease)
    with pytest.raises(RunError) as refused:
        deletion_mandate.insist_target(fresh(stage), lease)
    assert (refused.value.code, str(refused.value)) == ("not_approved", why)


@pytest.mark.parametrize("what", ["names_sha256", "generation"])
def test_other_names_or_another_backup_are_refused(stage: CleanupStage, lease: Lease, what: str) -> None:
    other: object = "9" * 64
    if what == "generation":
        other = gate._backed_up(stage, NAMES)
    gate.tampered(stage, **{what: other})
    with pytest.raises(RunError) as refused:
        deletion_mandate.insist_target(fresh(stage), lease)
    assert (refused.value.code, str(refused.value)) == (
        "wrong_set", "The list of keys or the backup differs from the approved one."
    )  # fmt: skip


# What was shown


STALE = "The keys to delete differ from the approved ones. Nothing more is sent: end the deletion early and ask again."


def test_everything_that_was_shown_is_derived_once_more(stage: CleanupStage, lease: Lease) -> None:
    Generation.objects.filter(stages=stage).update(status="damaged")
    with pytest.raises(RunError) as refused:
        deletion_mandate.insist_as_approved(stage, lease)
    assert (refused.value.code, str(refused.value)) == ("stale", STALE)


def test_another_lock_is_not_called_another_list_of_keys(stage: CleanupStage, lease: Lease) -> None:
    BucketProtection.objects.update(rules=[])
    with pytest.raises(RunError) as refused:
        deletion_mandate.insist_as_approved(stage, lease)
    assert refused.value.code == "stale"
    assert str(refused.value).startswith("The lock of R2 on the backup differs from the approved one. Nothing more")


def test_a_lock_that_was_not_known_is_not_called_another_lock(stage: CleanupStage) -> None:
    approved = {"state": "unknown", "forever": False, "locked_until": "", "rules": []}
    told = cleanup_evidence.lock_changed(Generation.objects.get(stages=stage), approved)
    assert told == "At the approval it was not known whether R2 locks the backup. Now it is known."


def test_a_backup_in_another_bucket_is_not_called_another_lock(stage: CleanupStage) -> None:
    generation = Generation.objects.get(stages=stage)
    approved = {"state": "short", "forever": False, "locked_until": "", "rules": []}
    assert cleanup_evidence.lock_changed(generation, approved)
    set_environment(stage, r2_bucket="other")
    assert cleanup_evidence.lock_changed(Generation.objects.get(stages=stage), approved) == ""


def test_a_clean_up_that_is_over_deletes_nothing(stage: CleanupStage, lease: Lease) -> None:
    gate.tampered(stage.request, ended_at=Now())
    with pytest.raises(RunError) as refused:
        deletion_mandate.insist_as_approved(fresh(stage), lease)
    assert (refused.value.code, str(refused.value)) == ("wrong_set", "The clean-up is over.")


NAMES_CHANGED: dict[str, Callable[[CleanupStage], object]] = {
    "renamed": lambda s: CleanupEntry.objects.filter(stage=s, index=1).update(name="master:a:9"),
    "one less": lambda s: CleanupEntry.objects.filter(stage=s, index=2)._raw_delete("default"),
    "one more": lambda s: CleanupEntry.objects.create(stage=s, index=3, name="system-root"),
    "a gap": lambda s: CleanupEntry.objects.filter(stage=s, index=2).update(index=7),
    "not from 0": lambda s: CleanupEntry.objects.filter(stage=s).update(index=F("index") + 10),
    "out of order": lambda s: CleanupEntry.objects.filter(stage=s, index=1).update(name="a"),
    "another count": lambda s: CleanupStage.objects.filter(pk=s.pk).update(names=2),
}


@pytest.mark.hazard("B25")
@pytest.mark.parametrize("what", NAMES_CHANGED)
def test_the_names_are_exactly_those_that_were_frozen(stage: CleanupStage, lease: Lease, what: str) -> None:
    with gate.past_the_triggers():
        NAMES_CHANGED[what](stage)
    with pytest.raises(RunError) as refused:
        deletion_mandate.insist_as_approved(fresh(stage), lease)
    assert (refused.value.code, str(refused.value)) == (
        "wrong_set", "The list of keys changed after it was fixed. Have the database checked."
    )  # fmt: skip


def test_while_it_is_derived_the_lease_is_kept(stage: CleanupStage, lease: Lease) -> None:
    Run.objects.filter(pk=lease.run.pk).update(epoch=F("epoch") + 1)
    with pytest.raises(LeaseLost):
        deletion_mandate.insist_as_approved(stage, lease)


class Derive:
    """Counts how often it was asked, and finds what it is told to."""

    def __init__(self, refusing: bool = False) -> None:
        self.asked, self.refusing = 0, refusing

    def __call__(self) -> None:
        self.asked += 1
        if self.refusing:
            raise RunError("stale", STALE)


@pytest.mark.parametrize(("ago", "asked"), [(None, 1), (-60, 0), (0, 0), (60, 1)])
def test_what_was_shown_is_derived_when_that_was_not_done_shortly_before(
    stage: CleanupStage, lease: Lease, monkeypatch: pytest.MonkeyPatch, ago: int | None, asked: int
) -> None:
    now, derive = clock.now(), Derive()
    monkeypatch.setattr("kvops.clock.now", lambda: now)
    before = now - timedelta(seconds=timing.CHECK_PAUSE + (ago or 0))
    lease.run.cursor = {"phase": "delete"} | ({} if ago is None else {"derived_at": before.isoformat()})
    Run.objects.filter(pk=lease.run.pk).update(tries=3)
    revalidation.derived(lease, derive)
    assert (derive.asked, Run.objects.get(pk=lease.run.pk).tries) == (asked, 3)
    at = now if asked else before
    assert lease.run.cursor == {"phase": "delete", "derived_at": at.isoformat()}
    assert not asked or Run.objects.get(pk=lease.run.pk).cursor == lease.run.cursor


def test_what_is_refused_was_not_derived(stage: CleanupStage, lease: Lease) -> None:
    lease.run.cursor = {"phase": "delete"}
    with pytest.raises(RunError, match="The keys to delete differ from the approved ones"):
        revalidation.derived(lease, Derive(refusing=True))
    assert lease.run.cursor == {"phase": "delete"}


# Before each chunk


def test_by_the_approved_rules_it_is_still_its_turn(stage: CleanupStage) -> None:
    deletion_mandate.insist_in_force(fresh(stage))


CHANGED = (
    "The policy changed from version 2 to version 3 after the approval. Nothing more is sent: end the deletion early"
    " and ask again."
)
OTHER_RULES: dict[str, Callable[[], object]] = {
    "a rule of its keys": lambda: make.change_families("master:", encrypt=True),
    "another family": lambda: make.family("stock:", Category.LEGACY),
}


@pytest.mark.parametrize("change", OTHER_RULES)
def test_another_policy_than_the_approved_one_ends_it(stage: CleanupStage, lease: Lease, change: str) -> None:
    OTHER_RULES[change]()
    for insist_ in (deletion_mandate.insist_in_force, partial(deletion_mandate.insist_as_approved, lease=lease)):
        with pytest.raises(RunError) as refused:
            insist_(fresh(stage))
        assert (refused.value.code, str(refused.value)) == ("stale", CHANGED)


def test_another_scope_than_the_approved_one_ends_it(stage: CleanupStage) -> None:
    gate.tampered(stage.request, exact=True)
    with pytest.raises(RunError) as refused:
        deletion_mandate.insist_in_force(fresh(stage))
    assert (refused.value.code, str(refused.value)) == ("stale", STALE)


@pytest.mark.parametrize("after", [0, 1])
def test_a_rule_that_nobody_approved_ends_it(stage: CleanupStage, monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """`after`: the row is edited after the stage's turn was checked."""

    def edit(_stage: CleanupStage) -> None:
        Family.objects.filter(pattern="mastercache:").update(note="no longer needed")

    if after:
        monkeypatch.setattr(deletion_mandate, "insist_turn", edit)
    else:
        edit(stage)
    with pytest.raises(RunError, match="Nobody approved this") as refused:
        deletion_mandate.insist_in_force(fresh(stage))
    assert refused.value.code in {"wrong_set", "policy_edited"}


def test_without_an_approval_nothing_is_in_force(stage: CleanupStage) -> None:
    stage.approval = None
    with pytest.raises(RunError) as refused:
        deletion_mandate.insist_in_force(stage)
    assert (refused.value.code, str(refused.value)) == ("stale", STALE)


def test_a_clean_up_that_is_over_ends_it(stage: CleanupStage) -> None:
    gate.tampered(stage.request, ended_at=Now())
    with pytest.raises(RunError) as refused:
        deletion_mandate.insist_in_force(fresh(stage))
    assert (refused.value.code, str(refused.value)) == ("wrong_set", "The clean-up is over.")


def job(stage: CleanupStage, lease: Lease, kv: Kv) -> deletion_run._Deletion:
    return deletion_run._Deletion(fresh(stage), lease, kv.clients(), deletion_mandate.Approved())


def test_rights_and_backup_hold(stage: CleanupStage, lease: Lease, kv: Kv) -> None:
    job(stage, lease, kv)._insist_rights()


def test_a_right_that_is_gone_ends_it(world: GateWorld, stage: CleanupStage, lease: Lease, kv: Kv) -> None:
    make.revoke(world.people.reviewer, Role.REVIEWER)
    with pytest.raises(RunError, match=r"^Reviewer approved this and is no longer a reviewer\.$") as refused:
        job(stage, lease, kv)._insist_rights()
    assert refused.value.code == "rights_gone"


def test_rights_that_go_while_what_was_approved_is_derived_send_nothing(
    world: GateWorld, stage: CleanupStage, lease: Lease, kv: Kv, monkeypatch: pytest.MonkeyPatch
) -> None:
    def derive(*_: object) -> None:
        make.revoke(world.people.reviewer, Role.REVIEWER)

    monkeypatch.setattr(deletion_mandate, "insist_as_approved", derive)
    with pytest.raises(RunError) as refused:
        job(stage, lease, kv).delete()
    assert (refused.value.code, kv.asked, kv.sent) == ("rights_gone", [], [])


def test_a_stop_stops_it(world: GateWorld, stage: CleanupStage, lease: Lease, kv: Kv) -> None:
    emergency.press(stage.environment, by=world.people.auditor)
    with pytest.raises(Stopped) as stopped:
        job(stage, lease, kv)._insist_rights()
    assert stopped.value.code == emergency.CODE


@pytest.mark.parametrize("status", ["complete", "damaged"])
def test_a_backup_that_is_not_verified_ends_it(stage: CleanupStage, lease: Lease, kv: Kv, status: str) -> None:
    mine = job(stage, lease, kv)
    gate.tampered(mine.generation, status=status)
    with pytest.raises(RunError) as refused:
        mine._insist_rights()
    assert (refused.value.code, str(refused.value)) == (
        "backup_damaged", "The backup is no longer verified. Nothing more is sent."
    )  # fmt: skip


def test_production_waits_for_a_person(stage: CleanupStage, lease: Lease, kv: Kv) -> None:
    mine = job(stage, lease, kv)
    careful = [(True, {}, True), (True, {"go_on": ""}, True), (True, {"go_on": "x"}, False), (False, {}, False)]
    for production, cursor, expected in careful:
        mine.stage.environment.production = production
        lease.run.cursor = cursor
        assert bool(mine._careful) == expected


@pytest.mark.parametrize("late", [-60, 60])
@pytest.mark.parametrize("what", ["checked_at", "intended_at", "sent_at", "settled_at"])
def test_after_a_long_pause_d1_is_checked_again(
    lease: Lease, kv: Kv, chunk: CleanupChunk, late: int, what: str
) -> None:
    mine = job(chunk.stage, lease, kv)
    assert not mine._lay_still()
    ago = timedelta(seconds=timing.CHECK_PAUSE + late)
    if what == "checked_at":
        lease.run.cursor = {"checked_at": (clock.now() - ago).isoformat()}
    else:
        gate.tampered(chunk, **{what: Now() - ago})
    assert mine._lay_still() == (late > 0)
    lease.run.cursor = {"checked_at": clock.now().isoformat()}
    assert not mine._lay_still()


def test_a_pause_of_just_as_long_is_not_longer(
    lease: Lease, kv: Kv, chunk: CleanupChunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = clock.now()
    monkeypatch.setattr("kvops.clock.now", lambda: now)
    lease.run.cursor = {"checked_at": (now - timedelta(seconds=timing.CHECK_PAUSE)).isoformat()}
    assert not job(chunk.stage, lease, kv)._lay_still()


@pytest.mark.parametrize(("starts", "kept"), [(2, 1), (1, 0), (0, 0)])
def test_that_d1_must_be_checked_again_is_no_step_forward(
    lease: Lease, kv: Kv, chunk: CleanupChunk, starts: int, kept: int
) -> None:
    ago = clock.now() - timedelta(seconds=timing.CHECK_PAUSE + 60)
    lease.run.cursor = {"phase": "delete", "checked_at": ago.isoformat()}
    lease.run.starts, lease.run.tries = starts, 3
    Run.objects.filter(pk=lease.run.pk).update(tries=3)
    assert job(chunk.stage, lease, kv).delete() is None
    mine = Run.objects.get(pk=lease.run.pk)
    assert (mine.cursor, mine.tries, lease.over) == ({"phase": "begin", "starts": kept, "tries": 3}, 3, True)


def test_nor_is_that_d1_was_checked_again(
    lease: Lease, kv: Kv, chunk: CleanupChunk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.bucket.protection.ask_cloudflare", lambda *_: None)
    monkeypatch.setattr("backups.integrity.start.recheck", lambda *_: SimpleNamespace(outcome="passed"))
    lease.run.cursor = {"phase": "begin", "starts": 2, "tries": 3}
    Run.objects.filter(pk=lease.run.pk).update(starts=1, tries=0)
    assert job(chunk.stage, lease, kv).begin() is None
    mine = Run.objects.get(pk=lease.run.pk)
    assert (mine.cursor["phase"], mine.starts, mine.tries) == ("delete", 2, 3)


# Letting it go on


def waiting(stage: CleanupStage, lease: Lease, **cursor: object) -> Run:
    gate.tampered(lease.run, state="queued", owner="", lease_until=None, cursor={"phase": "delete", **cursor})
    return Run.objects.get(pk=lease.run.pk)


def test_a_person_lets_production_go_on(world: GateWorld, stage: CleanupStage, lease: Lease) -> None:
    run = waiting(stage, lease, waits=True)
    deletion_run.let_go_on(run, world.people.operator2.actor)
    name = str(world.people.operator2)
    assert Run.objects.get(pk=run.pk).cursor == {"phase": "delete", "waits": False, "go_on": name}


@pytest.mark.parametrize("cursor", [{"waits": True}, {"waits": False}, {}])
@pytest.mark.parametrize("by", ["person", "product"])
def test_nothing_else_lets_it_go_on(
    world: GateWorld, stage: CleanupStage, lease: Lease, cursor: dict[str, object], by: str
) -> None:
    run = waiting(stage, lease, **cursor)
    person = by == "person"
    if person and cursor.get("waits"):
        Run.objects.filter(pk=run.pk).update(state="running")
    deletion_run.let_go_on(run, world.people.operator2.actor if person else make.SETUP)
    assert "go_on" not in Run.objects.get(pk=run.pk).cursor


@pytest.mark.parametrize("cursor", [{"waits": True}, {}])
def test_whoever_lets_it_go_on_what_was_shown_is_derived_again(
    stage: CleanupStage, lease: Lease, cursor: dict[str, object]
) -> None:
    run = waiting(stage, lease, derived_at="2026-01-01T00:00:00+00:00", **cursor)
    deletion_run.let_go_on(run, make.SETUP)
    assert Run.objects.get(pk=run.pk).cursor == {"phase": "delete", **cursor}


@pytest.mark.parametrize("word", ["derived_at", "looked", "starts", "tries"])
def test_nothing_of_before_counts_against_a_run_that_is_resumed(stage: CleanupStage, lease: Lease, word: str) -> None:
    run = waiting(stage, lease, **{word: 5})
    revalidation.revalidate(run, make.SETUP)
    assert Run.objects.get(pk=run.pk).cursor == {"phase": "delete"}


@pytest.mark.parametrize("moved", [{"epoch": F("epoch") + 1}, {"state": "running"}])
def test_a_run_that_was_moved_meanwhile_is_not_touched(
    stage: CleanupStage, lease: Lease, monkeypatch: pytest.MonkeyPatch, moved: dict[str, object]
) -> None:
    run = waiting(stage, lease, derived_at="x")
    stopped = Run.objects.get(pk=run.pk)
    Run.objects.filter(pk=run.pk).update(**moved)
    monkeypatch.setattr("backups.execution.revalidation.Run.objects.get", lambda **_: stopped)
    revalidation.revalidate(run, make.SETUP)
    monkeypatch.undo()
    assert Run.objects.get(pk=run.pk).cursor == {"phase": "delete", "derived_at": "x"}


def test_it_derives_again_for_that_run_alone(stage: CleanupStage, lease: Lease) -> None:
    with log.transaction():
        other = run_driver.create(Run.Kind.SCAN, subject="namespace:2", label="y", actor=make.SETUP)
    gate.tampered(other, epoch=lease.run.epoch, cursor={"derived_at": "x"})
    revalidation.revalidate(waiting(stage, lease), make.SETUP)
    assert Run.objects.get(pk=other.pk).cursor == {"derived_at": "x"}


def test_it_lets_go_on_that_run_alone(world: GateWorld, stage: CleanupStage, lease: Lease) -> None:
    with log.transaction():
        other = run_driver.create(Run.Kind.SCAN, subject="namespace:2", label="y", actor=make.SETUP)
    gate.tampered(other, epoch=lease.run.epoch)
    deletion_run.let_go_on(waiting(stage, lease, waits=True), world.people.operator2.actor)
    assert Run.objects.get(pk=other.pk).cursor == {}


def test_nobody_lets_a_run_go_on_that_was_moved_meanwhile(world: GateWorld, stage: CleanupStage, lease: Lease) -> None:
    run = waiting(stage, lease, waits=True)

    class Late:
        id = world.people.operator2.pk

        @property
        def text(self) -> str:
            Run.objects.filter(pk=run.pk).update(epoch=F("epoch") + 1)
            return "Late"

    deletion_run.let_go_on(run, cast("log.Actor", Late()))
    assert "go_on" not in Run.objects.get(pk=run.pk).cursor


# What is compared


def backed_up(stage: CleanupStage) -> list[Frozen]:
    return live_digests.frozen(stage, [2, 0, 1])


def test_what_is_frozen_carries_the_backup_s_digest(stage: CleanupStage) -> None:
    digest = archive.entry_digest(NAMES[1], sha256(b"{}").digest(), None, None)
    assert [(one.index, one.name) for one in backed_up(stage)] == list(enumerate(NAMES))
    assert backed_up(stage)[1] == Frozen(1, NAMES[1], digest, None)
    assert [one.index for one in live_digests.frozen(stage, [1])] == [1]


def test_what_is_frozen_carries_the_backup_s_expiration(stage: CleanupStage) -> None:
    entry = GenerationEntry.objects.get(generation=stage.generation, index=1)
    gate.tampered(entry, expiration=1_800_000_000)
    assert [one.expiration for one in backed_up(stage)] == [None, 1_800_000_000, None]


def test_digests_of_an_encrypted_backup_are_compared_with_its_key(
    stage: CleanupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = {stage.generation_id: b"k" * 32}
    monkeypatch.setattr(encryption, "digest_key", lambda generation: keys[generation.pk])
    there = KvEntry(NAMES[0], b"{}", None, None)
    [found] = live_digests.frozen(stage, [0])
    assert found.key == b"k" * 32
    made = replace(found, digest=entry_digest(there, found.key))
    assert live_digests.compare_frozen([made], {NAMES[0]: there}) == {made: KeyVerdict.EQUAL}
    assert live_digests.compare_frozen([found], {NAMES[0]: there}) == {found: KeyVerdict.DIFFERENT}


def test_what_is_not_in_the_backup_is_left_out(stage: CleanupStage) -> None:
    entry = GenerationEntry.objects.get(generation=stage.generation, index=1)
    gate.tampered(entry, outcome="expired", digest=None)
    other = gate._backed_up(stage, NAMES)
    assert other.pk != stage.generation_id
    assert [one.index for one in backed_up(stage)] == [0, 2]


@pytest.mark.parametrize(
    ("there", "verdict"),
    [
        (KvEntry(NAMES[0], b"{}", None, None), KeyVerdict.EQUAL),
        (None, KeyVerdict.ABSENT),
        (KvEntry(NAMES[0], b"{ }", None, None), KeyVerdict.DIFFERENT),
        (KvEntry(NAMES[1], b"{}", None, None), KeyVerdict.DIFFERENT),
        (KvEntry(NAMES[0], b"{}", None, "{}"), KeyVerdict.DIFFERENT),
        (KvEntry(NAMES[0], b"{}", 1_800_000_000, None), KeyVerdict.DIFFERENT),
    ],
)
def test_only_what_equals_its_backup_in_everything_is_equal(
    stage: CleanupStage, there: KvEntry | None, verdict: KeyVerdict
) -> None:
    first = backed_up(stage)[:1]
    assert live_digests.compare_frozen(first, {NAMES[0]: there}) == {first[0]: verdict}


# The delete


@contextmanager
def passing(monkeypatch: pytest.MonkeyPatch, start: float = 1000.0) -> Iterator[list[float]]:
    """Seconds of the process, as reading sees them."""
    seconds = [start]
    with monkeypatch.context() as patch:
        patch.setattr(deletion_send, "time", SimpleNamespace(monotonic=lambda: seconds[0]))
        yield seconds


@pytest.mark.parametrize(("age", "old"), [(0, False), (timing.READ_FRESH, False), (timing.READ_FRESH + 0.01, True)])
def test_a_read_gets_old(monkeypatch: pytest.MonkeyPatch, age: float, old: bool) -> None:
    with passing(monkeypatch) as seconds:
        read = _Read(1000.0, clock.now(), {})
        seconds[0] += age
        assert read.old == old


def test_the_keys_are_read_and_compared(sender: Sender, stage: CleanupStage, lease: Lease, kv: Kv) -> None:
    del kv.held[NAMES[1]]
    before, until = clock.now(), lease._trusted_until
    read = sender._read_in_time(backed_up(stage))
    assert read is not None
    assert before <= read.at <= clock.now()
    assert list(read.verdicts.values()) == [KeyVerdict.EQUAL, KeyVerdict.ABSENT, KeyVerdict.EQUAL]
    assert kv.asked == [(stage.namespace.namespace_id, list(NAMES))]
    assert lease._trusted_until > until


def test_what_must_be_read_singly_is(sender: Sender, stage: CleanupStage, kv: Kv) -> None:
    sender.generation.read = "exact"
    read = sender._read_in_time(backed_up(stage))
    assert read is not None
    assert set(read.verdicts.values()) == {KeyVerdict.EQUAL}
    assert sorted(kv.asked) == [(stage.namespace.namespace_id, [name]) for name in NAMES]


@pytest.mark.parametrize("slow", [0, 1, 2])
def test_a_read_that_took_too_long_is_made_again_once(
    sender: Sender, stage: CleanupStage, kv: Kv, monkeypatch: pytest.MonkeyPatch, slow: int
) -> None:
    with passing(monkeypatch) as seconds:

        def read() -> None:
            seconds[0] += timing.READ_FRESH + 1 if len(kv.asked) <= slow else 1

        kv.during_read = read
        found = sender._read_in_time(backed_up(stage))
    assert len(kv.asked) == min(slow + 1, 2)
    assert (found is None) == (slow == 2)
    assert found is None or found.since == 1000.0 + (timing.READ_FRESH + 1) * slow


def read_now(stage: CleanupStage, kv: Kv) -> _Read:
    entries = backed_up(stage)
    return _Read(monotonic(), clock.now(), live_digests.compare_frozen(entries, kv.held))


def test_what_equals_its_backup_is_intended_deleted_and_noted(
    sender: Sender, stage: CleanupStage, lease: Lease, chunk: CleanupChunk, kv: Kv
) -> None:
    kv.held[NAMES[1]] = KvEntry(NAMES[1], b"new", None, None)
    seen: list[CleanupChunk] = []
    kv.before_delete = lambda: seen.append(now(chunk))
    read = read_now(stage, kv)
    sender._intend_and_delete(chunk, read)
    equal = [NAMES[0], NAMES[2]]
    [intended] = seen
    assert (intended.state, intended.names, intended.epoch) == ("intended", 2, lease.epoch)
    assert intended.names_sha256 == archive.names_sha256(equal)
    assert (intended.read_at, intended.settled_at, intended.intended_at is None) == (read.at, None, False)
    assert kv.sent == [(stage.namespace.namespace_id, equal)]
    assert now(chunk).state == "sent"
    assert dict(CleanupException.objects.values_list("name", "outcome")) == {NAMES[1]: "changed"}
    entry = AuditEntry.objects.get(action="chunk.intended")
    assert (entry.subject, entry.environment, entry.digest) == (f"stage:{stage.pk}", "qa", intended.names_sha256)
    assert (entry.actor_id, entry.subject_label) == (lease.actor.id, str(stage))
    assert entry.details == {"chunk": 1, "names": 2, "not_sent": 1}


def test_no_other_chunk_is_intended_with_it(sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv) -> None:
    other = CleanupChunk.objects.create(stage=stage, number=2, first_index=3, last_index=3)
    sender._intend_and_delete(chunk, read_now(stage, kv))
    assert (now(chunk).state, now(other).state) == ("sent", "planned")


def test_nothing_is_sent_when_nothing_equals_its_backup(
    sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv, lease: Lease
) -> None:
    kv.held.clear()
    sender._intend_and_delete(chunk, read_now(stage, kv))
    mine = now(chunk)
    assert (kv.sent, mine.state, mine.names, mine.settled_at is None) == ([], "settled", 0, False)
    assert Run.objects.get(pk=lease.run.pk).done == 3


def test_the_progress_is_noted_when_it_is_sent(
    sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv, lease: Lease
) -> None:
    kv.before_delete = lambda: done.append(Run.objects.get(pk=lease.run.pk).done)
    done: list[int] = []
    sender._intend_and_delete(chunk, read_now(stage, kv))
    assert (done, Run.objects.get(pk=lease.run.pk).done) == ([0], 3)


def test_it_gets_further_when_it_was_sent_or_nothing_is_left_to_be(
    sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv, lease: Lease
) -> None:
    run, tries = Run.objects.filter(pk=lease.run.pk), list[int]()
    kv.before_delete = lambda: tries.append(run.get().tries)
    other = CleanupChunk.objects.create(stage=stage, number=2, first_index=2, last_index=2)
    for one in (chunk, other):
        run.update(tries=3)
        sender._intend_and_delete(one, read_now(stage, kv))
        tries.append(run.get().tries)
        kv.held.clear()
    assert tries == [3, 0, 0]


@pytest.mark.parametrize("refuses", [CloudflareError("no answer"), TooLate("connecting took so long")])
def test_it_gets_no_further_when_it_was_not_sent(
    sender: Sender, chunk: CleanupChunk, kv: Kv, lease: Lease, refuses: CloudflareError
) -> None:
    Run.objects.filter(pk=lease.run.pk).update(tries=3)
    kv.refuses = refuses
    with suppress(CloudflareError):
        sender._intend_and_delete(chunk, read_now(chunk.stage, kv))
    assert (now(chunk).state, Run.objects.get(pk=lease.run.pk).tries) == ("settled", 3)


@pytest.mark.parametrize("state", ["intended", "sent", "settled"])
def test_a_chunk_that_somebody_moved_is_not_sent(
    sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv, state: str
) -> None:
    times = dict.fromkeys(("read_at", "intended_at", "sent_at", "settled_at"), Now())
    gate.tampered(chunk, state=state, names=1, names_sha256="0" * 64, epoch=1, **times)
    with pytest.raises(RunError) as refused:
        sender._intend_and_delete(chunk, read_now(stage, kv))
    assert (refused.value.code, str(refused.value)) == ("chunk_moved", "A chunk was moved by another worker.")
    assert kv.sent == []


def test_no_chunk_is_intended_after_an_emergency_stop(
    world: GateWorld, sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv
) -> None:
    emergency.press(stage.environment, by=world.people.auditor, reason="wait for the others")
    with pytest.raises(Stopped) as stopped:
        sender._intend_and_delete(chunk, read_now(stage, kv))
    assert (stopped.value.code, kv.sent, now(chunk).state) == (emergency.CODE, [], "planned")
    assert str(stopped.value).endswith("pressed the emergency stop. Two people release it. wait for the others")


def test_whoever_intends_and_whoever_presses_hold_the_same_row_and_others_may_refer_to_it(
    world: GateWorld, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with log.transaction(), django_assert_num_queries(2) as asked:
        emergency.hold(world.qa.environment)
    lock = asked.captured_queries[0]["sql"]
    assert lock.endswith("FOR NO KEY UPDATE")
    assert f'"id" = {world.qa.environment_id}' in lock


def test_a_stop_is_read_with_who_pressed_it(
    world: GateWorld, stage: CleanupStage, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    emergency.press(stage.environment, by=world.people.auditor)
    with django_assert_num_queries(1):
        found = emergency.stop_in_force(stage.environment)
        assert found
        assert found.by.name == "Auditor"


def test_a_stage_is_locked_with_what_it_belongs_to(
    stage: CleanupStage, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    with log.transaction(), django_assert_num_queries(1):
        found = stages.locked(stage)
        about = (found.request.family.pattern, found.environment.slug, found.namespace.binding)
        assert about == ("master:", "qa", "SETTINGS")
    with log.transaction(), pytest.raises(CleanupStage.DoesNotExist):
        stages.locked(CleanupStage(pk=0))


def test_holding_belongs_to_a_recorded_transaction(world: GateWorld) -> None:
    with pytest.raises(log.OutsideTransactionError):
        emergency.hold(world.qa.environment)


def test_the_stop_of_another_environment_stops_nothing_here(
    world: GateWorld, sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv
) -> None:
    emergency.press(world.production.environment, by=world.people.auditor)
    sender._intend_and_delete(chunk, read_now(stage, kv))
    assert len(kv.sent) == 1


def test_a_read_that_grew_old_is_not_relied_on(
    sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv, monkeypatch: pytest.MonkeyPatch
) -> None:
    with passing(monkeypatch) as seconds:
        read = read_now(stage, kv)
        seconds[0] += timing.READ_FRESH + 1
        sender._intend_and_delete(chunk, read)
    assert (kv.sent, now(chunk).state) == ([], "settled")
    assert now(chunk).answer == {"unsent": True, "problem": deletion_send.TOO_SLOW, "problem_sentence": {}}
    halves = CleanupChunk.objects.filter(state="planned").order_by("first_index")
    assert list(halves.values_list("first_index", "last_index")) == [(0, 1), (2, 2)]


def test_a_single_key_that_cannot_be_read_in_time_ends_it(
    sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate.tampered(chunk, first_index=1, last_index=1)
    chunk.refresh_from_db()
    with passing(monkeypatch) as seconds:
        read = _Read(seconds[0], clock.now(), live_digests.compare_frozen(live_digests.frozen(stage, [1]), kv.held))
        seconds[0] += timing.READ_FRESH + 1
        with pytest.raises(RunError) as refused:
            sender._intend_and_delete(chunk, read)
    assert (refused.value.code, str(refused.value), kv.sent) == ("too_slow", deletion_send.TOO_SLOW, [])


@pytest.mark.parametrize("last", [1, 2])
def test_a_delete_that_could_not_be_sent_in_time_is_made_smaller_or_ends_it(
    sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv, last: int
) -> None:
    gate.tampered(chunk, first_index=1, last_index=last)
    chunk.refresh_from_db()
    kv.refuses = TooLate("connecting took so long")
    with pytest.raises(RunError, match="quickly enough") if last == 1 else nullcontext():
        sender._intend_and_delete(chunk, read_now(stage, kv))
    planned = CleanupChunk.objects.filter(state="planned").order_by("first_index")
    assert list(planned.values_list("first_index", "last_index")) == [(1, 1), (2, 2)][:last]
    assert now(chunk).answer == {"unsent": True, "problem": deletion_send.TOO_SLOW, "problem_sentence": {}}


def test_the_gap_between_read_and_delete_is_kept(
    sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv, monkeypatch: pytest.MonkeyPatch
) -> None:
    with passing(monkeypatch) as seconds:

        def connecting() -> None:
            seconds[0] += 0.5

        kv.before_delete = connecting
        read = read_now(stage, kv)
        seconds[0] += 1
        sender._intend_and_delete(chunk, read)
    assert now(chunk).gap_ms == 1500
    assert kv.until == 1000.0 + timing.READ_FRESH


def test_a_refused_delete_is_no_delete(sender: Sender, stage: CleanupStage, chunk: CleanupChunk, kv: Kv) -> None:
    kv.refuses = CloudflareError("403: no")
    with pytest.raises(CloudflareError, match="403"):
        sender._intend_and_delete(chunk, read_now(stage, kv))
    answer = {"unsent": True, "problem": "403: no", "problem_sentence": {}}
    assert (now(chunk).state, now(chunk).answer) == ("settled", answer)
    again = CleanupChunk.objects.get(state="planned")
    assert (again.first_index, again.last_index) == (0, 2)


@pytest.mark.parametrize("why", ["refused", "old"])
def test_what_a_later_try_did_not_send_is_still_to_be_tried(
    sender: Sender, chunk: CleanupChunk, kv: Kv, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    gate.tampered(chunk, attempt=2)
    chunk.refresh_from_db()
    kv.refuses = CloudflareError("403: no") if why == "refused" else None
    with passing(monkeypatch) as seconds, suppress(CloudflareError):
        read = read_now(chunk.stage, kv)
        seconds[0] += timing.READ_FRESH + 1 if why == "old" else 0
        sender._intend_and_delete(chunk, read)
    left = CleanupException.objects.filter(outcome="alive").order_by("index").values_list("name", flat=True)
    assert tuple(left) == NAMES


def test_nothing_is_sent_on_a_lease_that_is_too_old(
    sender: Sender, chunk: CleanupChunk, kv: Kv, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = read_now(chunk.stage, kv)
    real = Lease.fence

    def late(self: Lease) -> object:
        self._trusted_until = 0.0
        return real(self)

    monkeypatch.setattr(Lease, "fence", late)
    with pytest.raises(LeaseLost):
        sender._intend_and_delete(chunk, read)
    assert (kv.sent, now(chunk).state) == ([], "intended")


# A step


def test_a_step_insists_on_the_target_the_database_and_the_namespace_before_it_does_anything(
    stage: CleanupStage, lease: Lease, kv: Kv, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[object] = []
    clients = kv.clients()
    vars(clients)["insist_visible"] = seen.append

    @contextmanager
    def opened(environment: Environment) -> Iterator[Clients]:
        seen.append(environment)
        yield clients

    monkeypatch.setattr(deletion_run, "open_clients", opened)
    monkeypatch.setattr(
        "backups.bucket.newest_manifest.insist_none", lambda environment: seen.append(("none", environment))
    )
    for phase in ("begin", "delete"):
        monkeypatch.setattr(deletion_run._Deletion, phase, lambda _self, phase=phase: Again(1, phase))
    monkeypatch.setattr(
        deletion_settle, "settle", lambda *given: Again(2, str(given == (fresh(stage), lease, kv, clients.budget)))
    )
    assert deletion_run.delete_keys_permanently(lease) == Again(1, "begin")
    assert seen == [("none", stage.environment), stage.environment, stage.namespace]
    for phase, expected in (("begin", Again(1, "begin")), ("delete", Again(1, "delete")), ("settle", Again(2, "True"))):
        lease.run.cursor = {"phase": phase}
        assert deletion_run.delete_keys_permanently(lease) == expected


def test_a_stage_without_backup_or_approval_has_nothing_to_delete(stage: CleanupStage, lease: Lease, kv: Kv) -> None:
    for missing in ("generation", "approval"):
        mine = fresh(stage)
        setattr(mine, missing, None)
        with pytest.raises(RunError) as refused:
            deletion_run._Deletion(mine, lease, kv.clients(), deletion_mandate.Approved())
        assert (refused.value.code, str(refused.value)) == ("not_backed_up", "The stage has no verified backup.")


# The start


def test_a_start_claims_and_creates_the_run(world: GateWorld, request_: CleanupRequest) -> None:
    before = gate.approved(world, request_)
    run = cleanup_requests.start_deletion(before, by=world.people.operator2)
    stage, approval = gate.stage_of(request_), gate.approval_of(before)
    assert (run.kind, run.subject, run.label, run.total) == ("delete", f"stage:{stage.pk}", str(stage), 3)
    assert (run.environment, run.approval, run.approval_digest) == (stage.environment, approval, approval.digest)
    assert (run.started_by, run.actor, approval.starter) == (
        world.people.operator2, str(world.people.operator2), world.people.operator2
    )  # fmt: skip
    assert (stage.run, stage.state, approval.state) == (run, "deleting", "used")
    entry = AuditEntry.objects.get(action="stage.deleting")
    assert (entry.actor_id, entry.digest) == (world.people.operator2.pk, approval.digest)


@pytest.mark.hazard("4.2.6")
def test_a_start_locks_the_request_the_stage_and_the_backup_in_this_order(
    world: GateWorld, request_: CleanupRequest
) -> None:
    stage = gate.approved(world, request_)
    with CaptureQueriesContext(connection) as asked:
        cleanup_requests.start_deletion(stage, by=world.people.operator)
    locks = [query["sql"].rsplit(" FOR ", 1) for query in asked.captured_queries if "UPDATE OF" in query["sql"]]
    assert [how for _, how in locks][:3] == [
        'NO KEY UPDATE OF "kvops_approvalrequest"', 'UPDATE OF "backups_cleanupstage"', 'UPDATE OF "backups_generation"'
    ]  # fmt: skip
    assert f'FROM "backups_cleanupstage" "U0" WHERE "U0"."id" = {stage.pk}' in locks[0][0]
    assert f'"backups_generation"."id" = {stage.generation_id}' in locks[2][0]


def test_a_long_name_of_a_stage_is_cut_on_its_run(world: GateWorld) -> None:
    request = gate.asked(world, f"master:{'x' * 400}")
    run = cleanup_requests.start_deletion(gate.approved(world, request), by=world.people.operator)
    assert run.label == str(gate.stage_of(request))[:300]
    assert len(run.label) == 300


def test_without_a_policy_nothing_starts(world: GateWorld, request_: CleanupRequest) -> None:
    stage = gate.approved(world, request_)
    with gate.past_the_triggers():
        PolicyVersion.objects.all().delete()
    why = r"^There is no policy in force, so nothing may be deleted\. Apply one first\.$"
    with pytest.raises(CleanupRefused, match=why):
        cleanup_requests.start_deletion(stage, by=world.people.operator)


@pytest.mark.parametrize("who", ["reviewer", "auditor", "nobody"])
def test_only_an_operator_starts(
    world: GateWorld, request_: CleanupRequest, who: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = gate.approved(world, request_)
    monkeypatch.setattr(code_look, "ask_when_due", lambda *_asked: pytest.fail("Cloudflare was asked."))
    with pytest.raises(CleanupRefused, match=r"^Only an operator can do this\.$"):
        cleanup_requests.start_deletion(stage, by=getattr(world.people, who))


def test_a_stage_says_why_it_does_not_start(world: GateWorld, request_: CleanupRequest) -> None:
    with pytest.raises(CleanupRefused, match=r"^The stage is not approved: waiting for approval\.$"):
        cleanup_requests.start_deletion(gate.submitted(world, request_), by=world.people.operator)


def test_a_lock_the_reviewer_was_shown_and_nobody_knows_of_any_more_starts_nothing(
    world: GateWorld, request_: CleanupRequest
) -> None:
    stage = gate.approved(world, request_)
    BucketProtection.objects.update(read_at=clock.now() - timedelta(hours=2))
    with pytest.raises(CleanupRefused, match=r"^It is unknown whether R2 still locks backup \d+: "):
        cleanup_requests.start_deletion(stage, by=world.people.operator)


def test_a_stale_start_leads_back_and_says_so(world: GateWorld, request_: CleanupRequest) -> None:
    stage = gate.approved(world, request_)
    make.another_policy()
    stale = "The policy changed from version 2 to version 3 after the approval."
    with pytest.raises(CleanupRefused, match=rf"^{stale} Prepare the stage again\.$"):
        cleanup_requests.start_deletion(stage, by=world.people.operator)
    asked = ApprovalRequest.objects.get(subject=f"stage:{stage.pk}")
    assert (asked.state, asked.reason, gate.stage_of(request_).state) == ("withdrawn", stale, "frozen")


def test_a_start_of_a_clean_up_that_is_over_is_refused(world: GateWorld, request_: CleanupRequest) -> None:
    stage = gate.approved(world, request_)
    gate.tampered(request_, ended_at=Now())
    with pytest.raises(CleanupRefused, match=r"^The clean-up is over\.$"):
        cleanup_requests.start_deletion(stage, by=world.people.operator)


def test_production_does_not_start_once_qa_counts_no_more(world: GateWorld, request_: CleanupRequest) -> None:
    qa = gate.accepted(world, request_)
    stage = gate.approved(world, request_, "production")
    gate.tampered(qa, accepted_at=Now() - timedelta(days=8))
    with pytest.raises(CleanupRefused, match="Clean up Qa first"):
        cleanup_requests.start_deletion(stage, by=world.people.operator)


def test_names_that_are_not_those_that_were_frozen_are_not_started(world: GateWorld, request_: CleanupRequest) -> None:
    stage = gate.approved(world, request_)
    with gate.past_the_triggers():
        NAMES_CHANGED["renamed"](stage)
    with pytest.raises(CleanupRefused, match="changed after it was fixed"):
        cleanup_requests.start_deletion(stage, by=world.people.operator)


def test_only_after_the_last_attempt_and_at_an_early_end_kv_s_longest_time_is_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timing, "SETTLE", 60.0)
    monkeypatch.setattr(timing, "STALE", 300.0)
    assert [revalidation.patience(attempt) for attempt in (None, 1, 2, 3)] == [60.0, 60.0, 60.0, 300.0]
    assert revalidation.patience(None, ending=True) == 300.0
