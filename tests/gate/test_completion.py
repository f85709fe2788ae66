"""A clean-up ends only with each leftover and each other key explained, and never while keys are being deleted."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from audit.models import Entry as AuditEntry
from backups.cleanup import completion, qa
from backups.cleanup.stages import CleanupRefused
from backups.models import CleanupEntry, CleanupException, CleanupRequest, CleanupStage, OtherName
from kvops.approvals import gate as approval_gate
from kvops.models import Category, Person
from tests import make
from tests.gate import world as gate
from tests.gate.world import GateWorld
from tests.prepared import Prepared

pytestmark = pytest.mark.django_db
State = CleanupStage.State
LONG = "why" * 400
EARLIER = Now() - timedelta(minutes=2)
OTHERS = ("master:x:1", "master:x:2")


@pytest.fixture
def proven(prepared: Prepared, world: GateWorld, request_: CleanupRequest) -> CleanupStage:
    """QA; its names are gone."""
    return prepared.step("proven", lambda: gate.proven(gate.started(world, request_)))


@pytest.fixture
def operator(world: GateWorld) -> Person:
    return world.people.operator


def left(stage: CleanupStage, outcome: str = "changed") -> None:
    CleanupException.objects.create(stage=stage, index=0, name=gate.NAMES[0], outcome=outcome)


def with_others(stage: CleanupStage) -> CleanupStage:
    """The proof listed two keys that are not of the clean-up."""
    OtherName.objects.bulk_create(OtherName(stage=stage, name=name) for name in OTHERS)
    gate.tampered(stage, others=2)
    return now(stage)


def now(stage: CleanupStage) -> CleanupStage:
    return CleanupStage.objects.select_related("others_by", "accepted_by", "request").get(pk=stage.pk)


def last_entry() -> object:
    return AuditEntry.objects.order_by("-seq").values(
        "action", "actor_id", "environment", "subject", "subject_label", "digest", "details"
    )[0]


def refused(act: Callable[[], object], why: str) -> None:
    with pytest.raises(CleanupRefused) as refusal:
        act()
    assert str(refusal.value) == why


# Leftovers


WHEN = "Leftovers are explained after the deletion and before the stage is accepted."


@pytest.mark.parametrize("state", [State.DELETED, State.CONFIRMED])
def test_leftovers_are_explained_after_the_deletion(
    proven: CleanupStage, operator: Person, state: CleanupStage.State
) -> None:
    gate.tampered(proven, state=state)
    completion.explain_leftovers(proven, note=f" {LONG} ", by=operator)
    assert (now(proven).leftovers_note, now(proven).state) == (LONG, state)
    assert last_entry() == {
        "action": "leftovers.explained", "actor_id": operator.pk, "environment": "qa", "subject": f"stage:{proven.pk}",
        "subject_label": str(proven), "digest": "", "details": {"note": f" {LONG}"[:1000]},
    }  # fmt: skip


@pytest.mark.parametrize("state", [*CleanupStage.BEFORE_DELETION, State.DELETING, State.ACCEPTED, State.ENDED])
def test_before_the_deletion_and_after_the_end_there_is_nothing_to_explain(
    proven: CleanupStage, operator: Person, state: CleanupStage.State
) -> None:
    values = {"accepted_note": "x", "accepted_by": operator, "accepted_at": Now()} if state == State.ACCEPTED else {}
    gate.tampered(proven, state=state, **values)
    refused(lambda: completion.explain_leftovers(proven, note="a nightly job", by=operator), WHEN)
    assert now(proven).leftovers_note == ""


def test_of_another_stage_nothing_is_explained(world: GateWorld, proven: CleanupStage, operator: Person) -> None:
    gate.tampered(proven.request, ended_at=Now())
    other = gate.proven(gate.started(world, gate.asked(world)))
    completion.explain_leftovers(proven, note="a nightly job", by=operator)
    assert now(other).leftovers_note == ""


def test_an_explanation_of_leftovers_has_words(proven: CleanupStage, operator: Person) -> None:
    refused(
        lambda: completion.explain_leftovers(proven, note=" \n", by=operator),
        "Describe why these keys are left, and the next step.",
    )
    assert AuditEntry.objects.filter(action="leftovers.explained").count() == 0


ACTS: dict[str, Callable[[CleanupStage, Person], None]] = {
    "leftovers": lambda stage, by: completion.explain_leftovers(stage, note="no longer needed", by=by),
    "others": lambda stage, by: completion.explain_others(stage, note="no longer needed", by=by),
    "accept": lambda stage, by: completion.accept_stage(stage, note="no longer needed", by=by),
    "end": lambda stage, by: completion.end(stage.request, reason="no longer needed", by=by),
}


@pytest.mark.parametrize("what", ACTS)
def test_only_an_operator_explains_accepts_and_ends(world: GateWorld, proven: CleanupStage, what: str) -> None:
    stage = with_others(proven) if what == "others" else proven
    refused(lambda: ACTS[what](stage, world.people.reviewer), "Only an operator can do this.")


# Other keys under the prefix


def test_other_keys_are_explained_after_the_proof(proven: CleanupStage, operator: Person) -> None:
    stage = with_others(proven)
    completion.explain_others(stage, note=f" {LONG} ", by=operator)
    found = now(stage)
    assert (found.others_note, found.others_by, found.others_at is None) == (LONG, operator, False)
    assert last_entry() == {
        "action": "others.explained", "actor_id": operator.pk, "environment": "qa", "subject": f"stage:{stage.pk}",
        "subject_label": str(stage), "digest": "", "details": {"keys": 2, "note": f" {LONG}"[:1000]},
    }  # fmt: skip


def test_an_explanation_of_other_keys_has_words(proven: CleanupStage, operator: Person) -> None:
    stage = with_others(proven)
    refused(lambda: completion.explain_others(stage, note=" ", by=operator), "Describe why the other keys are there.")


TOO_EARLY = "Other keys are explained after the proof and before the stage is accepted."


def test_before_the_proof_and_without_other_keys_there_is_nothing_to_explain(
    proven: CleanupStage, operator: Person
) -> None:
    refused(lambda: completion.explain_others(proven, note="no longer needed", by=operator), TOO_EARLY)
    gate.tampered(with_others(proven), state="deleted")
    refused(lambda: completion.explain_others(proven, note="no longer needed", by=operator), TOO_EARLY)
    gate.tampered(proven, state="confirmed", others=1)
    completion.explain_others(now(proven), note="no longer needed", by=operator)


def test_only_the_stage_s_own_other_keys_are_explained(
    world: GateWorld, proven: CleanupStage, operator: Person
) -> None:
    gate.tampered(proven.request, ended_at=Now())
    other = with_others(gate.proven(gate.started(world, gate.asked(world))))
    stage = with_others(proven)
    completion.explain_others(stage, note="no longer needed", by=operator)
    assert now(other).others_note == ""


def planned(world: GateWorld, stage: CleanupStage, state: str = "frozen") -> CleanupStage:
    """Another clean-up whose list holds the first of the other keys."""
    family = make.family("master:x:", Category.LEGACY)
    with gate.past_the_triggers():
        request = CleanupRequest.objects.create(
            binding="SETTINGS", prefix="master:x:", family=family, category="legacy", reason="no longer needed",
            requested_by=world.people.operator,
        )  # fmt: skip
        found = CleanupStage.objects.create(
            request=request, environment=stage.environment, namespace=stage.namespace, order=1
        )
        CleanupEntry.objects.create(stage=found, index=0, name=OTHERS[0])
        fixed = {"names_sha256": "0" * 64, "frozen_at": Now()}
        copied = ("generation", "approval_id", "run", "check_passed")
        CleanupStage.objects.filter(pk=stage.pk).update(approval=None, run=None)
        values = {name: getattr(stage, name) for name in copied} | fixed if state != "waiting" else {}
        CleanupStage.objects.filter(pk=found.pk).update(state=state, **values)
    return found


@pytest.mark.parametrize("state", [*CleanupStage.BEFORE_DELETION, State.DELETING])
def test_a_key_that_another_open_clean_up_will_delete_is_explained_by_it(
    world: GateWorld, proven: CleanupStage, state: str
) -> None:
    stage = with_others(proven)
    assert completion.unexplained_others(stage) == 2
    planned(world, stage, state)
    assert completion.unexplained_others(now(stage)) == 1


UNPLANNED: dict[str, Callable[[CleanupStage], object]] = {
    "deleted already": lambda other: gate.tampered(other, state="ended"),
    "ended": lambda other: gate.tampered(other.request, ended_at=Now()),
    "completed": lambda other: gate.tampered(other.request, completed_at=Now()),
    "another name": lambda other: CleanupEntry.objects.filter(stage=other).update(name="master:x:9"),
}


@pytest.mark.parametrize("what", UNPLANNED)
def test_a_clean_up_that_will_not_delete_it_explains_nothing(world: GateWorld, proven: CleanupStage, what: str) -> None:
    stage = with_others(proven)
    other = planned(world, stage)
    with gate.past_the_triggers():
        UNPLANNED[what](other)
    assert completion.unexplained_others(now(stage)) == 2


def test_nor_does_one_of_another_namespace_nor_the_clean_up_itself(world: GateWorld, proven: CleanupStage) -> None:
    stage = with_others(proven)
    other = planned(world, stage)
    with gate.past_the_triggers():
        CleanupStage.objects.filter(pk=other.pk).update(namespace=world.production)
        assert completion.unexplained_others(now(stage)) == 2
        CleanupStage.objects.filter(pk=other.pk).update(namespace=stage.namespace)
        CleanupEntry.objects.filter(stage=other).update(stage=stage, index=9)
        CleanupStage.objects.filter(pk=stage.pk).update(state="frozen")
    assert completion.unexplained_others(now(stage)) == 2


def test_explained_keys_and_none_are_not_counted(proven: CleanupStage, operator: Person) -> None:
    assert completion.unexplained_others(proven) == 0
    stage = with_others(proven)
    completion.explain_others(stage, note="no longer needed", by=operator)
    assert completion.unexplained_others(now(stage)) == 0


# Accepting


def test_a_stage_is_accepted_with_the_person_s_test(proven: CleanupStage, operator: Person) -> None:
    gate.tampered(proven, scope_digest="5" * 64)
    completion.accept_stage(proven, note=f" {LONG} ", by=operator)
    found = now(proven)
    assert (found.state, found.accepted_note, found.accepted_by) == ("accepted", LONG, operator)
    assert (found.accepted_at is None, found.empty_reason, found.scope_digest) == (False, "", "5" * 64)
    assert (found.others_note, found.request.completed_at) == ("", None)
    assert last_entry() == {
        "action": "stage.accepted", "actor_id": operator.pk, "environment": "qa", "subject": f"stage:{proven.pk}",
        "subject_label": str(proven), "digest": "5" * 64,
        "details": {"note": f" {LONG}"[:1000], "differences_after": 0},
    }  # fmt: skip


def test_a_stage_without_keys_gives_the_reason_and_its_scope(
    world: GateWorld, request_: CleanupRequest, operator: Person
) -> None:
    stage = gate.frozen(gate.stage_of(request_), ())
    stage = gate.go(stage, State.CONFIRMED, first_listing_at=EARLIER, second_listing_at=Now())
    completion.accept_stage(stage, note=" none as agreed ", by=operator)
    assert (now(stage).empty_reason, now(stage).scope_digest) == ("none as agreed", qa.scope_digest(stage))


def test_accepting_has_words(proven: CleanupStage, operator: Person) -> None:
    refused(
        lambda: completion.accept_stage(proven, note=" ", by=operator),
        "Describe your test of the application and its result.",
    )
    assert now(proven).state == "confirmed"


def test_leftovers_are_explained_first(proven: CleanupStage, operator: Person) -> None:
    left(proven)
    refused(
        lambda: completion.accept_stage(proven, note="no longer needed", by=operator), "Explain the leftovers first."
    )
    completion.explain_leftovers(proven, note="a nightly job", by=operator)
    completion.accept_stage(proven, note="no longer needed", by=operator)
    assert now(proven).state == "accepted"


def test_only_a_key_that_is_or_may_be_there_is_a_leftover(proven: CleanupStage) -> None:
    for index, outcome in enumerate(CleanupException.Outcome.values):
        CleanupException.objects.create(stage=proven, index=index, name=str(index), outcome=outcome)
    found = set(completion.leftovers(proven).values_list("outcome", flat=True))
    assert found == {"changed", "failed", "reappeared", "stopped"}


def test_other_keys_are_explained_first(proven: CleanupStage, operator: Person) -> None:
    stage = with_others(proven)
    refused(
        lambda: completion.accept_stage(stage, note="no longer needed", by=operator),
        "Explain the other keys under the prefix first.",
    )
    completion.explain_others(stage, note="an import as agreed", by=operator)
    completion.accept_stage(stage, note="no longer needed", by=operator)
    assert (now(stage).state, now(stage).others_note) == ("accepted", "an import as agreed")


def test_other_keys_that_another_clean_up_will_delete_need_no_words(
    world: GateWorld, proven: CleanupStage, operator: Person
) -> None:
    OtherName.objects.create(stage=proven, name=OTHERS[0])
    gate.tampered(proven, others=1)
    planned(world, proven)
    completion.accept_stage(proven, note="no longer needed", by=operator)
    found = now(proven)
    assert (found.others_note, found.others_by, found.others_at is None) == (completion.PLANNED, operator, False)


def test_a_stage_that_proves_nothing_is_not_accepted(proven: CleanupStage, operator: Person) -> None:
    gate.tampered(proven, deleted=0, skipped=3, leftovers_note="a job")
    why = qa.proves_nothing(now(proven))
    assert why
    refused(lambda: completion.accept_stage(proven, note="no longer needed", by=operator), why)


def test_only_a_proven_stage_is_accepted(proven: CleanupStage, operator: Person) -> None:
    gate.tampered(proven, state="deleted")
    moved = "The stage has moved on since this page was loaded. Load the page again."
    refused(lambda: completion.accept_stage(proven, note="no longer needed", by=operator), moved)


def finish_production(proven: CleanupStage, operator: Person, state: str) -> CleanupRequest:
    """Accept QA while production is in this state."""
    accepted = {"accepted_by": operator, "accepted_at": Now(), "accepted_note": "x", "empty_reason": "x"}
    listed = {"first_listing_at": EARLIER, "second_listing_at": Now(), "names_sha256": "0" * 64, "frozen_at": Now()}
    production = gate.stage_of(proven.request, "production")
    gate.tampered(production, state=state, **({**accepted, **listed} if state == "accepted" else {}))
    completion.accept_stage(proven, note="no longer needed", by=operator)
    return CleanupRequest.objects.get(pk=proven.request_id)


@pytest.mark.parametrize(("state", "over"), [("accepted", True), ("ended", True), ("waiting", False)])
def test_the_last_stage_completes_the_request(
    proven: CleanupStage, operator: Person, state: str, *, over: bool
) -> None:
    assert (finish_production(proven, operator, state).completed_at is not None) == over


def test_no_other_request_is_completed(world: GateWorld, proven: CleanupStage, operator: Person) -> None:
    other = planned(world, proven).request
    finish_production(proven, operator, "ended")
    other.refresh_from_db()
    assert other.completed_at is None


# Ending


def stages(request: CleanupRequest) -> list[str]:
    return list(CleanupStage.objects.filter(request=request).order_by("order").values_list("state", flat=True))


def test_a_request_that_did_not_begin_is_ended(world: GateWorld, request_: CleanupRequest, operator: Person) -> None:
    completion.end(request_, reason=LONG, by=operator)
    request_.refresh_from_db()
    assert (request_.ended_at is None, request_.ended_by, stages(request_)) == (False, str(operator), ["ended"] * 2)
    assert last_entry() == {
        "action": "cleanup.ended", "actor_id": operator.pk, "environment": "", "subject": f"cleanup:{request_.pk}",
        "subject_label": str(request_), "digest": "", "details": {"reason": LONG[:500]},
    }  # fmt: skip


@pytest.mark.parametrize("prepare", [gate.submitted, gate.approved])
def test_its_request_for_approval_is_withdrawn_with_the_reason(
    world: GateWorld, request_: CleanupRequest, operator: Person, prepare: Callable[..., CleanupStage]
) -> None:
    approval = gate.approval_of(prepare(world, request_))
    completion.end(request_, reason="a mistake of mine", by=operator)
    approval.refresh_from_db()
    assert (approval.state, approval.reason) == ("withdrawn", "a mistake of mine")
    assert stages(request_) == ["ended", "ended"]
    entry = AuditEntry.objects.filter(action="approval.withdrawn").latest("seq")
    assert entry.actor_id == operator.pk


def test_a_decided_request_stays_as_it_was(world: GateWorld, request_: CleanupRequest, operator: Person) -> None:
    approval = gate.approval_of(gate.submitted(world, request_))
    approval_gate.reject(approval, by=world.people.reviewer, shown=approval.digest, reason="not like this")
    completion.end(request_, reason="a mistake of mine", by=operator)
    approval.refresh_from_db()
    assert (approval.state, approval.reason, stages(request_)) == ("rejected", "not like this", ["ended", "ended"])


def test_another_clean_up_and_its_request_stay_as_they_were(
    world: GateWorld, request_: CleanupRequest, operator: Person
) -> None:
    stage = gate.submitted(world, request_)
    approval = gate.approval_of(stage)
    gate.tampered(stage, state="frozen", approval=None)
    stage.approval = approval
    other = planned(world, stage, "submitted")
    completion.end(request_, reason="a mistake of mine", by=operator)
    approval.refresh_from_db()
    other.request.refresh_from_db()
    assert (approval.state, now(other).state, other.request.ended_at) == ("pending", "submitted", None)
    assert stages(request_) == ["ended", "ended"]


@pytest.mark.parametrize("state", ["deleting", "deleted", "confirmed"])
def test_once_the_deletion_began_it_goes_only_forward(
    world: GateWorld, proven: CleanupStage, operator: Person, state: str
) -> None:
    gate.tampered(proven, state=state)
    began = "The deletion has started, so the stage can only go forward."
    refused(lambda: completion.end(proven.request, reason="no longer needed", by=operator), began)
    assert stages(proven.request) == [state, "waiting"]


def test_a_deletion_that_begins_meanwhile_is_seen_under_the_lock(
    world: GateWorld, request_: CleanupRequest, operator: Person, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = gate.approved(world, request_)
    real = approval_gate.withdraw

    def begun(*what: object, **how: object) -> None:
        real(*what, **how)  # type: ignore[arg-type]
        gate.tampered(stage, state="confirmed", deleted=3, first_listing_at=EARLIER, second_listing_at=Now())

    monkeypatch.setattr(approval_gate, "withdraw", begun)
    refused(
        lambda: completion.end(request_, reason="no longer needed", by=operator),
        "The deletion has started, so the stage can only go forward.",
    )


@pytest.mark.parametrize("state", ["submitted", "approved"])
def test_a_stage_that_is_submitted_meanwhile_is_seen_under_the_lock(
    world: GateWorld, request_: CleanupRequest, operator: Person, monkeypatch: pytest.MonkeyPatch, state: str
) -> None:
    stage = gate.submitted(world, request_)
    monkeypatch.setattr(approval_gate, "withdraw", lambda *_, **__: None)
    gate.tampered(stage, state=state)
    refused(
        lambda: completion.end(request_, reason="no longer needed", by=operator),
        "A stage was submitted just now. Load the page again.",
    )
    assert stages(request_) == [state, "waiting"]


@pytest.mark.parametrize("column", ["ended_at", "completed_at"])
def test_a_request_ends_once(world: GateWorld, request_: CleanupRequest, operator: Person, column: str) -> None:
    gate.tampered(request_, **{column: Now()})
    refused(lambda: completion.end(request_, reason="no longer needed", by=operator), "The clean-up is already over.")


def test_an_accepted_stage_stays_accepted(world: GateWorld, request_: CleanupRequest, operator: Person) -> None:
    stage = gate.accepted(world, request_)
    completion.end(stage.request, reason="no longer needed", by=operator)
    assert stages(stage.request) == ["accepted", "ended"]
