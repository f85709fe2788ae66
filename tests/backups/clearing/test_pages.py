"""The pages of scheduled clearings: the rule from its form to its acceptance, and where else it shows."""

import re
from collections.abc import Callable

import pytest
from django.db.models import F
from django.test import Client

from backups.clearing import rounds
from backups.models import Clearing, ClearingRound
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest, Family, ReferenceAnswer, ReferenceHit, Schedule
from kvops.schedules import jobs as schedule_jobs
from tests import make, searched
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.clearing import helpers
from tests.gate import test_clearing as gate_clearing, world as gate
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def cache(estate: make.Estate) -> make.Estate:
    for name in ("mastercache:a", "mastercache:b"):
        estate.put(estate.qa, name)
    cleanup_helpers.scan(estate.qa)
    return estate


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def form(**more: str) -> dict[str, str]:
    from_form = {
        "environment": "qa",
        "without_expiration": "on",
        "cap": "5",
        "expression": "30 3 * * *",
        "zone": "Asia/Tokyo",
        "reason": "old pages as agreed",
    }
    return {**from_form, **more}


@pytest.mark.parametrize("language", ["en", "ja"])
def test_without_a_rule_the_page_says_what_comes_next(operator: Client, db: None, language: str) -> None:
    operator.cookies["django_language"] = language
    sentence = {"en": "Make a rule for QA first", "ja": "まず QA のルールを作ってください"}[language]
    assert sentence in operator.get("/clearing/").text


def test_a_rule_is_made_approved_run_and_accepted_on_the_pages(
    operator: Client, cache: make.Estate, people: make.People
) -> None:
    family = Family.objects.get(pattern="mastercache:")
    answer = operator.post("/clearing/new/", form(family=str(family.pk)))
    rule = Clearing.objects.get()
    assert answer.headers["Location"] == f"/clearing/{rule.pk}/"
    shown = operator.get(f"/clearing/{rule.pk}/").text
    for part in ("mastercache:a", "mastercache:b", "2 keys. The cap is 5.", "only keys without an expiration"):
        assert part in shown, part
    operator.post(f"/clearing/{rule.pk}/ask", {"days": "30"})
    approval = ApprovalRequest.objects.get()
    reviewer = signed_in(people.reviewer)
    evidence = reviewer.get(f"/approvals/{approval.pk}/").text
    for part in ("At most 5 keys in a round", "30 3 * * *", "only keys without an expiration", f"/clearing/{rule.pk}/"):
        assert part in evidence, part
    approval_gate.approve(approval, by=people.reviewer, shown=approval.digest)
    assert operator.post(f"/clearing/{rule.pk}/start", {"confirm": "another"}).status_code == 422
    assert not ClearingRound.objects.exists()
    operator.post(f"/clearing/{rule.pk}/start", {"confirm": cache.qa.title})
    make.work()
    done = ClearingRound.objects.get()
    assert "2 of 2 keys deleted" in operator.get(f"/clearing/{rule.pk}/").text
    operator.post(f"/clearing/rounds/{done.pk}/accept", {"note": "opened the lists"})
    assert "opened the lists" in operator.get(f"/clearing/{rule.pk}/").text
    schedules = " ".join(operator.get("/schedules/").text.split())
    outcome = schedules.partition(f'href="/clearing/{rule.pk}/">')[2].partition("</div>")[0]
    assert "Cleared" in outcome
    assert "Reviewer" in schedules
    assert 'href="/clearing/">Keys deleted by hand and by a schedule' in operator.get("/").text
    assert "/cleanup/1/" not in operator.get("/cleanup/").text
    assert operator.get(f"/cleanup/stages/{done.stage_id}/").status_code == 200


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cap": "0"}, "greater than or equal to 1"),
        ({"expression": "* * * * *"}, "due too often"),
        ({"prefix": "master:"}, "are not of mastercache:*"),
        ({"equals": "x"}, "Name the member of the metadata"),
        ({"member": "v"}, "not both"),
    ],
)
def test_a_rule_that_cannot_be_used_is_shown_again(
    operator: Client, cache: make.Estate, change: dict[str, str], sentence: str
) -> None:
    family = Family.objects.get(pattern="mastercache:")
    answer = operator.post("/clearing/new/", form(family=str(family.pk), **change))
    assert answer.status_code == 422
    assert sentence in answer.text
    assert not Clearing.objects.exists()


