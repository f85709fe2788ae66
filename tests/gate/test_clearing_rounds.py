"""Rounds of a rule one by one: the rows of a start, the end of a round's clean-up, and its acceptance."""

# ruff: noqa: F811  # pytest gives the fixture by its name
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models import QuerySet
from django.db.models.functions import Now

from audit import log
from audit.models import Entry
from backups.clearing import conditions, rounds, rules
from backups.clearing.rules import ClearingRefused
from backups.execution import revalidation
from backups.models import CleanupException, CleanupRequest, CleanupStage, Clearing, ClearingRound
from kvops.approvals import gate as approval_gate
from kvops.approvals.gate import ApprovalRefused
from kvops.models import ApprovalRequest, Role, Run
from kvops.runbook import procedures
from kvops.runs.driver import NotResumable
from kvops.schedules.jobs import Begun
from kvops.wording import kept, say, sentence_of
from tests import make
from tests.gate import world as gate
from tests.gate.test_clearing import begun, deleting, fresh, made, rule  # noqa: F401
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
NONE = "No standing approval is in force. An operator asks for one, a reviewer decides."
OPERATOR = "Only an operator can do this."


@pytest.fixture
def round_(world: GateWorld, rule: Clearing) -> ClearingRound:
    """A round that is running, without a list yet."""
    return begun(world, rule)


@pytest.fixture
def stage(world: GateWorld, rule: Clearing) -> CleanupStage:
    """The list of a round that deletes."""
    return deleting(world, rule)


@pytest.fixture
def long(world: GateWorld, rule: Clearing) -> Clearing:
    """The rule with a long name."""
    gate.tampered(rule, prefix=f"mastercache:{'x' * 300}")
    return fresh(rule)


def refused(act: Callable[..., object], *given: object, **named: object) -> str:
    """The sentence with which it was refused."""
    with pytest.raises((ClearingRefused, ApprovalRefused)) as error:
        act(*given, **named)
    return str(error.value)


def entry(action: str) -> dict[str, Any]:
    """The one entry of this action, without what the log adds."""
    found = Entry.objects.get(action=action)
    names = ("actor", "actor_id", "environment", "subject", "subject_label", "digest", "details")
    return {name: getattr(found, name) for name in names}


def over(run: int | None) -> None:
    """The run did its work."""
    gate.tampered(Run(pk=run), state="succeeded", finished_at=Now(), owner="", lease_until=None, wake_at=None)


# The start


def test_a_start_writes_run_round_and_entry(world: GateWorld, rule: Clearing) -> None:
    by, approval = world.people.operator2, ApprovalRequest.objects.get(subject=rule.subject)
    run = rounds.start(Clearing(pk=rule.pk), by=by)
    assert (run.kind, run.subject, run.label, run.environment, run.approval, run.started_by, run.actor) == (
        "clear", rule.subject, str(rule), world.qa.environment, approval, by, by.actor.text,
    )  # fmt: skip
    found = ClearingRound.objects.get()
    assert (found.clearing, found.approval, found.run) == (rule, approval, run)
    assert found.scope_digest == rules.scope_digest(rule) != ""
    details = {"round": found.pk, "run": run.pk, **procedures.begun("clearing", "SETTINGS", ["mastercache:"])}
    assert len(details["families"]) == 1  # type: ignore[arg-type]
    mine = {"actor": by.actor.text, "actor_id": by.pk, "environment": "qa", "subject": rule.subject}
    assert entry("clearing.started") == {
        **mine, "subject_label": str(rule), "digest": approval.digest, "details": details,
    }  # fmt: skip
    carried = Entry.objects.get(action="approval.carried")
    assert (carried.actor_id, carried.subject) == (by.pk, f"approval:{approval.pk}")


def test_a_due_time_starts_without_a_person(world: GateWorld, rule: Clearing) -> None:
    with log.transaction():
        found = rounds.scheduled(rule.subject, make.SETUP)
    [run] = found.runs
    assert (found.refused, run.started_by, run.actor) == ([], None, make.SETUP.text)
    assert Entry.objects.get(action="clearing.started").actor == make.SETUP.text


