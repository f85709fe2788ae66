"""A scheduled clearing stops before its first call: each reason, at its start, in its run and before each chunk."""

from collections.abc import Callable
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest
from django.db.models.functions import Now

from audit import log
from audit.models import Entry
from backups.cleanup import requests as cleanup_requests
from backups.clearing import requests as clearing_requests, rounds, rules, run
from backups.clearing.mandate import StandingMandate
from backups.clearing.rules import ClearingRefused
from backups.deletion import chunks as deletion_chunks, mandate as deletion_mandate, run as deletion_run
from backups.execution.live_digests import Frozen, KeyVerdict
from backups.models import (
    CleanupChunk,
    CleanupRequest,
    CleanupStage,
    Clearing,
    ClearingRound,
    Generation,
    GenerationEntry,
)
from kvops import clock, timing
from kvops.approvals import gate as approval_gate
from kvops.approvals.gate import ApprovalRefused
from kvops.inventory.selection import Selection
from kvops.models import (
    ApprovalRequest,
    Environment,
    Family,
    Key,
    Namespace,
    Notification,
    NotificationEvent,
    Role,
    Run,
    Scan,
    Schedule,
)
from kvops.refusals import Refused
from kvops.runs import driver as run_driver, emergency, lease as run_lease
from kvops.runs.lease import Lease
from kvops.runs.outcomes import Again, Done, RunError, Stopped
from kvops.schedules.jobs import Begun
from tests import make, searched
from tests.gate import world as gate
from tests.gate.executing import Bucket, Kv
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db

KEYS = ("mastercache:a", "mastercache:b")
DAY = timedelta(days=1)
WITHOUT = Selection(without_expiration=True)


def scanned(namespace: Namespace) -> Scan:
    scan = Scan.objects.create(
        namespace=namespace,
        run=gate.over(Run.Kind.SCAN, f"namespace:{namespace.pk}", namespace.environment),
        completed_at=Now(),
    )
    family = Family.objects.get(pattern="mastercache:")
    for name in KEYS:
        Key.objects.get_or_create(
            namespace=namespace, name=name, defaults={"family": family, "category": "cache", "first_seen": scan}
        )
    return scan


def made(world: GateWorld, namespace: Namespace, only: Selection = WITHOUT) -> Clearing:
    scanned(namespace)
    return clearing_requests.create(
        namespace,
        family=Family.objects.get(pattern="mastercache:"),
        prefix="mastercache:",
        only=only,
        cap=10,
        expression="30 3 * * *",
        zone="Asia/Tokyo",
        reason="old pages as agreed",
        by=world.people.operator,
    )


def allow(world: GateWorld, clearing: Clearing) -> ApprovalRequest:
    asked = clearing_requests.ask(clearing, days=30, by=world.people.operator)
    approval_gate.approve(asked, by=world.people.reviewer, shown=asked.digest)
    asked.refresh_from_db()
    return asked


@pytest.fixture
def rule(world: GateWorld) -> Clearing:
    """The rule in QA with its standing approval."""
    clearing = made(world, world.qa)
    allow(world, clearing)
    return fresh(clearing)


def fresh(clearing: Clearing) -> Clearing:
    return Clearing.objects.select_related("namespace__environment", "family").get(pk=clearing.pk)


def begun(world: GateWorld, clearing: Clearing) -> ClearingRound:
    run_ = rounds.start(clearing, by=world.people.operator)
    return ClearingRound.objects.select_related("run", "approval").get(run=run_)


def working(round_: ClearingRound) -> Lease:
    assert round_.run is not None
    found = run_lease.take(round_.run.pk)
    assert found is not None
    return found


# What stops it


def expired(world: GateWorld, clearing: Clearing) -> None:
    with gate.past_the_triggers():
        of = ApprovalRequest.objects.filter(subject=clearing.subject)
        of.update(standing_until=Now() - timedelta(seconds=1), use_by=Now() - timedelta(seconds=1))


def revoked(world: GateWorld, clearing: Clearing) -> None:
    approval = ApprovalRequest.objects.get(subject=clearing.subject)
    approval_gate.withdraw(approval, by=world.people.operator2, reason="no longer needed")


def no_operator(world: GateWorld, clearing: Clearing) -> None:
    make.revoke(world.people.operator, Role.OPERATOR)


