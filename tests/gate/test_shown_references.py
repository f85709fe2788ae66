"""The code references in the evidence, fact by fact, and the sentence for each fact that changed since the approval."""

import json
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest
from django.db.models.functions import Now

from audit import log
from backups.cleanup import requests as cleanup_requests, shown_references
from backups.models import CleanupRequest, CleanupStage
from kvops import clock
from kvops.approvals import evidence
from kvops.models import DeployedCode, DeployedLook, ReferenceAnswer, ReferenceHit, ReferenceSearch, Run
from kvops.references import look as code_look
from tests import searched
from tests.gate import world as gate
from tests.gate.world import GateWorld

pytestmark = pytest.mark.django_db
WRITER, READER = "src/a.ts:7 write certain SETTINGS master:*", "src/b.ts:9 read unknown *"
OPERATOR = "Operator <operator@example.com>"


def moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat()


def digest(lines: list[dict[str, Any]]) -> str:
    return sha256("".join(f"{evidence.canonical_evidence(line)}\n" for line in lines).encode()).hexdigest()


def of_script(world: GateWorld, worker: str) -> ReferenceSearch:
    """A recent search of a deployed script."""
    return ReferenceSearch.objects.create(
        environment=world.qa.environment, source="worker", worker=worker, version="v7", etag="e", files=1, hit_count=0,
        digest=f"{worker:f>64}", searched_at=clock.now().replace(microsecond=0), made_by="tests",
    )  # fmt: skip


@pytest.fixture
def stage(world: GateWorld, request_: CleanupRequest) -> CleanupStage:
    """Checked, with a writer that has an answer and a reader that has none."""
    searched.search(world.qa.environment, hits=[READER, WRITER])
    hit = ReferenceHit.objects.get(access="write")
    ReferenceAnswer.objects.create(
        family=request_.family, hit=hit, fingerprint=hit.fingerprint, kind="follow_up", reason="still reads KV",
        follow_up="d1", owner=world.people.operator2, due=date(2099, 1, 31), by=world.people.operator,
    )  # fmt: skip
    return gate.checked(request_)


# What is shown


def test_without_a_search_nothing_is_shown(world: GateWorld, stage: CleanupStage) -> None:
    with gate.past_the_triggers():
        ReferenceSearch.objects.update(environment=world.production.environment)
    assert shown_references.shown(stage) == {}


def test_the_search_the_code_and_each_answer_are_shown(world: GateWorld, stage: CleanupStage) -> None:
    search, answer = ReferenceSearch.objects.latest("pk"), ReferenceAnswer.objects.get()
    code = {"kind": "pages", "name": "site", "version": "", "commit": searched.COMMIT, "dirty": False}
    lines = [
        {
            "file": "src/b.ts", "line": 9, "certainty": "unknown", "access": "read", "family": "*",
            "fingerprint": ReferenceHit.objects.get(access="read").fingerprint,
        },
        {
            "file": "src/a.ts", "line": 7, "certainty": "certain", "access": "write", "id": answer.pk,
            "family": "SETTINGS master:*",
            "fingerprint": answer.fingerprint, "kind": "follow_up", "reason": "still reads KV", "follow_up": "d1",
            "owner": "Operator2 <operator2@example.com>", "due": "2099-01-31", "by": OPERATOR, "at": moment(answer.at),
            "carried_over": False,
        },
    ]  # fmt: skip
    shown = shown_references.shown(stage)
    assert shown == {
        "search": {
            "id": search.pk, "digest": search.digest, "source": "checkout", "commit": searched.COMMIT, "worker": "",
            "version": "", "etag": "", "searched_at": moment(search.searched_at), "files": 3, "hits": 2,
            "repository": "", "place": "", "by": "tests",
        },
        "rests_on": search.pk, "others": shown["others"], "fewer": False, "follow_up": False,
        "follow_ups": {"open": 1, "due": "2099-01-31"},
        "deployed": {"state": "same", "count": 1, "code": [code], "sha256": digest([code])}, "hits": 2,
        "unanswered": 1,
        "counts": [
            {"access": "write", "certainty": "certain", "hits": 1},
            {"access": "read", "certainty": "unknown", "hits": 1},
        ],
        "answers": lines, "answers_sha256": digest(lines),
    }  # fmt: skip


def test_an_answer_without_a_follow_up_has_no_owner_and_no_date(world: GateWorld, stage: CleanupStage) -> None:
    searched.answered(stage.environment, stage.request.family, world.people.operator)
    [_, shown] = json.loads(json.dumps(shown_references.shown(stage)))["answers"]
    assert (shown["kind"], shown["owner"], shown["due"], shown["follow_up"]) == ("falls_back", "", "", "")