def test_long_names_are_cut(world: GateWorld, long: Clearing, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("insist_rule", "insist_approved", "insist_time"):
        monkeypatch.setattr(conditions, name, lambda *_of: None)
    monkeypatch.setattr(rules, "rule_digest", lambda *_of: ApprovalRequest.objects.get(subject=long.subject).digest)
    run = rounds.start(long, by=world.people.operator)
    assert (len(str(long)) > 301, run.label) == (True, str(long)[:300])
    assert Entry.objects.get(action="clearing.started").subject_label == str(long)[:200]


def test_a_start_is_refused_in_full_sentences(world: GateWorld, rule: Clearing, round_: ClearingRound) -> None:
    by = world.people.operator
    assert refused(rounds.start, rule, by=world.people.auditor) == OPERATOR
    assert refused(rounds.start, rule, by=by) == f"Round {round_.pk} is still running."
    over(round_.run_id)
    make.grant(world.people.reviewer, Role.OPERATOR)
    mine = "You approved this; another person must start it."
    assert refused(rounds.start, rule, by=world.people.reviewer) == mine
    approval_gate.withdraw(ApprovalRequest.objects.get(subject=rule.subject), by=by, reason="no longer needed")
    assert refused(rounds.start, rule, by=by) == NONE


CHECKS = ("insist_rule", "insist_approved", "insist_time")


@pytest.mark.parametrize("stops", [*CHECKS, "carry"])
def test_each_condition_stops_a_start(
    world: GateWorld, rule: Clearing, stops: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    approval, asked = ApprovalRequest.objects.get(subject=rule.subject), list[object]()

    def check(name: str) -> Callable[..., None]:
        def called(*given: object) -> None:
            asked.append((name, *given))
            if name == stops:
                raise ClearingRefused(name)

        return called

    for name in CHECKS:
        monkeypatch.setattr(conditions, name, check(name))
    monkeypatch.setattr(rules, "rule_digest", lambda *given: "d" if given == (rule, approval) else "")
    with pytest.raises((ClearingRefused, ApprovalRefused)), log.transaction():
        rounds._begin(rule, actor=make.SETUP, person=None)
    all_: list[tuple[object, ...]] = [
        ("insist_rule", rule), ("insist_approved", rule, approval), ("insist_time", rule),
    ]  # fmt: skip
    assert asked == all_[: 1 + [*CHECKS, "x"].index(stops) if stops in CHECKS else 3]


def test_a_start_first_ends_what_stopped(world: GateWorld, rule: Clearing, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = list[object]()
    monkeypatch.setattr(rounds, "end_unbegun", lambda *given: ended.append(given))
    rounds.start(rule, by=world.people.operator)
    with log.transaction():
        rounds.scheduled(rule.subject, make.SETUP)
    assert ended == [(rule, world.people.operator.actor), (rule, make.SETUP)]


# A due time that begins nothing


def test_a_refused_due_time_is_kept_in_full(world: GateWorld, rule: Clearing) -> None:
    sentence = say("%(name)s" + "x" * 1_001, name="Anna")
    with log.transaction():
        rounds._keep_refused(rule, ClearingRefused(sentence), make.SETUP)
    found, text = ClearingRound.objects.get(), "Anna" + "x" * 996
    assert (found.clearing, found.reason, found.reason_sentence) == (rule, text, kept(sentence_of(sentence)))
    assert entry("clearing.stopped") == {
        "actor": make.SETUP.text, "actor_id": None, "environment": "qa", "subject": rule.subject,
        "subject_label": str(rule), "digest": "", "details": {"round": found.pk, "reason": text[:500]},
    }  # fmt: skip


def test_a_due_time_tells_one_sentence_of_a_refusal(
    world: GateWorld, rule: Clearing, monkeypatch: pytest.MonkeyPatch
) -> None:
    def edited(_of: Clearing) -> None:
        raise ClearingRefused("edited", 1)

    monkeypatch.setattr(conditions, "insist_rule", edited)
    with log.transaction():
        assert rounds.scheduled(rule.subject, make.SETUP) == Begun(refused=["edited"])
    assert entry("clearing.stopped")["actor"] == make.SETUP.text


def test_a_due_time_while_a_round_is_running_says_which(
    world: GateWorld, rule: Clearing, round_: ClearingRound
) -> None:
    with log.transaction():
        found = rounds.scheduled(rule.subject, make.SETUP)
    assert list(map(str, found.refused)) == [f"Round {round_.pk} is still running."]
    assert ClearingRound.objects.count() == 1


def test_only_rounds_of_the_rule_are_running(world: GateWorld, rule: Clearing, round_: ClearingRound) -> None:
    other = made(world, world.production)
    assert rounds._running(other) is None
    assert rounds._running(rule) == round_
    over(round_.run_id)
    assert rounds._running(rule) is None


# The end of what stopped


@pytest.fixture
def ending(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """What is to be ended, as the query from its WHERE on, and by whom."""
    found = list[tuple[str, object]]()

    def end(stages: QuerySet[CleanupStage], actor: object) -> None:
        found.append((str(stages.query).split(" WHERE ", 1)[1], actor))

    monkeypatch.setattr(rounds, "_end", end)
    return found


def test_what_stopped_is_of_the_rule_or_of_a_retired_one(ending: list[tuple[str, object]]) -> None:
    rounds.end_unbegun(Clearing(pk=4), make.SETUP)
    [(query, actor)] = ending
    assert actor is make.SETUP
    assert query == (
        '("kvops_run"."state" IN (failed, stopped, succeeded) AND ("backups_clearinground"."clearing_id" = 4 OR '
        '"backups_clearing"."retired_at" IS NOT NULL))'
    )


def test_the_round_of_a_retired_rule_is_ended(ending: list[tuple[str, object]]) -> None:
    rounds.end_if_retired(ClearingRound(pk=5), make.SETUP)
    query = '("backups_clearinground"."id" = 5 AND "backups_clearing"."retired_at" IS NOT NULL)'
    assert ending == [(query, make.SETUP)]


def test_a_stage_that_went_on_meanwhile_is_left(world: GateWorld, rule: Clearing, stage: CleanupStage) -> None:
    other = CleanupStage.objects.get(pk=again(rule).pk)
    done = CleanupRequest.objects.filter(pk=again(rule).request_id)
    asked = list[object]()

    def filtered(**of: object) -> SimpleNamespace:
        def related(*names: str) -> list[CleanupStage]:
            asked.append((of, names))
            return [stage, other, ended]

        return SimpleNamespace(select_related=related)

    ended = CleanupStage.objects.get(request=done.get())
    with gate.past_the_triggers():
        done.update(ended_at=Now() - DAY, ended_by="Anna")
    with log.transaction():
        rounds._end(SimpleNamespace(filter=filtered), make.SETUP)  # type: ignore[arg-type]
    assert asked == [({"state__in": CleanupStage.BEFORE_DELETION}, ("request", "environment"))]
    states = [CleanupStage.objects.get(pk=one.pk).state for one in (stage, other, ended)]
    assert states == ["deleting", "ended", "ended"]
    requests = [CleanupRequest.objects.get(pk=one.request_id) for one in (stage, other, ended)]
    assert [one.ended_by for one in requests] == ["", rule.subject, "Anna"]
    assert requests[1].ended_at > requests[2].ended_at + DAY / 2  # type: ignore[operator]


def again(rule: Clearing) -> CleanupStage:
    """The list of another round."""
    request = rules.request_of(rule)
    request.save()
    found = rules.stage_of(rule, request)
    found.save()
    return found


def test_a_completed_request_is_not_ended(world: GateWorld, rule: Clearing, stage: CleanupStage) -> None:
    gate.tampered(stage.request, completed_at=Now())
    gate.tampered(stage, state="verified")
    with log.transaction():
        rounds._end(CleanupStage.objects.all(), make.SETUP)
    assert CleanupRequest.objects.get().ended_at is None
    assert entry("cleanup.ended") == {
        "actor": make.SETUP.text, "actor_id": None, "environment": "qa", "subject": f"cleanup:{stage.request_id}",
        "subject_label": "SETTINGS mastercache:*", "digest": "",
        "details": {"reason": "The round stopped before its first call."},
    }  # fmt: skip


# Hooks


def test_only_a_round_that_may_have_sent_keys_goes_on(stage: CleanupStage, monkeypatch: pytest.MonkeyPatch) -> None:
    forgotten, run = list[Run](), stage.run
    assert run is not None
    monkeypatch.setattr(revalidation, "forget", forgotten.append)
    mine = stage.clearing_round
    for state in ("frozen", "verified", ""):
        gate.tampered(stage, state=state or "deleting")
        gate.tampered(mine, stage=stage if state else None)
        with pytest.raises(NotResumable) as error:
            rounds.insist_begun(run, make.SETUP)
        assert str(error.value) == (
            "The round stopped before its first call. The next due time, or a new start, begins another one."
        )
    gate.tampered(mine, stage=stage)
    gate.tampered(stage, state="deleting")
    assert forgotten == []
    rounds.insist_begun(run, make.SETUP)
    assert forgotten == [run]


def test_the_schedule_of_a_retired_rule_stays_paused(world: GateWorld, rule: Clearing) -> None:
    rounds.insist_not_retired(rule.subject)
    gate.tampered(rule, retired_at=Now(), retired_by=world.people.operator)
    assert refused(rounds.insist_not_retired, rule.subject) == "The rule is retired."


@pytest.fixture
def proof(world: GateWorld, rule: Clearing, stage: CleanupStage) -> Run:
    """The run that proved the keys of the round gone."""
    run = gate.over(Run.Kind.CONFIRM, f"stage:{stage.pk}", world.qa.environment)
    gate.tampered(run, started_by=world.people.operator, actor="Operator")
    proven = {"first_listing_at": Now() - DAY, "second_listing_at": Now(), "names": 3, "deleted": 2, "skipped": 1}
    gate.tampered(stage, state="confirmed", confirm_run=run, **proven)
    return Run.objects.get(pk=run.pk)


def test_the_proof_completes_the_request(world: GateWorld, rule: Clearing, stage: CleanupStage, proof: Run) -> None:
    with log.transaction():
        rounds.confirm_finished(proof)
    assert CleanupRequest.objects.get().completed_at is not None
    assert entry("clearing.cleared") == {
        "actor": "Operator", "actor_id": world.people.operator.pk, "environment": "qa", "subject": rule.subject,
        "subject_label": str(rule), "digest": "",
        "details": {"round": stage.clearing_round.pk, "names": 3, "deleted": 2, "skipped": 1},
    }  # fmt: skip


@pytest.mark.parametrize("other", [{"scheduled": False}, {"state": "deleted"}, {"confirm_run": None}])
def test_another_proof_completes_nothing(proof: Run, stage: CleanupStage, other: dict[str, object]) -> None:
    gate.tampered(stage, **other)
    with log.transaction():
        rounds.confirm_finished(proof)
    assert CleanupRequest.objects.get().completed_at is None
    assert not Entry.objects.filter(action="clearing.cleared").exists()


def test_a_request_is_completed_once_and_no_other(
    world: GateWorld, rule: Clearing, proof: Run, stage: CleanupStage
) -> None:
    gate.tampered(stage.request, completed_at=Now() - DAY)
    before, other = CleanupRequest.objects.get(), again(rule)
    with log.transaction():
        rounds.confirm_finished(proof)
    assert CleanupRequest.objects.get(pk=before.pk).completed_at == before.completed_at
    assert CleanupRequest.objects.get(pk=other.request_id).completed_at is None


# The acceptance


@pytest.fixture
def proven(proof: Run, stage: CleanupStage) -> ClearingRound:
    """The round is proven; its run is over."""
    over(stage.run_id)
    return ClearingRound.objects.get(stage=stage)


def test_an_acceptance_is_kept_and_recorded(world: GateWorld, rule: Clearing, proven: ClearingRound) -> None:
    note = "xy" * 500 + "z"
    rounds.accept(proven, note=f" {note} ", by=world.people.operator)
    found = ClearingRound.objects.get()
    assert (found.accepted_by, found.accepted_note, found.accepted_at is not None) == (
        world.people.operator, note, True,
    )  # fmt: skip
    assert entry("clearing.accepted") == {
        "actor": world.people.operator.actor.text, "actor_id": world.people.operator.pk, "environment": "qa",
        "subject": rule.subject, "subject_label": str(rule), "digest": found.scope_digest,
        "details": {"round": found.pk, "note": note[:1_000]},
    }  # fmt: skip
    again_ = refused(rounds.accept, proven, note="not read any more", by=world.people.operator2)
    assert again_ == "The round is accepted already."
    assert ClearingRound.objects.get().accepted_by == world.people.operator


def test_another_round_stays_unaccepted(world: GateWorld, rule: Clearing, proven: ClearingRound) -> None:
    other = ClearingRound.objects.create(clearing=rule, reason="no longer needed")
    rounds.accept(proven, note="no longer needed", by=world.people.operator)
    assert ClearingRound.objects.get(pk=other.pk).accepted_at is None


PROVEN = "Only a round whose keys are proven gone can be accepted."
ENDED = "The round was ended early, so it proves nothing. Accept a later one."
NOTHING = "No key was deleted in this round, so it proves nothing. Accept a later one."


def test_an_acceptance_is_refused_in_full_sentences(
    world: GateWorld, proven: ClearingRound, stage: CleanupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    def why(note: str = "no longer needed") -> str:
        return refused(rounds.accept, proven, note=note, by=world.people.operator)

    assert refused(rounds.accept, proven, note="no longer needed", by=world.people.reviewer) == OPERATOR
    assert why(" ") == "Describe your test of the application and its result."
    monkeypatch.setattr(rounds, "proves_nothing", lambda of: f"written back: {of.pk}")
    assert why() == f"written back: {stage.pk}"
    gate.tampered(stage, deleted=0)
    assert why() == NOTHING
    outcome = CleanupException.Outcome.STOPPED
    CleanupException.objects.create(stage=stage, index=1, name="mastercache:a", outcome=outcome)
    assert why() == ENDED
    gate.tampered(stage, state="deleted")
    assert why() == PROVEN
    gate.tampered(proven, stage=None)
    assert why() == PROVEN