def no_reviewer(world: GateWorld, clearing: Clearing) -> None:
    make.revoke(world.people.reviewer, Role.REVIEWER)


def cap_by_sql(world: GateWorld, clearing: Clearing) -> None:
    Clearing.objects.filter(pk=clearing.pk).update(cap=11)


def cron_by_sql(world: GateWorld, clearing: Clearing) -> None:
    Schedule.objects.filter(subject=clearing.subject).update(expression="0 * * * *")


def zone_by_sql(world: GateWorld, clearing: Clearing) -> None:
    Schedule.objects.filter(subject=clearing.subject).update(zone="UTC")


def reason_by_sql(world: GateWorld, clearing: Clearing) -> None:
    Clearing.objects.filter(pk=clearing.pk).update(reason="another as agreed")


def keys_by_sql(world: GateWorld, clearing: Clearing) -> None:
    with gate.past_the_triggers():
        Clearing.objects.filter(pk=clearing.pk).update(only={})


def account(world: GateWorld, clearing: Clearing) -> None:
    Environment.objects.filter(pk=clearing.namespace.environment_id).update(account_id="c" * 32)


def bucket_(world: GateWorld, clearing: Clearing) -> None:
    Environment.objects.filter(pk=clearing.namespace.environment_id).update(r2_bucket="another as agreed")


def namespace_(world: GateWorld, clearing: Clearing) -> None:
    Namespace.objects.filter(pk=clearing.namespace_id).update(namespace_id="9" * 32)


def kept(world: GateWorld, clearing: Clearing) -> None:
    make.change_families("mastercache:", retain_days=14)


def design(world: GateWorld, clearing: Clearing) -> None:
    make.change_families("mastercache:", expiry="ttl:60")


def edited(world: GateWorld, clearing: Clearing) -> None:
    Family.objects.filter(pattern="mastercache:").update(expiry="ttl:60")


def narrower(world: GateWorld, clearing: Clearing) -> None:
    make.family("mastercache:", "settings", exact=True)  # type: ignore[arg-type]


def another_cache(world: GateWorld, clearing: Clearing) -> None:
    make.family("mastercache:", "cache", exact=True, expiry="ttl:60")  # type: ignore[arg-type]


def no_cache(world: GateWorld, clearing: Clearing) -> None:
    make.change_families("mastercache:", category="settings")


def stopped(world: GateWorld, clearing: Clearing) -> None:
    emergency.press(clearing.namespace.environment, by=world.people.auditor)


def retired(world: GateWorld, clearing: Clearing) -> None:
    Clearing.objects.filter(pk=clearing.pk).update(retired_at=Now(), retired_by=world.people.operator)


def new_writer(world: GateWorld, clearing: Clearing) -> None:
    searched.search(clearing.namespace.environment, hits=["src/new.ts:7 write certain SETTINGS mastercache:*"])


def new_deleter(world: GateWorld, clearing: Clearing) -> None:
    searched.search(clearing.namespace.environment, hits=["src/new.ts:7 delete possible SETTINGS *"])


CHANGED = "The rule is no longer the one that was approved"
NEWER = "src/new.ts:7 writes or deletes these keys, is newer than the approval and has no answer; such places: 1"
STOPS: dict[str, tuple[Callable[[GateWorld, Clearing], None], str]] = {
    "expired": (expired, "No standing approval is in force|is no longer in force"),
    "revoked": (revoked, "No standing approval is in force|is no longer in force: withdrawn"),
    "reviewer's role": (no_reviewer, "approved this and is no longer a reviewer"),
    "cap": (cap_by_sql, CHANGED),
    "cron": (cron_by_sql, CHANGED),
    "zone": (zone_by_sql, CHANGED),
    "reason": (reason_by_sql, CHANGED),
    "keys": (keys_by_sql, CHANGED),
    "account": (account, CHANGED),
    "bucket": (bucket_, CHANGED),
    "namespace": (namespace_, CHANGED),
    "days that backups are kept": (kept, CHANGED),
    "expiry design": (design, CHANGED),
    "policy edited": (edited, "Nobody approved this"),
    "another family": (narrower, r"mastercache:\* is no longer the cache family of these keys"),
    "another family of a cache": (
        another_cache,
        r"mastercache:\* is no longer the cache family of these keys",
    ),
    "another category": (no_cache, r"mastercache:\* is no longer the cache family of these keys"),
    "emergency stop": (stopped, "Auditor pressed the emergency stop"),
    "retired": (retired, "The rule is retired"),
    "new writer": (new_writer, NEWER),
    "new deleter": (new_deleter, NEWER),
}