def test_an_answer_of_an_earlier_search_is_shown_as_carried_over(stage: CleanupStage) -> None:
    searched.search(stage.environment, hits=[WRITER], commit="5b1c0de")
    shown: Any = shown_references.shown(stage)
    assert [line["carried_over"] for line in shown["answers"]] == [True]


def test_searches_of_other_scripts_and_deployed_scripts_are_shown_up_to_twenty(
    world: GateWorld, stage: CleanupStage
) -> None:
    for n in range(22):
        of_script(world, f"w{n:02}")
        DeployedCode.objects.create(
            environment=stage.environment, kind="worker", name=f"w{n:02}", version="v7", etag="e", dirty=n == 0,
            bindings={"S": world.qa.namespace_id}, seen_at=Now(),
        )  # fmt: skip
    shown: Any = shown_references.shown(stage)
    newest = ReferenceSearch.objects.filter(environment=stage.environment).latest("searched_at", "pk")
    others = ["", "", *(f"w{n:02}" for n in range(22))]  # two searches of the commit differ
    others.remove(newest.worker)
    assert [(one["worker"], shown["search"]["worker"]) for one in shown["others"]] == [
        (worker, newest.worker) for worker in others[:20]
    ]
    first = next(one for one in shown["others"] if one["worker"] == "w00")
    assert (first["source"], first["version"], first["etag"], first["files"]) == ("worker", "v7", "e", 1)
    code = shown["deployed"]
    assert (code["count"], [one["name"] for one in code["code"]]) == (23, ["site", *(f"w{n:02}" for n in range(19))])
    assert code["code"][1] == {"kind": "worker", "name": "w00", "version": "v7", "commit": "", "dirty": True}
    assert code["state"] == "same"


def test_of_many_searches_the_largest_are_named(world: GateWorld, stage: CleanupStage) -> None:
    for n in range(21):
        of_script(world, f"w{n:02}")
    searched.search(stage.environment, worker="zz", hits=[WRITER], ago=timedelta(hours=1))
    shown: Any = shown_references.shown(stage)
    hits = [one["hits"] for one in shown["others"]]
    assert (len(hits), hits) == (20, sorted(hits, reverse=True))
    assert "zz" in {one["worker"] for one in shown["others"]}


def test_hits_are_counted_by_access_and_certainty_the_most_urgent_first(stage: CleanupStage) -> None:
    places = ("list possible", "read possible", "read certain", "delete certain", "write unknown", "read possible")
    hits = [f"a.ts:{n} {place} SETTINGS *" for n, place in enumerate(places)]
    searched.search(stage.environment, hits=hits, commit="5b1c0de")
    shown: Any = shown_references.shown(stage)
    assert [(one["access"], one["certainty"], one["hits"]) for one in shown["counts"]] == [
        ("write", "unknown", 1), ("delete", "certain", 1), ("list", "possible", 1), ("read", "certain", 1),
        ("read", "possible", 2),
    ]  # fmt: skip


# As many answers as fit


def test_long_texts_are_cut_and_other_values_are_not() -> None:
    kept = shown_references._as_fit([{"text": "本" * 301, "line": 7, "list": ["x" * 400]}])
    assert kept == [{"text": "本" * 300, "line": 7, "list": ["x" * 400]}]


def test_a_hundred_answers_fit() -> None:
    lines: list[dict[str, object]] = [{"n": n} for n in range(101)]
    assert shown_references._as_fit(lines) == lines[:100]


@pytest.mark.parametrize(("more", "fit"), [(0, 16), (1, 15)])
def test_sixteen_kibibytes_fit(more: int, fit: int) -> None:
    """A line of 1,024 bytes: `{"a":["` and `"]}` around one character of three bytes and 1,011 of one."""
    line: dict[str, object] = {"a": ["本" + "x" * 1011]}
    assert len(evidence.canonical_evidence(line).encode()) == 1024
    lines: list[dict[str, object]] = [*[line] * 15, {"a": ["本" + "x" * (1011 + more)]}, {"a": 1}]
    assert shown_references._as_fit(lines) == lines[:fit]


# Risks, and what changed since the approval


