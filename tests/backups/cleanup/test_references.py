"""The answers to a stage's code references: the people who give them, the refusals, and the page."""

import html
import json
import re
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from audit import log
from audit.models import Entry
from backups.cleanup import (
    completion,
    preparation,
    references as code_references,
    requests as cleanup_requests,
    shown_references,
)
from backups.cleanup.next_action import next_action
from backups.cleanup.stages import CleanupRefused
from backups.models import CleanupRequest, CleanupStage
from kvops import timing
from kvops.approvals.evidence import follow_ups_open
from kvops.models import ApprovalRequest, DeployedLook, Family, ReferenceAnswer, ReferenceHit, Run
from tests import make, searched
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
WRITER, READER = "src/a.ts:7 write certain SETTINGS master:*", "src/b.ts:9 read possible SETTINGS *"
REASON: Mapping[str, Any] = {"kind": "falls_back", "reason": "reads D1 first"}


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def request_(estate: make.Estate, people: make.People) -> CleanupRequest:
    cleanup_helpers.estate_with_masters(estate)
    searched.code(estate.qa.environment, estate.production.environment, hits=[WRITER, READER])
    return cleanup_helpers.asked(people)


@pytest.fixture
def stage(request_: CleanupRequest) -> CleanupStage:
    return cleanup_helpers.stage_of(request_)


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def hits(stage: CleanupStage) -> list[int]:
    return [one.hit.pk for one in code_references.StageReferences.of(stage).found]


def follow_up(people: make.People, **more: object) -> dict[str, Any]:
    todo = {"follow_up": "d1", "owner": people.operator2, "due": timezone.localdate() + timedelta(days=7)}
    return {"kind": "follow_up", "reason": "still reads KV", **todo, **more}


@pytest.mark.parametrize("known", [True, False])
def test_cloudflare_is_asked_once_for_code_that_is_not_known_when_a_backup_begins(
    stage: CleanupStage, people: make.People, known: bool
) -> None:
    if not known:
        DeployedLook.objects.update(at=timezone.now() - timedelta(days=2))
    preparation.freeze_stage(stage, by=people.operator)
    preparation.prepare_stage(stage, by=people.operator)
    looks = Run.objects.filter(kind=Run.Kind.LOOK)
    assert [(run.environment, run.started_by) for run in looks] == [(stage.environment, people.operator)] * (not known)
    with log.transaction():
        shown_references.look_if_not_known(stage.environment, actor=people.operator2.actor, person=people.operator2)
    assert looks.count() == (not known)


def test_the_evidence_on_the_page_says_that_other_code_runs(
    operator: Client, stage: CleanupStage, people: make.People
) -> None:
    cleanup_helpers.prepared(stage.request, people)
    page = f"/cleanup/stages/{stage.pk}/"
    assert "searched was" not in operator.get(page).text
    searched.runs(stage.environment, "5b1c0de")
    assert f"site runs 5b1c0de; searched was {searched.COMMIT}" in operator.get(page).text


def test_several_hits_are_answered_at_once_and_recorded(stage: CleanupStage, people: make.People) -> None:
    code_references.answer(stage, hits=hits(stage), by=people.operator, **follow_up(people))
    assert code_references.StageReferences.of(stage).done
    answer = ReferenceAnswer.objects.first()
    assert answer
    assert (answer.family, answer.owner, answer.follow_up) == (stage.request.family, people.operator2, "d1")
    entry = Entry.objects.get(action="references.answered")
    assert (entry.subject, entry.environment) == (f"stage:{stage.pk}", "qa")
    assert (entry.details["hits"], entry.details["places"]) == (2, ["src/a.ts:7", "src/b.ts:9"])


def test_an_owner_without_an_account_owns_nothing(stage: CleanupStage, people: make.People) -> None:
    make.deactivate(people.operator2)
    with pytest.raises(CleanupRefused, match="needs an active account"):
        code_references.answer(stage, hits=hits(stage), by=people.operator, **follow_up(people))


