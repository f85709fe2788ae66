"""No deletion without answered code references: by page, command, task, and SQL as the application's role."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, connection
from django.db.transaction import atomic
from django.test import Client

from backups.cleanup import references as code_references, requests as cleanup_requests, shown_references
from backups.cleanup.stages import CleanupRefused
from backups.deletion import mandate as deletion_mandate
from backups.models import CleanupRequest, CleanupStage
from kvops import clock, database_roles, timing
from kvops.approvals import gate as approval_gate, risks
from kvops.models import (
    Category,
    DeployedCode,
    DeployedLook,
    Environment,
    Family,
    ReferenceAnswer,
    ReferenceHit,
    ReferenceSearch,
    Run,
)
from kvops.references import look as code_look
from kvops.runs.outcomes import RunError, TryLater
from tests import searched
from tests.gate import world as gate
from tests.gate.world import GateWorld
from tests.prepared import Prepared
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
WRITER = "src/a.ts:7 write certain SETTINGS master:*"
UNKNOWN = "src/b.ts:9 read unknown *"
FORGED: dict[str, Any] = {"files": 1, "source": "file", "place": "hits.json", "made_by": "cli:import_references"}


def unsearched(_world: GateWorld, _request: CleanupRequest) -> None:
    with gate.past_the_triggers():
        ReferenceSearch.objects.all().delete()


def old(world: GateWorld, _request: CleanupRequest) -> None:
    unsearched(world, _request)
    searched.search(world.qa.environment, ago=timedelta(days=7, minutes=1))


def before_the_family(world: GateWorld, _request: CleanupRequest) -> None:
    unsearched(world, _request)
    searched.search(world.qa.environment, ago=timedelta(hours=1))


def in_the_future(world: GateWorld, _request: CleanupRequest) -> None:
    searched.search(world.qa.environment, ago=-timedelta(days=1))


def unanswered(world: GateWorld, _request: CleanupRequest) -> None:
    searched.search(world.qa.environment, hits=[WRITER])


def told_by_nobody(world: GateWorld, _request: CleanupRequest) -> None:
    searched.search(world.qa.environment, hits=[UNKNOWN])


def of_a_part(world: GateWorld, _request: CleanupRequest) -> None:
    searched.search(world.qa.environment, hits=["src/a.ts:7 read certain SETTINGS master:a:*"])


def by_its_name_in_the_code(world: GateWorld, _request: CleanupRequest) -> None:
    DeployedCode.objects.update(bindings={"KV": world.qa.namespace_id})
    searched.search(world.qa.environment, hits=["src/a.ts:7 read possible KV *"])


def of_another_family(world: GateWorld, request: CleanupRequest) -> None:
    unanswered(world, request)
    other = Family.objects.exclude(pk=request.family_id).filter(binding="SETTINGS")[0]
    with gate.past_the_triggers():
        searched.answered(world.qa.environment, other, world.people.operator)


def closed(world: GateWorld, request: CleanupRequest) -> None:
    unanswered(world, request)
    searched.answered(world.qa.environment, request.family, world.people.operator)
    with gate.past_the_triggers():
        over = {"closed_by": searched.search(world.production.environment), "closed_at": clock.now()}
        todo = {"kind": "follow_up", "follow_up": "d1", "owner": world.people.operator, "due": clock.now().date()}
        ReferenceAnswer.objects.update(**over, **todo)


UNANSWERED = "Code references without an answer: 1. Answer them first: /cleanup/stages/"
MISSING: dict[str, tuple[Callable[[GateWorld, CleanupRequest], None], str]] = {
    "no search": (unsearched, "The code of Qa was not searched for these keys yet. Search it first: /references/qa/"),
    "an old search": (old, "The code of Qa was searched more than 7 days ago. Search it again: /references/qa/"),
    "a search from before the family": (before_the_family, "The code of Qa was searched before the policy had master:"),
    "a search of tomorrow": (in_the_future, "The newest search of the code of Qa has a time in the future"),
    "an unanswered writer": (unanswered, UNANSWERED),
    "a place that cannot be told": (told_by_nobody, UNANSWERED),
    "a place of a part of the keys": (of_a_part, UNANSWERED),
    "the name in the code": (by_its_name_in_the_code, UNANSWERED),
    "answers of another family": (of_another_family, UNANSWERED),
    "a closed follow-up": (closed, UNANSWERED),
}


@pytest.mark.parametrize("what", MISSING)
def test_a_stage_is_not_submitted_with(world: GateWorld, request_: CleanupRequest, what: str) -> None:
    spoil, why = MISSING[what]
    stage = gate.checked(request_)
    spoil(world, request_)
    with pytest.raises(CleanupRefused) as refused:
        cleanup_requests.submit(stage, by=world.people.operator)
    assert str(refused.value).startswith(why)
    assert gate.stage_of(request_).state == "checked"


NOT_MINE = [
    "src/a.ts:7 write certain SETTINGS other:*",
    "src/a.ts:7 write certain OTHER master:*",
    "src/a.ts:7 write certain SETTINGS master",
]


@pytest.mark.parametrize("hit", NOT_MINE)
def test_a_hit_of_other_keys_needs_no_answer(world: GateWorld, request_: CleanupRequest, hit: str) -> None:
    searched.search(world.qa.environment, hits=[hit])
    stage = gate.submitted(world, request_)
    assert (stage.state, stage.search) == ("submitted", ReferenceSearch.objects.latest("pk"))


def test_every_category_needs_its_references(world: GateWorld) -> None:
    request_ = gate.asked(world, "mastercache:")
    stage = gate.checked(request_)
    searched.search(world.qa.environment, hits=["src/a.ts:7 read certain SETTINGS mastercache:*"])
    assert request_.category == Category.CACHE
    with pytest.raises(CleanupRefused, match="without an answer: 1"):
        cleanup_requests.submit(stage, by=world.people.operator)


def test_the_page_refuses_as_well(world: GateWorld, request_: CleanupRequest) -> None:
    stage = gate.checked(request_)
    unanswered(world, request_)
    answer = signed_in(world.people.operator).post(f"/cleanup/stages/{stage.pk}/submit")
    assert answer.status_code == 409
    assert "without an answer: 1" in answer.content.decode()
    assert not CleanupStage.objects.filter(state="submitted").exists()


def redeployed(world: GateWorld, _request: CleanupRequest) -> None:
    searched.runs(world.qa.environment, "5b1c0de")


def another_answer(world: GateWorld, request: CleanupRequest) -> None:
    searched.answered(world.qa.environment, request.family, world.people.operator)


def edited(_world: GateWorld, _request: CleanupRequest) -> None:
    with gate.past_the_triggers():
        ReferenceAnswer.objects.update(reason="edited as agreed")


def deleted(_world: GateWorld, _request: CleanupRequest) -> None:
    with gate.past_the_triggers():
        ReferenceAnswer.objects.all().delete()


def hit_added(world: GateWorld, _request: CleanupRequest) -> None:
    search = gate.stage_of(_request).search
    other = searched.search(world.production.environment, hits=[UNKNOWN])
    with gate.past_the_triggers():
        ReferenceHit.objects.filter(search=other).update(search=search)


def rests_on_another(world: GateWorld, request: CleanupRequest) -> None:
    older = searched.search(world.qa.environment, ago=timedelta(minutes=1))
    with gate.past_the_triggers():
        CleanupStage.objects.filter(pk=gate.stage_of(request).pk).update(search=older)


SEARCHED_AGAIN, DIFFER = "The code was searched again after the approval,", "The answers to the code references differ"
AFTERWARDS: dict[str, tuple[Callable[[GateWorld, CleanupRequest], None], str]] = {
    "a search by SQL": (unanswered, SEARCHED_AGAIN),
    "another search of the stage": (rests_on_another, SEARCHED_AGAIN),
    "other code": (redeployed, "Other code was deployed after the approval."),
    "another answer": (another_answer, DIFFER),
    "an edited answer": (edited, DIFFER),
    "a deleted answer": (deleted, DIFFER),
    "a hit by SQL": (hit_added, DIFFER),
}


@pytest.fixture
def approved(prepared: Prepared, world: GateWorld, request_: CleanupRequest) -> CleanupStage:
    """Approved with one answered hit."""

    def approved() -> CleanupStage:
        searched.search(world.qa.environment, hits=[WRITER])
        another_answer(world, request_)
        return gate.approved(world, request_)

    return prepared.step("approved with an answer", approved)


@pytest.mark.parametrize("what", AFTERWARDS)
def test_the_approval_no_longer_fits_after(
    world: GateWorld, request_: CleanupRequest, approved: CleanupStage, what: str
) -> None:
    spoil, why = AFTERWARDS[what]
    spoil(world, request_)
    with pytest.raises(CleanupRefused, match=f"{why}.* Prepare the stage again"):
        cleanup_requests.start_deletion(approved, by=world.people.operator)
    stage = gate.stage_of(request_)
    assert (stage.state, Run.objects.filter(kind="delete").count()) == ("frozen", 0)
    assert why in stage.returned_because


@pytest.mark.parametrize("what", AFTERWARDS)
def test_a_run_that_began_sends_nothing_after(
    world: GateWorld, request_: CleanupRequest, approved: CleanupStage, what: str
) -> None:
    cleanup_requests.start_deletion(approved, by=world.people.operator)
    AFTERWARDS[what][0](world, request_)
    stage = gate.stage_of(request_)
    with pytest.raises(RunError, match=AFTERWARDS[what][1]) as refused:
        deletion_mandate.insist_as_approved(stage, gate.lease_of(stage))
    assert refused.value.code == "stale"


@pytest.fixture
def eight_days_later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    real = clock.seconds_until
    return lambda: monkeypatch.setattr(clock, "seconds_until", lambda at: real(at) - 8 * 86400)


def test_an_approval_does_not_outlive_its_search(
    world: GateWorld, approved: CleanupStage, eight_days_later: Callable[[], None]
) -> None:
    DeployedLook.objects.update(at=clock.now() + timedelta(days=3650))
    eight_days_later()
    with pytest.raises(CleanupRefused, match="searched more than 7 days ago"):
        cleanup_requests.start_deletion(approved, by=world.people.operator)
    assert gate.stage_of(approved.request).state == "approved"


def test_a_run_does_not_outlive_its_search(
    world: GateWorld, approved: CleanupStage, eight_days_later: Callable[[], None]
) -> None:
    cleanup_requests.start_deletion(approved, by=world.people.operator)
    stage = gate.stage_of(approved.request)
    lease = gate.lease_of(stage)
    eight_days_later()
    with pytest.raises(RunError, match="searched more than 7 days ago"):
        deletion_mandate.insist_as_approved(stage, lease)


def not_known(_world: GateWorld, _request: CleanupRequest) -> None:
    DeployedLook.objects.update(problem="No permission.")


def fewer(world: GateWorld, _request: CleanupRequest) -> None:
    larger = searched.search(world.production.environment)
    searched.search(world.qa.environment, fewer_than=larger, **FORGED)


def followed_up(world: GateWorld, request: CleanupRequest) -> None:
    searched.search(world.qa.environment, hits=["src/a.ts:7 read certain SETTINGS master:*"])
    todo = {"follow_up": "d1", "owner": world.people.operator, "due": clock.now().date()}
    searched.answered(world.qa.environment, request.family, world.people.operator, kind="follow_up", **todo)


def test_the_risk_of_a_small_file_names_the_search_that_had_more(world: GateWorld, request_: CleanupRequest) -> None:
    fewer(world, request_)
    approval = gate.submitted(world, request_).approval
    assert approval is not None
    larger = ReferenceSearch.objects.exclude(fewer_than=None).get().fewer_than_id
    told = "I accept that the search of the code came as a file and has fewer files or places than"
    assert risks.sentence("references_fewer", approval) == f"{told} search {larger}."
    approval.evidence = "{}"
    assert risks.sentence("references_fewer", approval) == f"{told} an earlier search."


RISKS = {
    "references_other": redeployed,
    "references_not_known": not_known,
    "references_fewer": fewer,
    "references_follow_up": followed_up,
}


@pytest.mark.parametrize("risk", RISKS)
def test_code_that_may_not_be_what_runs_is_accepted_by_name(
    world: GateWorld, request_: CleanupRequest, risk: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_look, "ask_when_due", lambda _environment: True)
    RISKS[risk](world, request_)
    request = gate.approval_of(gate.submitted(world, request_))
    assert json.loads(request.evidence)["risks"] == [risk]
    with pytest.raises(approval_gate.ApprovalRefused, match="names risks"):
        approval_gate.approve(request, by=world.people.reviewer, shown=request.digest)
    approval_gate.approve(request, by=world.people.reviewer, shown=request.digest, accepted=[risk])
    assert cleanup_requests.start_deletion(gate.stage_of(request_), by=world.people.operator).approval == request


def test_a_gap_in_what_is_known_waits_and_takes_no_approval(
    world: GateWorld, request_: CleanupRequest, approved: CleanupStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(code_look, "ask_when_due", lambda *_asked: False)  # whatever token an earlier test left
    not_known(world, request_)
    with pytest.raises(CleanupRefused, match="The deployed code is not known: No permission"):
        cleanup_requests.start_deletion(approved, by=world.people.operator)
    assert gate.stage_of(request_).state == "approved"
    DeployedLook.objects.update(problem="")
    cleanup_requests.start_deletion(approved, by=world.people.operator)
    stage = gate.stage_of(request_)
    not_known(world, request_)
    with pytest.raises(TryLater, match="The deployed code is not known: No permission"):
        deletion_mandate.insist_as_approved(stage, gate.lease_of(stage))


def test_an_approval_of_places_without_an_answer_deletes_nothing(
    world: GateWorld, request_: CleanupRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    unanswered(world, request_)
    with monkeypatch.context() as patch:
        patch.setattr(code_references, "lacking", lambda _stage: "")
        stage = gate.approved(world, request_)
    with pytest.raises(CleanupRefused, match="without an answer: 1"):
        cleanup_requests.start_deletion(stage, by=world.people.operator)
    with monkeypatch.context() as patch:
        patch.setattr(code_references, "lacking", lambda _stage: "")
        cleanup_requests.start_deletion(stage, by=world.people.operator)
    stage = gate.stage_of(request_)
    with pytest.raises(RunError, match="without an answer: 1"):
        deletion_mandate.insist_as_approved(stage, gate.lease_of(stage))


def script(world: GateWorld) -> None:
    """A Worker runs beside the Pages project, and its deployed script was searched last, without a hit."""
    worker = {"name": "api", "version": "1", "etag": "e", "bindings": {"SETTINGS": world.qa.namespace_id}}
    DeployedCode.objects.create(environment=world.qa.environment, kind="worker", seen_at=clock.now(), **worker)
    ReferenceSearch.objects.create(
        environment=world.qa.environment, source="worker", worker="api", version="1", etag="e", files=1, hit_count=0,
        digest="e" * 64, searched_at=clock.now(), made_by="tests",
    )  # fmt: skip


def test_a_newer_search_of_one_script_hides_no_hit_in_other_code(world: GateWorld, request_: CleanupRequest) -> None:
    unanswered(world, request_)
    stage = gate.checked(request_)
    script(world)
    with pytest.raises(CleanupRefused, match="without an answer: 1"):
        cleanup_requests.submit(stage, by=world.people.operator)


def test_searches_of_all_deployed_code_together_are_no_risk(world: GateWorld, request_: CleanupRequest) -> None:
    script(world)
    shown = json.loads(gate.approval_of(gate.submitted(world, request_)).evidence)
    assert (shown["risks"], shown["references"]["search"]["worker"]) == ([], "api")
    assert [other["commit"] for other in shown["references"]["others"]] == [searched.COMMIT]


def test_sql_submits_no_stage_without_a_search_of_its_code(world: GateWorld, request_: CleanupRequest) -> None:
    stage = gate.submitted(world, request_)
    other = searched.search(world.production.environment)
    with pytest.raises(IntegrityError, match="the search that a stage rests on cannot be replaced"), atomic():
        CleanupStage.objects.filter(pk=stage.pk).update(search=other)


@pytest.mark.parametrize("what", ["search", "hit", "answer"])
def test_the_applications_role_edits_and_deletes_no(
    world: GateWorld, request_: CleanupRequest, approved: CleanupStage, what: str
) -> None:
    table = f"kvops_reference{what}"
    for statement in (f"UPDATE {table} SET id = id + 1000", f"DELETE FROM {table}"):
        with pytest.raises(DatabaseError), atomic(), connection.cursor() as cursor:
            cursor.execute(statement)
    rights = database_roles.APPLICATION.get(table, "")
    assert what == "answer" or rights == "SELECT, INSERT"


def test_the_evidence_stays_small_with_very_many_answers(world: GateWorld, request_: CleanupRequest) -> None:
    searched.search(world.qa.environment, hits=[f"{'d/' * 100}f.ts:{n} read possible SETTINGS *" for n in range(5_000)])
    stage = gate.checked(request_)
    hits = [one.hit.pk for one in code_references.StageReferences.of(stage).found]
    code_references.answer(stage, hits=hits, kind="falls_back", reason="主要" * 1_000, by=world.people.operator)
    shown = shown_references.shown(stage)
    assert (shown["hits"], shown["unanswered"]) == (5_000, 0)
    assert len(json.dumps(shown, ensure_ascii=False).encode()) < 20_000
    assert 0 < len(shown["answers"]) <= 100  # type: ignore[arg-type]
    assert cleanup_requests.submit(stage, by=world.people.operator).evidence


def test_an_answer_past_the_shown_ones_is_in_the_digest(world: GateWorld, request_: CleanupRequest) -> None:
    searched.search(world.qa.environment, hits=[f"src/a.ts:{n} read possible SETTINGS *" for n in range(200)])
    another_answer(world, request_)
    stage = gate.submitted(world, request_)
    before = shown_references.shown(stage)
    with gate.past_the_triggers():
        ReferenceAnswer.objects.filter(hit__line=199).update(reason="no longer needed")
    after = shown_references.shown(stage)
    assert before["answers"] == after["answers"]
    assert before["answers_sha256"] != after["answers_sha256"]


def test_writers_come_first(world: GateWorld, request_: CleanupRequest) -> None:
    searched.search(world.qa.environment, hits=[UNKNOWN, "z.ts:1 read certain SETTINGS *", WRITER])
    another_answer(world, request_)
    shown = shown_references.shown(gate.checked(request_))
    assert [line["access"] for line in shown["answers"]] == ["write", "read", "read"]  # type: ignore[attr-defined]
    assert shown["counts"][0] == {"access": "write", "certainty": "certain", "hits": 1}  # type: ignore[index]


@pytest.fixture
def reviewer(world: GateWorld) -> Client:
    return signed_in(world.people.reviewer)


def test_the_reviewer_reads_every_answer(world: GateWorld, approved: CleanupStage, reviewer: Client) -> None:
    page = reviewer.get(f"/approvals/{approved.approval_id}/").content.decode()
    assert "src/a.ts:7" in page
    assert "reads D1 first" in page
    assert f"/cleanup/stages/{approved.pk}/references/" in page


# The search that counts


def test_a_submitted_stage_keeps_its_search(world: GateWorld, approved: CleanupStage) -> None:
    newer = searched.search(world.qa.environment)
    assert code_references.search_of(approved) == approved.search != newer
    approved.state = CleanupStage.State.FROZEN
    assert code_references.search_of(approved) == newer
    approved.state, approved.search = CleanupStage.State.SUBMITTED, None
    assert code_references.search_of(approved) == newer


def of_script(environment: Environment, worker: str, hours: float) -> ReferenceSearch:
    """A search of a deployed script so long ago."""
    at = clock.now() - timedelta(hours=hours)
    return ReferenceSearch.objects.create(
        environment=environment, source="worker", worker=worker, version="1", etag="e", files=1, hit_count=0,
        digest=f"{ReferenceSearch.objects.count():064}", searched_at=at, made_by="tests",
    )  # fmt: skip


def test_the_newest_recent_search_of_each_other_script_counts_too(
    world: GateWorld, request_: CleanupRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, qa = clock.now(), world.qa.environment
    monkeypatch.setattr(clock, "now", lambda: now)
    checkout, newest = ReferenceSearch.objects.get(environment=qa), of_script(qa, "site", 0)
    of_script(qa, "site", 1)
    of_script(qa, "old", 7 * 24 + 0.1)
    of_script(world.production.environment, "elsewhere", 1)
    api, edge = of_script(qa, "api", 1), of_script(qa, "edge", 7 * 24 - 0.1)
    of_script(qa, "api", 2)
    of_script(qa, "twin", 3)
    twin = of_script(qa, "twin", 3)
    assert code_references.with_others(newest) == [newest, checkout, api, edge, twin]
    assert code_references.with_others(None) == []


@pytest.mark.parametrize(
    ("state", "left"),
    [("frozen", 1), ("submitted", 1), ("approved", 1), ("deleting", 1), ("deleted", 0), ("confirmed", 0)],
)
def test_a_closed_follow_up_is_an_answer_only_after_the_deletion(
    world: GateWorld, request_: CleanupRequest, state: str, left: int
) -> None:
    closed(world, request_)
    stage = gate.stage_of(request_)
    stage.state = state
    search = ReferenceSearch.objects.filter(environment=world.qa.environment).latest("pk")
    assert code_references.unanswered(code_references.hits_of(stage, [search])) == left


@pytest.mark.parametrize(("seconds", "enough"), [(-604_800, True), (-604_801, False), (5, True), (6, False)])
def test_a_search_counts_for_a_week(
    world: GateWorld, request_: CleanupRequest, monkeypatch: pytest.MonkeyPatch, seconds: float, *, enough: bool
) -> None:
    search = ReferenceSearch.objects.latest("pk")
    monkeypatch.setattr(timing, "SKEW", 5)
    monkeypatch.setattr(clock, "seconds_until", lambda _at: seconds)
    assert (code_references.missing(gate.stage_of(request_), search) == "") == enough


@pytest.mark.parametrize(
    ("asked", "family", "found"), [(False, False, 1), (True, False, 0), (False, True, 0), (True, True, 0)]
)
def test_a_place_of_longer_keys_does_not_concern_an_exact_key(
    world: GateWorld, request_: CleanupRequest, *, asked: bool, family: bool, found: int
) -> None:
    of_a_part(world, request_)
    stage = gate.stage_of(request_)
    stage.request.exact, stage.request.family.exact = asked, family
    assert len(code_references.hits_of(stage, [ReferenceSearch.objects.latest("pk")])) == found


def test_answered_places_hinder_nothing(world: GateWorld, request_: CleanupRequest) -> None:
    unanswered(world, request_)
    another_answer(world, request_)
    assert gate.submitted(world, request_).state == "submitted"


def test_a_file_of_the_same_commit_hides_no_place_of_an_earlier_search(
    world: GateWorld, request_: CleanupRequest
) -> None:
    whole, stage = searched.search(world.qa.environment, hits=[WRITER]), gate.checked(request_)
    searched.search(world.qa.environment, **FORGED)
    with pytest.raises(CleanupRefused, match="without an answer: 1"):
        cleanup_requests.submit(stage, by=world.people.operator)
    ReferenceAnswer.objects.create(
        family=request_.family, hit=whole.hits.get(), fingerprint=whole.hits.get().fingerprint, kind="falls_back",
        reason="reads D1 first", by=world.people.operator,
    )  # fmt: skip
    shown = json.loads(cleanup_requests.submit(stage, by=world.people.operator).evidence)["references"]
    named = [(one["place"], one["by"], one["files"], one["hits"]) for one in (shown["search"], *shown["others"])]
    assert named == [("hits.json", "cli:import_references", 1, 0), ("", "tests", 3, 1), ("", "tests", 3, 0)]
    assert shown["hits"] == 1


def test_a_place_that_two_searches_of_a_commit_found_is_one_place(world: GateWorld, request_: CleanupRequest) -> None:
    searched.search(world.qa.environment, hits=[WRITER])
    searched.search(world.qa.environment, hits=[WRITER, UNKNOWN])
    found = code_references.StageReferences.of(gate.stage_of(request_))
    assert [one.place for one in found.found] == ["src/a.ts:7", "src/b.ts:9"]


@pytest.mark.parametrize(("certainty", "left"), [("certain", 1), ("possible", 0)])
def test_a_certain_use_of_exactly_the_family_is_not_unrelated(
    world: GateWorld, request_: CleanupRequest, certainty: str, left: int
) -> None:
    search = searched.search(world.qa.environment, hits=[f"src/a.ts:7 read {certainty} SETTINGS master:*"])
    stage, hit = gate.stage_of(request_), search.hits.get()
    asked: dict[str, Any] = {
        "hits": [hit.pk],
        "kind": "unrelated",
        "reason": "of another part",
        "by": world.people.operator,
    }
    if left:
        with pytest.raises(CleanupRefused, match=r"src/a\.ts:7 certainly uses exactly these keys"):
            code_references.answer(stage, **asked)
        searched.answered(world.qa.environment, request_.family, world.people.operator, kind="unrelated")
    else:
        code_references.answer(stage, **asked)
    assert code_references.StageReferences.of(stage).unanswered == left