@pytest.mark.parametrize(
    ("shown", "risks"),
    [
        ({}, ["references_not_known"]),
        ({"deployed": "same"}, ["references_not_known"]),
        ({"deployed": {}}, ["references_None"]),
        ({"deployed": {"state": "same"}}, []),
        ({"deployed": {"state": "other"}}, ["references_other"]),
        ({"deployed": {"state": "not_known"}}, ["references_not_known"]),
    ],
)
def test_code_that_may_not_be_what_runs_is_a_risk(shown: dict[str, object], risks: list[str]) -> None:
    assert shown_references.risks(shown) == risks


@pytest.mark.parametrize(
    ("approved", "accepted"),
    [
        ({}, True),
        ({"deployed": "same"}, True),
        ({"deployed": {"state": "not_known"}}, True),
        ({"deployed": {"state": "same"}}, False),
        ({"deployed": {"state": "other"}}, False),
    ],
)
def test_code_that_is_not_known_any_more_stops_it_unless_that_was_accepted(
    stage: CleanupStage, approved: dict[str, object], *, accepted: bool
) -> None:
    shown_references.insist_known(stage, approved)
    DeployedLook.objects.update(problem="No permission.")
    if accepted:
        shown_references.insist_known(stage, approved)
        return
    with pytest.raises(shown_references.DeployedNotKnown, match=r"^The deployed code is not known: No permission\.$"):
        shown_references.insist_known(stage, approved)


def test_cloudflare_is_asked_once_for_code_that_is_not_known(world: GateWorld, stage: CleanupStage) -> None:
    DeployedLook.objects.all().delete()
    by = world.people.operator
    for _time in range(2):
        with log.transaction():
            shown_references.look_if_not_known(stage.environment, actor=by.actor, person=by)
    [run] = Run.objects.filter(kind=Run.Kind.LOOK)
    assert (run.environment, run.actor, run.started_by) == (stage.environment, by.actor.text, by)


def test_a_look_at_code_that_is_known_holds_no_submit_up(world: GateWorld, stage: CleanupStage) -> None:
    code_look.start(stage.environment, actor=world.people.operator.actor)
    assert approved(world, stage).state == "submitted"


def approved(world: GateWorld, stage: CleanupStage) -> CleanupStage:
    """The stage, submitted with an answer to each place."""
    searched.answered(stage.environment, stage.request.family, world.people.operator)
    cleanup_requests.submit(stage, by=world.people.operator)
    return gate.stage_of(stage.request)


def test_nothing_changed_since_the_approval(world: GateWorld, stage: CleanupStage) -> None:
    assert shown_references.changed(approved(world, stage)) == ""


def test_a_stage_without_an_approval_differs_from_it(stage: CleanupStage) -> None:
    assert shown_references.changed(stage).startswith("The code was searched again")


AGAIN = "The code was searched again after the approval, or a search is too old now."


def test_each_change_since_the_approval_has_its_sentence(world: GateWorld, stage: CleanupStage) -> None:
    found = approved(world, stage)
    searched.answered(stage.environment, stage.request.family, world.people.operator)
    assert shown_references.changed(found) == "The answers to the code references differ from the approved ones."
    searched.runs(stage.environment, "5b1c0de")
    assert shown_references.changed(found) == "Other code was deployed after the approval."
    searched.search(stage.environment, hits=[WRITER])
    assert shown_references.changed(found) == AGAIN


def test_code_that_became_known_after_the_approval_is_not_called_a_deployment(
    world: GateWorld, stage: CleanupStage
) -> None:
    with gate.past_the_triggers():
        DeployedCode.objects.all().delete()
    found = approved(world, stage)
    searched.runs(stage.environment, "5b1c0de")
    assert shown_references.changed(found) == "The deployed code was not known at the approval, and it is known now."


def test_a_search_of_another_script_is_a_search_after_the_approval(world: GateWorld, stage: CleanupStage) -> None:
    found = approved(world, stage)
    with gate.past_the_triggers():
        other = of_script(world, "api")
        earlier = clock.now() - timedelta(minutes=1)
        ReferenceSearch.objects.filter(pk=other.pk).update(searched_at=earlier)
    shown: Any = shown_references.shown(found)
    assert shown["search"]["worker"] == ""
    assert shown_references.changed(found) == AGAIN


def test_another_stored_search_of_the_stage_is_a_search_after_the_approval(
    world: GateWorld, stage: CleanupStage
) -> None:
    found = approved(world, stage)
    assert found.search == ReferenceSearch.objects.filter(environment=stage.environment).latest("searched_at")
    found.search = searched.search(world.production.environment)
    assert shown_references.changed(found) == AGAIN