def test_answers_carry_over_to_production_and_are_marked(
    request_: CleanupRequest, stage: CleanupStage, people: make.People, operator: Client
) -> None:
    code_references.answer(stage, hits=hits(stage), by=people.operator, **REASON)
    production = cleanup_helpers.stage_of(request_, "production")
    found = code_references.StageReferences.of(production)
    assert (found.done, found.carried_over, code_references.StageReferences.of(stage).carried_over) == (True, 2, 0)
    page = operator.get(f"/cleanup/stages/{production.pk}/references/").content.decode()
    assert "carried over: answered in QA, search" in page


def in_production(request_: CleanupRequest, people: make.People) -> CleanupStage:
    """Production's stage, ready to submit, with the answers that QA's stage was accepted with."""
    cleanup_helpers.accepted(request_, people)
    return cleanup_helpers.prepared(request_, people, "production")


def test_answers_of_qa_count_in_production_once_they_are_ticked(
    request_: CleanupRequest, stage: CleanupStage, people: make.People, operator: Client
) -> None:
    code_references.answer(stage, hits=hits(stage), by=people.operator, **REASON)
    mine = in_production(request_, people)
    tick = "The 2 answers carried over from another environment hold in Production, too"
    assert operator.get(f"/cleanup/{request_.pk}/").content.decode().count(tick) == 1
    assert operator.post(f"/cleanup/stages/{mine.pk}/submit", {}).status_code == 422
    with pytest.raises(CleanupRefused, match=r"from another environment: 2\. Tick that they hold here"):
        cleanup_requests.submit(mine, by=people.operator)
    operator.post(f"/cleanup/stages/{mine.pk}/submit", {"ticked": "on"})
    approval = ApprovalRequest.objects.get(cleanupstage=mine)
    assert (approval.state, json.loads(approval.evidence)["references"]["ticked"]) == ("pending", 2)
    asked = signed_in(people.reviewer).get(f"/approvals/{approval.pk}/").content.decode()
    assert "2 answers from another environment, ticked by the person who asks" in asked


def test_an_answer_in_production_needs_no_tick(
    request_: CleanupRequest, stage: CleanupStage, people: make.People, operator: Client
) -> None:
    code_references.answer(stage, hits=hits(stage), by=people.operator, **REASON)
    mine = in_production(request_, people)
    code_references.answer(mine, hits=hits(mine), by=people.operator, **REASON)
    assert "from another environment" not in operator.get(f"/cleanup/{request_.pk}/").content.decode()
    approval = cleanup_requests.submit(mine, by=people.operator)
    assert "ticked" not in json.loads(approval.evidence)["references"]


def test_an_answer_to_an_earlier_search_of_qa_needs_no_tick(
    request_: CleanupRequest, stage: CleanupStage, people: make.People
) -> None:
    code_references.answer(stage, hits=hits(stage), by=people.operator, **REASON)
    searched.search(stage.environment, hits=[WRITER, READER], commit="5b1c0de")
    found = code_references.StageReferences.of(stage)
    assert (found.carried_over, found.from_elsewhere) == (2, 0)


def test_the_place_of_the_backup_is_recorded_without_the_tick(
    request_: CleanupRequest, stage: CleanupStage, people: make.People, operator: Client
) -> None:
    code_references.answer(stage, hits=hits(stage), by=people.operator, **REASON)
    mine = in_production(request_, people)
    assert operator.post(f"/cleanup/stages/{mine.pk}/share", {"place": "#kv-cleanup"}).status_code in {302, 409}


def test_changed_code_needs_a_new_answer(stage: CleanupStage, people: make.People) -> None:
    code_references.answer(stage, hits=hits(stage), by=people.operator, **REASON)
    searched.search(stage.environment, hits=[WRITER, "src/b.ts:9 write possible SETTINGS *"])
    assert code_references.StageReferences.of(stage).unanswered == 1


def test_the_page_shows_unanswered_writers_first_with_their_context(stage: CleanupStage, operator: Client) -> None:
    page = operator.get(f"/cleanup/stages/{stage.pk}/references/").content.decode()
    assert 0 < page.index("src/a.ts:7") < page.index("src/b.ts:9")
    assert "const key = name;" in page