def test_over_its_cap_the_dry_run_says_that_nothing_would_be_deleted(
    operator: Client, cache: make.Estate, people: make.People
) -> None:
    rule = helpers.rule(cache.qa, people, cap=1)
    assert "More than its cap of 1 key: a round would delete none." in operator.get(f"/clearing/{rule.pk}/").text


def test_a_stopped_round_is_an_alarm_until_the_next_one(
    operator: Client, cache: make.Estate, people: make.People
) -> None:
    rule = helpers.rule(cache.qa, people, cap=1)
    helpers.approve(rule, people)
    helpers.ran(rule, people)
    title = "The scheduled clearing of qa/SETTINGS mastercache:* stopped"
    assert title in operator.get("/").text
    cache.cloudflare.remove(cache.qa.namespace_id, "mastercache:b")
    cleanup_helpers.scan(cache.qa)
    helpers.ran(rule, people)
    assert title not in operator.get("/").text


def test_code_that_writes_the_keys_is_answered_on_the_page(
    operator: Client, cache: make.Estate, people: make.People
) -> None:
    rule = helpers.rule(cache.qa, people)
    searched.search(cache.qa.environment, hits=["src/new.ts:7 write certain SETTINGS mastercache:*"])
    assert "src/new.ts:7" in operator.get(f"/clearing/{rule.pk}/").text
    hit = ReferenceHit.objects.get()
    data = {"hits": str(hit.pk), "kind": "falls_back", "reason": "written again"}
    operator.post(f"/clearing/{rule.pk}/answer", data)
    assert ReferenceAnswer.objects.get().reason == "written again"
    assert "written again" in operator.get(f"/clearing/{rule.pk}/").text


def test_an_answer_to_no_place_says_so(operator: Client, cache: make.Estate, people: make.People) -> None:
    rule = helpers.rule(cache.qa, people)
    searched.search(cache.qa.environment, hits=["src/new.ts:7 write certain SETTINGS mastercache:*"])
    answer = operator.post(f"/clearing/{rule.pk}/answer", {"kind": "falls_back", "reason": "written again"})
    assert answer.status_code == 422
    assert "Choose at least one code reference." in answer.text


def test_the_places_stay_chosen_when_the_reason_is_missing(
    operator: Client, cache: make.Estate, people: make.People
) -> None:
    rule = helpers.rule(cache.qa, people)
    searched.search(cache.qa.environment, hits=["src/new.ts:7 write certain SETTINGS mastercache:*"])
    data = {"kind": "falls_back", "hits": str(ReferenceHit.objects.get().pk)}
    text = operator.post(f"/clearing/{rule.pk}/answer", data).text
    assert f'value="{data["hits"]}" checked' in " ".join(text.split())


def test_an_approval_that_no_longer_fits_is_asked_for_again(
    operator: Client, cache: make.Estate, people: make.People
) -> None:
    rule = helpers.rule(cache.qa, people)
    helpers.approve(rule, people)
    assert "no longer the one that was approved" not in operator.get(f"/clearing/{rule.pk}/").text
    make.change_families("mastercache:", retain_days=14)
    text = operator.get(f"/clearing/{rule.pk}/").text
    assert "no longer the one that was approved, so no round begins. Ask again." in text
    assert f"/clearing/{rule.pk}/ask" in text
    operator.post(f"/clearing/{rule.pk}/ask", {"days": "30"})
    text = operator.get(f"/clearing/{rule.pk}/").text
    assert "A reviewer is asked to decide." in text
    assert f"/clearing/{rule.pk}/ask" not in text


def test_without_a_scan_the_dry_run_says_so(operator: Client, estate: make.Estate, people: make.People) -> None:
    rule = helpers.rule(estate.qa, people)
    assert "Never scanned, so no key is known." in operator.get(f"/clearing/{rule.pk}/").text


def test_a_change_on_the_page_ends_the_approval(operator: Client, cache: make.Estate, people: make.People) -> None:
    rule = helpers.rule(cache.qa, people)
    approval = helpers.approve(rule, people)
    data = {"cap": "7", "expression": "0 4 * * *", "zone": "UTC", "reason": "less than before"}
    operator.post(f"/clearing/{rule.pk}/change", data)
    approval.refresh_from_db()
    schedule = Schedule.objects.get(subject=rule.subject)
    assert (approval.state, schedule.expression, Clearing.objects.get().cap) == ("withdrawn", "0 4 * * *", 7)