@pytest.mark.parametrize("what", STOPS)
def test_it_does_not_begin(world: GateWorld, rule: Clearing, what: str) -> None:
    change, sentence = STOPS[what]
    change(world, rule)
    with pytest.raises(Refused, match=sentence):
        rounds.start(rule, by=world.people.operator)
    assert not ClearingRound.objects.exists()
    assert not Run.objects.filter(kind="clear").exists()


@pytest.mark.parametrize("what", ["cap", "emergency stop", "operator's role"])
def test_a_due_time_that_does_not_begin_is_kept_with_its_reason(world: GateWorld, rule: Clearing, what: str) -> None:
    change, sentence = STOPS.get(what, (no_operator, "Operator is no longer an operator"))
    change(world, rule)
    with log.transaction():
        firing = rounds.scheduled(rule.subject, make.SETUP)
    assert (firing.runs, len(firing.refused)) == ([], 1)
    kept_ = ClearingRound.objects.get()
    with pytest.raises(ClearingRefused, match=sentence):
        raise ClearingRefused(kept_.shown_reason)
    assert (kept_.state, kept_.run, kept_.stage) == ("stopped", None, None)
    assert Entry.objects.get(action="clearing.stopped").details["reason"] == kept_.reason[:500]


@pytest.mark.parametrize("what", [*STOPS, "operator's role"])
def test_its_run_stops_before_its_first_call_and_says_so(world: GateWorld, rule: Clearing, what: str) -> None:
    change, sentence = STOPS.get(what, (no_operator, "Operator is no longer an operator"))
    round_ = begun(world, rule)
    lease = working(round_)
    change(world, rule)
    with pytest.raises((RunError, Stopped), match=sentence):
        run.clear_keys_permanently(lease)
    assert not CleanupStage.objects.exists()
    told = Notification.objects.filter(event=NotificationEvent.CLEARING_STOPPED)
    assert {one.title for one in told} == {"The scheduled clearing of qa/SETTINGS mastercache:* stopped"}
    assert Entry.objects.get(action="clearing.stopped").subject == rule.subject


def look_before_a_chunk(clearing: Clearing, stage: CleanupStage) -> None:
    """As the deletion does it."""
    assert stage.approval is not None
    mine = StandingMandate(clearing)
    mine.insist_rights(stage.approval)
    mine.insist_in_force(stage)


@pytest.mark.parametrize("what", [*STOPS, "operator's role"])
def test_a_chunk_is_not_sent(world: GateWorld, rule: Clearing, what: str) -> None:
    change, sentence = STOPS.get(what, (no_operator, "Operator is no longer an operator"))
    stage = deleting(world, rule)
    change(world, rule)
    with pytest.raises((RunError, Refused), match=sentence):
        look_before_a_chunk(fresh(rule), stage)


@pytest.mark.parametrize("days", [0, 91])
def test_an_approval_stands_for_at_most_90_days(world: GateWorld, days: int) -> None:
    with pytest.raises(ClearingRefused, match="1 to 90 days"):
        clearing_requests.ask(made(world, world.qa), days=days, by=world.people.operator)