def test_the_earlier_answer_for_another_family_is_a_hint(
    stage: CleanupStage, operator: Client, people: make.People
) -> None:
    hit, other = ReferenceHit.objects.filter(file="src/b.ts").first(), Family.objects.get(pattern="mastercache:")
    assert hit
    ReferenceAnswer.objects.create(family=other, hit=hit, fingerprint=hit.fingerprint, by=people.operator2, **REASON)
    page = " ".join(operator.get(f"/cleanup/stages/{stage.pk}/references/").content.decode().split())
    hint = page[page.index("A hint: this place was answered for another family before. SETTINGS") :]
    assert all(words in hint for words in ("mastercache:*", "falls back safely", "reads D1 first", "Operator2, "))
    assert code_references.StageReferences.of(stage).unanswered == 2
    code_references.answer(stage, hits=hits(stage), by=people.operator, **REASON)
    assert "A hint:" not in operator.get(f"/cleanup/stages/{stage.pk}/references/").content.decode()


@pytest.mark.parametrize(
    ("language", "sentences"),
    [
        ("en", ("Right if this code never uses these keys", "Right if this code works without these keys")),
        ("ja", ("このコードがこれらのキーを使わない場合", "これらのキーがなくてもこのコードが動く場合")),
    ],
)
def test_each_answer_says_when_it_is_right(
    stage: CleanupStage, operator: Client, language: str, sentences: tuple[str, str]
) -> None:
    operator.cookies["django_language"] = language
    page = operator.get(f"/cleanup/stages/{stage.pk}/references/").content.decode()
    beside = dict(
        re.findall(r'name="kind" value="(\w+)".*?<span class="form-check-description">(.*?)</span>', page, re.DOTALL)
    )
    assert list(beside) == ["unrelated", "falls_back", "follow_up"]
    assert beside["unrelated"].startswith(sentences[0])
    assert beside["falls_back"].startswith(sentences[1])


def test_the_last_answer_leads_to_the_next_step(
    request_: CleanupRequest, stage: CleanupStage, people: make.People, operator: Client
) -> None:
    cleanup_helpers.prepared(request_, people)
    address = f"/cleanup/stages/{stage.pk}/references/"
    first, second = hits(stage)
    answer = operator.post(f"{address}answer", {"hits": [first], **REASON}, follow=True)
    assert answer.redirect_chain[-1][0] == address
    answer = operator.post(f"{address}answer", {"hits": [second], **REASON}, follow=True)
    assert answer.redirect_chain[-1][0] == f"/cleanup/{request_.pk}/"
    assert "Submit for approval" in answer.content.decode()
    assert "Every code reference has an answer." in operator.get(address).content.decode()


def test_one_press_answers_all_places_without_an_answer_that_the_page_shows(
    request_: CleanupRequest, stage: CleanupStage, people: make.People, operator: Client
) -> None:
    address = f"/cleanup/stages/{stage.pk}/references/"
    assert "Record it for all 2 places" in operator.get(address).content.decode()
    first, second = hits(stage)
    code_references.answer(stage, hits=[first], by=people.operator, kind="falls_back", reason="only a comment")
    operator.post(f"{address}answer", {"all": "on", "open": [first, second], **REASON})
    kinds = {one.hit_id: one.kind for one in ReferenceAnswer.objects.all()}
    assert kinds == {first: "falls_back", second: REASON["kind"]}
    assert "Record it for all" not in operator.get(address).content.decode()


def test_a_follow_up_unfolds_its_fields_and_a_mistake_leads_to_the_places(
    stage: CleanupStage, operator: Client
) -> None:
    address = f"/cleanup/stages/{stage.pk}/references/"
    page = operator.get(address).content.decode()
    assert re.findall(r'value="(\w+)"[^>]* data-unfolds="follow-up"', page) == ["follow_up"]
    assert "dataset.unfolds" in Path("static/js/kvops.js").read_text("utf-8")
    wrong = operator.post(f"{address}answer", {"kind": "follow_up", "reason": "no longer needed"}).content.decode()
    assert '<details class="mb-3" id="follow-up" open>' in wrong
    assert '<a href="#id_hits">Code references</a>' in wrong
    assert 'id="id_hits"' in wrong