def test_the_schedule_of_a_rule_is_not_changed_by_itself(
    operator: Client, cache: make.Estate, people: make.People
) -> None:
    schedule = helpers.rule(cache.qa, people).schedule
    page = operator.get(f"/schedules/{schedule.pk}/").text
    assert f"/schedules/{schedule.pk}/change" not in page
    operator.post(f"/schedules/{schedule.pk}/change", {"expression": "0 4 * * *", "zone": "UTC"})
    schedule.refresh_from_db()
    assert schedule.expression == helpers.DAILY


# Where people look after a stop

SAID = {
    "expired": "No standing approval is in force.",
    "operator's role": "Operator is no longer an operator.",
}


def breaking(what: str) -> tuple[Callable[[gate.GateWorld, Clearing], None], str]:
    """The way in which the tests of the gate break it, and a pattern of the sentence of a run."""
    return gate_clearing.STOPS.get(what, (gate_clearing.no_operator, "Operator is no longer an operator"))


def break_(rule: Clearing, people: make.People, what: str) -> None:
    """Break a condition of the rule."""
    breaking(what)[0](gate.GateWorld(people, rule.namespace, rule.namespace), rule)


def said(rule: Clearing, people: make.People, sentence: str) -> None:
    """The page of the rule says it, and so does the list; the overview leads to the rule."""
    browser = signed_in(people.operator2)
    for address in (f"/clearing/{rule.pk}/", "/clearing/"):
        assert sentence in browser.get(address).text.replace("&#x27;", "'"), address
    overview = browser.get("/").text
    assert f'href="/clearing/{rule.pk}/"' in overview


@pytest.mark.parametrize("what", SAID)
def test_a_due_time_that_could_not_begin_is_said_where_people_look(
    cache: make.Estate, people: make.People, what: str
) -> None:
    rule = helpers.rule(cache.qa, people)
    helpers.approve(rule, people)
    break_(rule, people, what)
    cache.cloudflare.forget()
    assert schedule_jobs.fire(rule.schedule.pk, rule.schedule.next_at)
    make.work()
    assert list(cache.cloudflare.journal) == []
    said(rule, people, SAID[what])
    assert SAID[what] in signed_in(people.operator2).get("/schedules/").text


@pytest.mark.parametrize("what", SAID)
def test_a_round_that_stopped_before_its_first_call_is_said_where_people_look(
    cache: make.Estate, people: make.People, what: str
) -> None:
    rule = helpers.rule(cache.qa, people)
    helpers.approve(rule, people)
    run = rounds.start(rule, by=people.operator)
    break_(rule, people, what)
    cache.cloudflare.forget()
    make.work()
    assert list(cache.cloudflare.journal) == []
    sentence = ClearingRound.objects.get(run=run).shown_reason
    assert re.search(breaking(what)[1], sentence)
    said(rule, people, sentence)


def test_a_rule_that_qa_did_not_accept_or_accepted_long_ago_says_so(cache: make.Estate, people: make.People) -> None:
    helpers.accepted(cache.qa, people)
    cache.put(cache.production, "mastercache:a")
    cleanup_helpers.scan(cache.production)
    rule = helpers.rule(cache.production, people)
    helpers.approve(rule, people)
    with gate.past_the_triggers():
        ClearingRound.objects.update(accepted_at=F("accepted_at") - gate_clearing.DAY * 91)
    cache.cloudflare.forget()
    assert schedule_jobs.fire(rule.schedule.pk, rule.schedule.next_at)
    make.work()
    assert list(cache.cloudflare.journal) == []
    said(rule, people, "The same rule is not accepted in QA.")


def test_the_stage_of_a_round_shows_no_step_that_its_rule_went_through(
    operator: Client, cache: make.Estate, people: make.People
) -> None:
    stage = helpers.accepted(cache.qa, people).stage
    assert stage is not None
    page = operator.get(f"/cleanup/stages/{stage.pk}/").text
    assert "Test the application" in page
    for step in ("Answer the code references", "Share the backup with the team", "Not yet shared"):
        assert step not in page