@pytest.mark.parametrize(
    "change", [{"cap": 11}, {"expression": "0 4 * * *"}, {"zone": "UTC"}, {"reason": "another as agreed"}]
)
def test_a_change_of_the_rule_ends_its_approval(world: GateWorld, rule: Clearing, change: dict[str, object]) -> None:
    values = {"cap": 10, "expression": "30 3 * * *", "zone": "Asia/Tokyo", "reason": "old pages as agreed", **change}
    clearing_requests.change(rule, **values, by=world.people.operator)  # type: ignore[arg-type]
    assert ApprovalRequest.objects.get(subject=rule.subject).state == "withdrawn"
    with pytest.raises(ApprovalRefused, match="No standing approval is in force"):
        rounds.start(rule, by=world.people.operator)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cap": 0}, "1 to 100,000 keys"),
        ({"cap": 100_001}, "1 to 100,000 keys"),
        ({"expression": "*/5 * * * *"}, "due too often"),
        ({"expression": "never"}, "not five fields"),
        ({"zone": "Mars"}, "not a time zone"),
        ({"reason": " "}, "Give the reason"),
    ],
)
def test_a_rule_that_cannot_be_used_is_refused(
    world: GateWorld, rule: Clearing, change: dict[str, object], sentence: str
) -> None:
    values = {"cap": 10, "expression": "30 3 * * *", "zone": "Asia/Tokyo", "reason": "old pages as agreed", **change}
    with pytest.raises(ClearingRefused, match=sentence):
        clearing_requests.change(rule, **values, by=world.people.operator)  # type: ignore[arg-type]
    assert ApprovalRequest.objects.get(subject=rule.subject).state == "approved"


# Time and other work


def by_hand(world: GateWorld, rule: Clearing, prefix: str = "mastercache:", slug: str = "qa") -> CleanupStage:
    """A submitted stage of a clean-up by hand."""
    stage = gate.frozen(gate.stage_of(gate.asked(world, prefix), slug), KEYS)
    approval = ApprovalRequest.objects.get(subject=rule.subject)
    gate.tampered(stage, state="submitted", generation=gate._backed_up(stage, KEYS), approval=approval)
    return stage


def ready(world: GateWorld, rule: Clearing) -> Lease:
    """A round that is backed up and verified; its next step begins the deletion."""
    round_ = begun(world, rule)
    lease = working(round_)
    run.clear_keys_permanently(lease)
    backed_up(CleanupStage.objects.get())
    return again(round_, lease)


def test_outside_the_allowed_hours_no_deletion_begins(world: GateWorld, rule: Clearing) -> None:
    lease = ready(world, rule)
    opens = (clock.now() + timedelta(hours=2)).astimezone(ZoneInfo("Asia/Tokyo")).strftime("%H:00")
    closes = (clock.now() + timedelta(hours=3)).astimezone(ZoneInfo("Asia/Tokyo")).strftime("%H:00")
    Environment.objects.filter(pk=world.qa.environment_id).update(hours=f"{opens}-{closes}")
    with pytest.raises(RunError, match="only within the allowed hours") as refused:
        run.clear_keys_permanently(lease)
    assert (refused.value.code, CleanupStage.objects.get().state) == ("not_now", "verified")


def test_a_clean_up_by_hand_that_was_submitted_meanwhile_goes_first(world: GateWorld, rule: Clearing) -> None:
    lease = ready(world, rule)
    stage = gate.frozen(gate.stage_of(gate.asked(world, "mastercache:")), KEYS)
    approval = ApprovalRequest.objects.get(subject=rule.subject)
    gate.tampered(stage, state="submitted", generation=gate._backed_up(stage, KEYS), approval=approval)
    with pytest.raises(RunError, match=f"A clean-up of the same family is under way: /cleanup/stages/{stage.pk}/"):
        run.clear_keys_permanently(lease)
    assert CleanupStage.objects.get(scheduled=True).state == "verified"


@pytest.mark.parametrize("state", ["deleting", "deleted"])
def test_no_clean_up_by_hand_starts_while_a_round_deletes(world: GateWorld, rule: Clearing, state: str) -> None:
    round_ = deleting(world, rule)
    by_hand = gate.approved(world, gate.asked(world, "mastercache:"), names=KEYS)
    gate.tampered(round_, state=state)
    with pytest.raises(Refused, match=f"A scheduled clearing of the same family is under way: .*/{round_.pk}/"):
        cleanup_requests.start_deletion(by_hand, by=world.people.operator)


def test_two_rules_of_one_prefix_wait_for_each_others_backup(world: GateWorld, rule: Clearing) -> None:
    run.clear_keys_permanently(working(begun(world, rule)))
    other = made(world, world.qa, only=Selection())
    allow(world, other)
    assert run.clear_keys_permanently(working(begun(world, fresh(other)))) == Again(
        timing.RETRY, "Waiting: another backup of the same prefix is being made."
    )
    assert CleanupStage.objects.count() == 1