def test_a_wrong_answer_stays_typed_with_its_errors(stage: CleanupStage, operator: Client) -> None:
    typed = {"hits": hits(stage)[:1], "kind": "follow_up", "reason": "later as agreed", "due": "2020-01-01"}
    answer = operator.post(f"/cleanup/stages/{stage.pk}/references/answer", typed)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert set(answer.context["form"].errors) == {"follow_up", "owner", "due"}
    assert "The due date is in the past." in page
    main = page.split("<main")[1].split("</main>")[0]
    assert main.count("checked") == 2  # the hit and the kind


def test_without_a_search_the_page_names_command_and_page(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.stage_of(cleanup_helpers.asked(people))
    page = signed_in(people.operator).get(f"/cleanup/stages/{stage.pk}/references/").content.decode()
    assert "manage.py scan_references qa --path" in page
    assert 'href="/references/qa/"' in page


def test_answers_to_an_old_search_are_not_called_enough(
    stage: CleanupStage, operator: Client, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    code_references.answer(stage, hits=hits(stage), by=people.operator, **REASON)
    monkeypatch.setattr(timing, "REFERENCES_FRESH", 0.0)
    page = operator.get("/references/qa/").text
    assert "was searched more than 7 days ago" in page.partition('id="answers"')[2]
    assert "Every code reference has an answer." not in page


def test_the_list_of_hits_leads_to_the_page_where_they_are_answered(
    stage: CleanupStage, operator: Client, people: make.People
) -> None:
    link = f'href="/cleanup/stages/{stage.pk}/references/"'
    shown = operator.get("/references/qa/").content.decode()
    assert (link in shown, "2 places have no answer" in shown, 'href="#answers"' in shown) == (True, True, True)
    code_references.answer(stage, hits=hits(stage), by=people.operator, **REASON)
    assert "Every code reference has an answer." in operator.get("/references/qa/").content.decode()
    completion.end(stage.request, reason="asked twice", by=people.operator)
    shown = operator.get("/references/qa/").content.decode()
    assert (link in shown, 'href="/cleanup/new/"' in shown) == (False, True)
    assert 'href="/cleanup/new/"' not in signed_in(people.auditor).get("/references/qa/").content.decode()


def test_a_deletion_that_a_newer_search_stopped_says_why_and_the_way_on(
    estate: make.Estate, people: make.People
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    request = cleanup_helpers.asked(people)
    cleanup_helpers.started(request, people)
    searched.code(estate.qa.environment, hits=["src/c.ts:1 write certain SETTINGS master:*"], commit="ffff")
    make.work()
    stage = cleanup_helpers.stage_of(request)
    action = next_action(stage, people.operator)
    assert action is not None
    assert action.label == "End the deletion early, then ask again"
    assert "end the deletion early and ask again" in action.because
    Run.objects.filter(kind="delete").update(error_code="wrong_set")
    again = next_action(cleanup_helpers.stage_of(request), people.operator)
    assert again is not None
    assert again.label == action.label
    client = signed_in(people.operator)
    card = client.get(f"/cleanup/{request.pk}/").text
    assert (action.because in html.unescape(card), "Try again" in card) == (True, False)
    client.post(action.url)
    make.work()
    completion.explain_leftovers(cleanup_helpers.stage_of(request), note="a newer search", by=people.operator)
    action = next_action(cleanup_helpers.stage_of(request), people.operator)
    assert action is not None
    assert action.label == "End this clean-up, then ask again"


def test_the_operator_and_the_reviewer_read_the_same_verdict(stage: CleanupStage, people: make.People) -> None:
    todo: dict[str, Any] = {
        "kind": "follow_up",
        "follow_up": "d1",
        "owner": people.operator2,
        "due": date(2099, 12, 20),
    }
    code_references.answer(stage, hits=hits(stage), by=people.operator, reason="reads KV first", **todo)
    verdict = "2 code follow-ups open until 20 Dec"
    assert code_references.StageReferences.of(stage).in_words.endswith(verdict)
    assert follow_ups_open(shown_references.shown(stage)) == verdict