def test_a_withdrawal_during_the_reads_of_a_chunk_comes_in_time(
    world: GateWorld, rule: Clearing, kv: Kv, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, lease = carried(world, rule)
    with gate.past_the_triggers():
        GenerationEntry.objects.update(outcome="kept", size=2, digest=b"x" * 32)
    chunk = deletion_chunks.next_chunk(stage)
    assert chunk is not None

    def withdrawn_meanwhile(_reader: object, _id: str, entries: list[Frozen], _read: str) -> dict[Frozen, KeyVerdict]:
        revoked(world, rule)
        return dict.fromkeys(entries, KeyVerdict.EQUAL)

    monkeypatch.setattr("backups.deletion.send.read_and_compare", withdrawn_meanwhile)
    with pytest.raises(RunError, match="is no longer in force: withdrawn") as refused:
        deletion_run._Deletion(stage, lease, kv.clients(), StandingMandate(rule))._send(chunk)
    assert (refused.value.code, kv.sent, CleanupChunk.objects.get().state) == ("rights_gone", [], "planned")


def rejected(world: GateWorld, clearing: Clearing) -> None:
    asked = clearing_requests.ask(clearing, days=30, by=world.people.operator)
    approval_gate.reject(asked, by=world.people.reviewer, shown=asked.digest, reason="no longer needed")


def withdrawn(world: GateWorld, clearing: Clearing) -> None:
    asked = clearing_requests.ask(clearing, days=30, by=world.people.operator)
    approval_gate.withdraw(asked, by=world.people.operator)


@pytest.mark.parametrize("change", [None, rejected, withdrawn])
def test_a_due_time_of_a_rule_that_was_never_approved_is_nothing(
    world: GateWorld, change: Callable[[GateWorld, Clearing], None] | None
) -> None:
    clearing = made(world, world.qa)
    if change:
        change(world, clearing)
    with log.transaction():
        assert rounds.scheduled(clearing.subject, make.SETUP) == Begun()
    assert not ClearingRound.objects.exists()


def failed(world: GateWorld, rule: Clearing) -> CleanupStage:
    """A round that stopped while it waited for its backup."""
    run.clear_keys_permanently(working(begun(world, rule)))
    gone = {"state": "failed", "owner": "", "lease_until": None, "error_code": "x", "error": "x"}
    Run.objects.filter(kind="clear").update(finished_at=Now(), **gone)
    return CleanupStage.objects.select_related("request").get()


def due(world: GateWorld, rule: Clearing) -> None:
    with log.transaction():
        rounds.scheduled(rule.subject, make.SETUP)


def by_a_person(world: GateWorld, rule: Clearing) -> None:
    with pytest.raises(ApprovalRefused, match="No standing approval"):
        rounds.start(rule, by=world.people.operator)


def for_good(world: GateWorld, rule: Clearing) -> None:
    clearing_requests.retire(rule, by=world.people.operator)


@pytest.mark.parametrize("then", [due, by_a_person, for_good])
def test_a_stopped_round_lets_its_backup_go_though_no_other_begins(
    world: GateWorld, rule: Clearing, then: Callable[[GateWorld, Clearing], None]
) -> None:
    stage = failed(world, rule)
    if then is not for_good:
        revoked(world, rule)
    then(world, rule)
    stage.refresh_from_db()
    stage.request.refresh_from_db()
    assert (stage.state, stage.request.ended_by) == ("ended", rule.subject)
    assert Entry.objects.get(action="cleanup.ended").subject == f"cleanup:{stage.request_id}"


def test_a_round_whose_rule_is_retired_while_it_runs_ends_its_clean_up(world: GateWorld, rule: Clearing) -> None:
    round_ = begun(world, rule)
    lease = working(round_)
    run.clear_keys_permanently(lease)
    clearing_requests.retire(rule, by=world.people.operator)
    assert CleanupStage.objects.get().state == "frozen"
    with pytest.raises(RunError):
        run.clear_keys_permanently(again(round_, lease))
    assert CleanupStage.objects.get().state == "ended"
    assert CleanupRequest.objects.get().ended_at is not None


# QA first


@pytest.fixture
def production_rule(world: GateWorld) -> Clearing:
    return made(world, world.production)


def test_production_is_not_asked_for_before_qa_accepted(world: GateWorld, production_rule: Clearing) -> None:
    with pytest.raises(ClearingRefused, match="The same rule is not accepted in Qa"):
        clearing_requests.ask(production_rule, days=30, by=world.people.operator)


def old(round_: ClearingRound) -> None:
    gate.tampered(round_, accepted_at=Now() - timedelta(days=91))


# The cap, the backup and the set


def deleting(world: GateWorld, clearing: Clearing) -> CleanupStage:
    """A round whose stage is backed up, verified and deleting."""
    round_ = begun(world, clearing)
    lease = working(round_)
    assert run.clear_keys_permanently(lease) is not None
    round_.refresh_from_db()
    stage = round_.stage
    assert stage is not None
    backed_up(stage)
    run.clear_keys_permanently(again(round_, lease))
    return CleanupStage.objects.select_related(*run.OF_STAGE).get(pk=stage.pk)


def again(round_: ClearingRound, lease: Lease) -> Lease:
    """The next step of the run."""
    Run.objects.filter(pk=lease.run.pk).update(owner="", lease_until=None, wake_at=None)
    return working(round_)


def backed_up(stage: CleanupStage, status: str = "verified") -> None:
    """The stage's backup as its runs would leave it."""
    gone = {"state": "succeeded", "owner": "", "lease_until": None, "finished_at": Now()}
    Run.objects.filter(kind="backup").update(state="running")
    Run.objects.filter(kind="backup").update(**gone)
    values = {"manifest_key": "m", "manifest_sha256": "a" * 64, "digest_root": "b" * 64, "finished_at": Now()}
    Generation.objects.filter(stages=stage).update(status="complete", **values)
    CleanupStage.objects.filter(pk=stage.pk).update(state="backed_up")
    Generation.objects.filter(stages=stage).update(status=status, verified_at=Now())
    if status == "verified":
        CleanupStage.objects.filter(pk=stage.pk).update(state="verified")


def test_the_list_is_of_exactly_the_keys_of_the_rule(world: GateWorld, rule: Clearing) -> None:
    Key.objects.filter(name=KEYS[1]).update(expiration=4_000_000_000)
    round_ = begun(world, rule)
    run.clear_keys_permanently(working(round_))
    stage = CleanupStage.objects.get()
    assert list(stage.entries.values_list("name", flat=True)) == [KEYS[0]]
    assert (stage.state, stage.scheduled, stage.request.clearing) == ("frozen", True, rule)
    assert Generation.objects.get().entries.count() == 1


def test_over_the_cap_no_list_is_fixed(world: GateWorld, rule: Clearing) -> None:
    scan = Scan.objects.latest("pk")
    for name in range(9):
        Key.objects.create(
            namespace=world.qa, name=f"mastercache:{name}", family=rule.family, category="cache", first_seen=scan
        )
    with pytest.raises(RunError, match="at least 11 keys, more than its cap of 10") as refused:
        run.clear_keys_permanently(working(begun(world, rule)))
    assert refused.value.code == "over_cap"
    assert not CleanupStage.objects.exists()


def test_at_the_cap_the_list_is_fixed(world: GateWorld, rule: Clearing) -> None:
    scan = Scan.objects.latest("pk")
    for name in range(8):
        Key.objects.create(
            namespace=world.qa, name=f"mastercache:{name}", family=rule.family, category="cache", first_seen=scan
        )
    run.clear_keys_permanently(working(begun(world, rule)))
    assert CleanupStage.objects.get().names == 10


def test_without_keys_it_is_done(world: GateWorld, rule: Clearing) -> None:
    Key.objects.all().delete()
    assert run.clear_keys_permanently(working(begun(world, rule))) == Done({"names": 0, "deleted": 0})


def test_before_its_backup_is_verified_it_waits(world: GateWorld, rule: Clearing) -> None:
    round_ = begun(world, rule)
    lease = working(round_)
    run.clear_keys_permanently(lease)
    run.clear_keys_permanently(again(round_, lease))
    assert CleanupStage.objects.get().state == "frozen"


@pytest.mark.parametrize("because", ["The backup is damaged: x", ""])
def test_a_backup_that_is_not_good_stops_it(world: GateWorld, rule: Clearing, because: str) -> None:
    round_ = begun(world, rule)
    lease = working(round_)
    run.clear_keys_permanently(lease)
    CleanupStage.objects.update(returned_because=because)
    if not because:
        CleanupStage.objects.update(generation=None)
    with pytest.raises(RunError) as refused:
        run.clear_keys_permanently(again(round_, lease))
    assert refused.value.code == "not_backed_up"


def test_the_deletion_carries_the_standing_approval(world: GateWorld, rule: Clearing) -> None:
    stage = deleting(world, rule)
    assert stage.run is not None
    assert (stage.state, stage.approval, stage.run.kind) == (
        "deleting", ApprovalRequest.objects.get(subject=rule.subject), "clear"
    )  # fmt: skip
    assert stage.scope_digest == rules.scope_digest(rule)


def carried(world: GateWorld, rule: Clearing) -> tuple[CleanupStage, Lease]:
    stage = deleting(world, rule)
    Run.objects.filter(kind="clear").update(owner="", lease_until=None, wake_at=None)
    return stage, working(ClearingRound.objects.select_related("run").get(stage=stage))


def test_what_was_approved_is_let_through(world: GateWorld, rule: Clearing) -> None:
    stage, lease = carried(world, rule)
    mine = StandingMandate(rule)
    mine.insist_target(stage, lease)
    mine.insist_as_approved(stage, lease)
    mine.insist_in_force(stage)
    assert stage.approval is not None
    mine.insist_rights(stage.approval)
    assert not mine.is_careful(stage)


@pytest.mark.parametrize("name", ["account_id", "r2_bucket", "api_base_url", "r2_endpoint"])
def test_another_target_is_refused_at_every_step(world: GateWorld, rule: Clearing, name: str) -> None:
    stage, lease = carried(world, rule)
    Environment.objects.filter(pk=world.qa.environment_id).update(**{name: "http://127.0.0.1:1"})
    with pytest.raises(RunError, match=r"not .* as approved") as refused:
        StandingMandate(fresh(rule)).insist_target(stage, lease)
    assert refused.value.code == "wrong_target"


def test_a_resumed_round_looks_at_its_backup_again(world: GateWorld, rule: Clearing, bucket: Bucket, kv: Kv) -> None:
    stage, lease = carried(world, rule)
    assert stage.generation is not None
    looked = {"phase": "delete", "derived_at": clock.now().isoformat(), "checked_at": clock.now().isoformat()}
    gone = {"state": "failed", "owner": "", "lease_until": None, "error_code": "x", "error": "x"}
    Run.objects.filter(pk=lease.run.pk).update(cursor=looked, finished_at=Now(), **gone)
    bucket.instead = dict.fromkeys(stage.generation.every_object())
    run_driver.resume(Run.objects.get(pk=lease.run.pk), actor=world.people.operator.actor)
    again_ = working(ClearingRound.objects.select_related("run").get(stage=stage))
    with pytest.raises(RunError, match="is gone") as refused:
        deletion_run._Deletion(stage, again_, kv.clients(), StandingMandate(rule)).delete()
    assert (refused.value.code, kv.asked, kv.sent) == ("backup_gone", [], [])


# A clean-up by hand is none of its rounds


def scheduled(stage: CleanupStage, rule: Clearing) -> None:
    gate.tampered(stage, scheduled=True)


def of_the_rule(stage: CleanupStage, rule: Clearing) -> None:
    gate.tampered(stage.request, clearing=rule)


@pytest.mark.parametrize("change", [scheduled, of_the_rule])
def test_what_sql_made_a_round_is_neither_started_nor_deleted_by_hand(
    world: GateWorld, rule: Clearing, change: Callable[[CleanupStage, Clearing], None]
) -> None:
    request = gate.asked(world)
    stage = gate.approved(world, request)
    change(stage, rule)
    with pytest.raises(Refused, match="This is a round of a scheduled clearing"):
        cleanup_requests.start_deletion(stage, by=world.people.operator)


@pytest.mark.parametrize("change", [scheduled, of_the_rule])
def test_the_mandate_of_a_clean_up_covers_no_round(
    world: GateWorld, rule: Clearing, change: Callable[[CleanupStage, Clearing], None]
) -> None:
    stage = gate.started(world, gate.asked(world))
    lease = gate.lease_of(stage)
    change(stage, rule)
    with pytest.raises(RunError, match="has no approval of its own keys"):
        deletion_mandate.insist_target(gate.stage_of(stage.request), lease)
