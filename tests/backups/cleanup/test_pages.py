"""The clean-up pages: what they show, what they refuse, and what they keep."""

import json
import re
from datetime import UTC, datetime, timedelta

import pytest
from django.db.models.functions import Now
from django.test import Client
from django.utils.html import escape

from audit.actions import Action
from audit.models import Entry
from backups.cleanup import completion, preparation, requests as cleanup_requests
from backups.cleanup.pages import waiting
from backups.models import CleanupRequest, CleanupStage
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.models import Category, Family, ReferenceHit, Run, Scan
from kvops.runs import driver as run_driver
from kvops.supervision import heartbeats
from tests import make, searched
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import said, signed_in

pytestmark = pytest.mark.django_db
State = CleanupStage.State


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


@pytest.fixture
def request_(estate: make.Estate, people: make.People) -> CleanupRequest:
    cleanup_helpers.estate_with_masters(estate)
    return cleanup_helpers.asked(people)


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def shown(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def post(client: Client, stage: CleanupStage, verb: str, **fields: object) -> str:
    """Press a button of the stage; the page one lands on."""
    answer = client.post(f"/cleanup/stages/{stage.pk}/{verb}", fields, follow=True)
    assert answer.status_code in {200, 409, 422}
    return answer.content.decode()


def family_id(pattern: str) -> str:
    return str(Family.objects.get(pattern=pattern).pk)


def test_what_is_approved_and_not_started_is_told_as_still_to_come(
    operator: Client, request_: CleanupRequest, people: make.People
) -> None:
    stage = cleanup_helpers.approved(request_, people)
    page = " ".join(shown(operator, f"/cleanup/stages/{stage.pk}/").split())
    assert "3 keys will be deleted in QA, those that still equal backup" in page
    assert "keys are deleted in" not in page


def test_a_stage_without_keys_asks_why_there_are_none(
    operator: Client, people: make.People, estate: make.Estate
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = CleanupStage.objects.get(request=cleanup_helpers.asked(people, "master:none:"), environment__slug="qa")
    assert "its backup" not in post(operator, stage, "begin")
    make.work()
    page = shown(operator, f"/cleanup/{stage.request_id}/")
    assert "There were no such keys, so nothing was deleted." in page
    assert "Record the reason" in page
    assert "restore the deleted keys" not in page


def test_a_later_clean_up_says_nothing_about_the_names_of_this_one(
    operator: Client, people: make.People, request_: CleanupRequest
) -> None:
    cleanup_helpers.accepted(request_, people)
    done = cleanup_helpers.accepted(request_, people, "production")
    later = CleanupStage.objects.get(request=cleanup_helpers.asked(people), environment__slug="qa")
    post(operator, later, "begin")
    make.work()
    later.refresh_from_db()
    completion.accept_stage(later, note="deleted by the first", by=people.operator)
    page = shown(operator, f"/cleanup/stages/{done.pk}/")
    assert "The same names as in QA" in page
    assert "Other names than in QA" not in page


def test_after_a_rejection_the_page_says_how_to_change_the_reason(
    operator: Client, people: make.People, request_: CleanupRequest
) -> None:
    how = "To change the reason, end this clean-up and ask again."
    approval = cleanup_helpers.submitted(request_, people).approval
    assert approval is not None
    assert how not in shown(operator, f"/cleanup/{request_.pk}/")
    approval_gate.reject(approval, by=people.reviewer, shown=approval.digest, reason="say more as agreed")
    assert how in shown(operator, f"/cleanup/{request_.pk}/")


# The list


def test_an_empty_list_explains_the_way(operator: Client, people: make.People) -> None:
    page = shown(operator, "/cleanup/")
    assert "No clean-up yet" in page
    assert "/cleanup/new/" in page
    assert "You are not an operator." in shown(signed_in(people.auditor), "/cleanup/")


def test_the_list_says_what_each_waits_for(operator: Client, request_: CleanupRequest) -> None:
    page = shown(operator, "/cleanup/")
    assert "Prepare QA" in page
    assert "moved to D1" in page


@pytest.mark.parametrize(
    ("query", "found"),
    [("", 1), ("?state=open", 1), ("?state=ended", 0), ("?binding=SETTINGS", 1), ("?state=wrong", 0), ("?after=1", 0)],
)
def test_the_filters_stand_in_the_address(operator: Client, request_: CleanupRequest, query: str, found: int) -> None:
    query = query.replace("after=1", f"after={request_.pk}")
    assert len(operator.get(f"/cleanup/{query}").context["rows"]) == found


def test_ended_and_completed_ones_are_found_by_their_state(
    operator: Client, people: make.People, request_: CleanupRequest
) -> None:
    completion.end(request_, reason="a mistake of mine", by=people.operator)
    assert len(operator.get("/cleanup/?state=ended").context["rows"]) == 1
    assert len(operator.get("/cleanup/?state=open").context["rows"]) == 0


# Asking


def test_a_clean_up_is_asked_for_by_family(operator: Client, estate: make.Estate) -> None:
    answer = operator.post(
        "/cleanup/new/", {"binding": "SETTINGS", "family": family_id("mastercache:"), "reason": "stale for months"}
    )
    made = CleanupRequest.objects.get()
    assert answer.headers["Location"] == f"/cleanup/{made.pk}/"
    assert (made.prefix, made.reason) == ("mastercache:", "stale for months")


def test_or_by_a_prefix_which_may_begin_with_a_space(operator: Client, estate: make.Estate) -> None:
    make.family(" odd:", Category.CACHE)
    operator.post("/cleanup/new/", {"binding": "SETTINGS", "prefix": " odd:x ", "reason": "stale for months"})
    assert CleanupRequest.objects.get().prefix == " odd:x "


def test_the_link_of_a_key_with_a_line_break_asks_for_that_key(operator: Client, estate: make.Estate) -> None:
    page = shown(operator, "/cleanup/new/?binding=SETTINGS&prefix=mastercache:a%0A%5BU%2B000A%5Db&exact=1")
    spelled = "mastercache:a[U+000A][U+005B]U+000A]b"
    assert f'value="{spelled}"' in page
    asked = {"binding": "SETTINGS", "family": family_id("mastercache:"), "prefix": spelled, "exact": "on"}
    operator.post("/cleanup/new/", {**asked, "reason": "stale for months"})
    assert CleanupRequest.objects.get().prefix == "mastercache:a\n[U+000A]b"


def test_families_are_offered_with_their_keys(operator: Client, request_: CleanupRequest) -> None:
    page = shown(operator, "/cleanup/new/")
    assert "master:* – legacy master – QA 3 · Production 3" in page
    assert "system-root – settings – QA 0 · Production 0" in page


def test_the_request_says_which_environments_it_covers(operator: Client, estate: make.Estate) -> None:
    cleanup_helpers.estate_with_masters(estate)
    page = operator.get("/cleanup/new/?binding=SETTINGS&prefix=master:").content.decode()
    covered = page.partition("One request covers these environments, one after the other:")[2].partition("</p>")[0]
    assert 0 < covered.index("QA") < covered.index("Production")
    assert "One request covers" not in operator.get("/cleanup/new/").content.decode()


def test_a_deletion_that_is_proven_says_what_to_do_if_the_application_fails(
    operator: Client, people: make.People, request_: CleanupRequest
) -> None:
    cleanup_helpers.confirmed(request_, people)
    page = operator.get(f"/cleanup/{request_.pk}/").content.decode()
    assert "If it does not work, record nothing here and restore the deleted keys." in page
    assert "Without this record the next environment cannot be prepared." in page


def test_links_from_the_keys_fill_the_form_in(operator: Client, estate: make.Estate) -> None:
    form = operator.get("/cleanup/new/?binding=SETTINGS&prefix=master:a:").context["form"]
    assert form.initial == {
        "binding": "SETTINGS",
        "family": family_id("master:"),
        "prefix": "master:a:",
        "exact": False,
    }
    form = operator.get("/cleanup/new/?binding=SETTINGS&prefix=system-root").context["form"]
    of_one_key = {"binding": "SETTINGS", "family": family_id("system-root"), "prefix": "", "exact": False}
    assert form.initial == of_one_key


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"prefix": "mail:"}, "deleted one at a time"),
        ({"prefix": "unknown:"}, "not classified"),
        ({"prefix": "master:"}, "no dataset"),
        ({}, "Choose a family"),
        ({"prefix": "a\0b"}, "No key can have this in its name"),
        ({"family": "mastercache:", "prefix": "master:"}, "is not part of the family"),
        ({"family": "mastercache:", "reason": ""}, "This field is required"),
        ({"prefix": "日" * 200}, "at most 512 bytes"),
    ],
)
def test_a_refusal_is_said_on_the_form_and_nothing_is_lost(
    operator: Client, estate: make.Estate, fields: dict[str, str], sentence: str
) -> None:
    make.family("mail:", Category.SETTINGS)
    typed = {"binding": "SETTINGS", "reason": "because of reasons", **fields}
    if "family" in fields:
        typed["family"] = family_id(fields["family"])
    answer = operator.post("/cleanup/new/", typed)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert typed["reason"] in answer.content.decode()
    assert not CleanupRequest.objects.exists()


def test_a_refusal_is_recorded(operator: Client, estate: make.Estate) -> None:
    operator.post("/cleanup/new/", {"binding": "SETTINGS", "prefix": "unknown:", "reason": "no longer needed"})
    entry = Entry.objects.get(action=Action.REFUSED)
    assert "not classified" in str(entry.details)


@pytest.mark.parametrize("who", ["reviewer", "auditor", "nobody"])
def test_only_an_operator_asks(people: make.People, who: str) -> None:
    assert signed_in(getattr(people, who)).get("/cleanup/new/").status_code == 403


# One clean-up


def test_the_page_shows_qa_first_and_production_after(operator: Client, request_: CleanupRequest) -> None:
    page = shown(operator, f"/cleanup/{request_.pk}/")
    assert page.index("qa-settings") < page.index("production-settings")
    assert "Clean up QA first" in page


def test_an_auditor_sees_everything_and_no_button_that_works(people: make.People, request_: CleanupRequest) -> None:
    page = shown(signed_in(people.auditor), f"/cleanup/{request_.pk}/")
    assert "You are not an operator." in page
    assert 'action="/cleanup/' not in page


def test_the_whole_way_by_the_buttons(operator: Client, people: make.People, request_: CleanupRequest) -> None:
    for slug in ("qa", "production"):
        stage = cleanup_helpers.stage_of(request_, slug)
        post(operator, stage, "freeze")
        post(operator, stage, "prepare")
        make.work()
        searched.code(stage.environment, hits=["src/a.ts:7 write certain SETTINGS master:*"])
        hit = ReferenceHit.objects.latest("pk").pk
        typed = {"hits": [hit], "kind": "falls_back", "reason": "reads D1 first"}
        operator.post(f"/cleanup/stages/{stage.pk}/references/answer", typed)
        post(operator, stage, "share", place="#kv-cleanup, with Reviewer")
        post(operator, stage, "submit")
        cleanup_helpers.approve(stage, people)
        post(operator, stage, "start", confirm=stage.namespace.title)
        make.work()
        assert "Accepted" in post(operator, stage, "accept", note="Opened the pages")
    request_.refresh_from_db()
    assert request_.completed_at is not None


def test_the_confirmation_must_be_the_title_exactly(
    operator: Client, people: make.People, request_: CleanupRequest
) -> None:
    stage = cleanup_helpers.approved(request_, people)
    page = post(operator, stage, "start", confirm="QA-settings ")
    assert "Type it exactly as it is shown." in page
    assert not Run.objects.filter(kind=Run.Kind.DELETE).exists()


def test_production_says_so_where_the_deletion_is_started(
    operator: Client, people: make.People, request_: CleanupRequest
) -> None:
    cleanup_helpers.accepted(request_, people)
    cleanup_helpers.approved(request_, people, "production")
    page = shown(operator, f"/cleanup/{request_.pk}/")
    assert "PRODUCTION 本番" in page
    assert 'data-confirm="production-settings"' in page


def test_a_refused_step_is_said_on_the_page_and_recorded(
    operator: Client, people: make.People, request_: CleanupRequest
) -> None:
    stage = cleanup_helpers.stage_of(request_, "production")
    answer = operator.post(f"/cleanup/stages/{stage.pk}/freeze")
    assert answer.status_code == 409
    assert said(answer)[0].startswith("Clean up QA first")
    entry = Entry.objects.get(action=Action.REFUSED)
    assert (entry.subject, entry.environment) == (f"stage:{stage.pk}", "production")


def test_a_note_that_is_missing_is_asked_for(operator: Client, people: make.People, request_: CleanupRequest) -> None:
    stage = cleanup_helpers.confirmed(request_, people)
    answer = operator.post(f"/cleanup/stages/{stage.pk}/accept", {"note": "  "})
    assert answer.status_code == 422
    assert "This field is required" in answer.content.decode()


def test_references_that_are_refused_stay_typed(
    operator: Client, people: make.People, request_: CleanupRequest
) -> None:
    stage = cleanup_helpers.stage_of(request_)
    searched.code(stage.environment, hits=["src/a.ts:7 write certain SETTINGS master:*"])
    searched.answered(stage.environment, request_.family, people.operator)
    cleanup_helpers.submitted(request_, people)
    fields = {"hits": [ReferenceHit.objects.get().pk], "kind": "unrelated", "reason": "a long answer"}
    answer = operator.post(f"/cleanup/stages/{stage.pk}/references/answer", fields)
    assert answer.status_code == 409
    assert answer.context["form"]["reason"].value() == "a long answer"


def test_a_failed_run_says_its_sentence_and_offers_another_try(
    operator: Client, estate: make.Estate, people: make.People, request_: CleanupRequest
) -> None:
    stage = cleanup_helpers.stage_of(request_)
    post(operator, stage, "freeze")
    estate.cloudflare.fault("bulk_get", "challenge")
    post(operator, stage, "prepare")
    make.work()
    run = Run.objects.get(kind=Run.Kind.BACKUP)
    page = shown(operator, f"/cleanup/{request_.pk}/")
    assert escape(run.error) in page
    assert "Try again" in page
    post(operator, stage, "prepare")
    make.work()
    assert cleanup_helpers.stage_of(request_).state == State.CHECKED


def test_a_stopped_deletion_goes_on_or_is_ended(
    operator: Client, people: make.People, request_: CleanupRequest
) -> None:
    run = cleanup_helpers.started(request_, people)
    run_driver.request_stop(run, actor=make.SETUP)
    make.work()
    stage, page = cleanup_helpers.stage_of(request_), shown(operator, f"/cleanup/{request_.pk}/")
    assert f"Stop here, keep all {stage.names} keys" in page
    assert "Deletion stopped" in page
    assert "loader-circle" not in page
    post(operator, stage, "end-early")
    make.work()
    stage.refresh_from_db()
    assert (stage.state, stage.skipped) == (State.CONFIRMED, 3)
    assert "3 keys were left" in shown(operator, f"/cleanup/{request_.pk}/")
    post(operator, stage, "leftovers", note="does not change")
    assert "proves nothing" in post(operator, stage, "accept", note="nothing changed")
    operator.post(f"/cleanup/{request_.pk}/end", {"reason": "asked again"})
    page = shown(operator, f"/cleanup/{request_.pk}/")
    assert "Nothing deleted" in page
    assert "Application works: record it" not in page


def test_a_stopped_deletion_can_go_on(operator: Client, people: make.People, request_: CleanupRequest) -> None:
    run = cleanup_helpers.started(request_, people)
    run_driver.request_stop(run, actor=make.SETUP)
    make.work()
    post(operator, cleanup_helpers.stage_of(request_), "again")
    make.work()
    assert cleanup_helpers.stage_of(request_).state == State.CONFIRMED


def test_a_stage_with_nothing_to_go_on_with_says_so(operator: Client, request_: CleanupRequest) -> None:
    answer = operator.post(f"/cleanup/stages/{cleanup_helpers.stage_of(request_).pk}/again")
    assert (answer.status_code, len(said(answer))) == (409, 1)


def test_a_clean_up_is_ended_with_a_reason(operator: Client, request_: CleanupRequest) -> None:
    assert operator.post(f"/cleanup/{request_.pk}/end", {"reason": ""}).status_code == 422
    operator.post(f"/cleanup/{request_.pk}/end", {"reason": "a mistake of mine"})
    request_.refresh_from_db()
    assert request_.ended_at is not None
    assert "End this clean-up" not in shown(operator, f"/cleanup/{request_.pk}/")


@pytest.mark.parametrize("who", ["reviewer", "auditor"])
@pytest.mark.parametrize(
    "verb", ["freeze", "prepare", "submit", "start", "again", "end-early", "leftovers", "others", "accept"]
)
def test_nobody_but_an_operator_takes_a_step(
    people: make.People, request_: CleanupRequest, who: str, verb: str
) -> None:
    stage = cleanup_helpers.stage_of(request_)
    assert signed_in(getattr(people, who)).post(f"/cleanup/stages/{stage.pk}/{verb}").status_code == 403


@pytest.mark.parametrize("state", ["approved", "confirmed"])
@pytest.mark.parametrize("verb", ["freeze", "share", "submit", "start", "leftovers", "others", "accept", "reappeared"])
def test_a_step_of_a_page_that_is_out_of_date_shows_the_stage_as_it_is(
    operator: Client, people: make.People, request_: CleanupRequest, state: str, verb: str
) -> None:
    stage = getattr(cleanup_helpers, state)(request_, people)
    page = post(operator, stage, verb, place="#kv-cleanup", note="out of date", confirm="?", last="1")
    assert f'id="stage-{stage.pk}"' in page


# The part that moves


def test_the_card_moves_while_a_run_works_and_then_offers_what_is_next(
    operator: Client, people: make.People, request_: CleanupRequest
) -> None:
    stage = cleanup_helpers.stage_of(request_)
    preparation.freeze_stage(stage, by=people.operator)
    preparation.prepare_stage(stage, by=people.operator)
    first, second = (operator.get(f"/cleanup/stages/{stage.pk}/live").content for _ in range(2))
    assert first == second
    assert b"hx-trigger" in first
    assert b"csrfmiddlewaretoken" not in first
    make.work()
    last = operator.get(f"/cleanup/stages/{stage.pk}/live").content
    assert b"hx-trigger" not in last
    assert b"Answer the code references" in last


@pytest.mark.parametrize(("page", "follows"), [("?show=chunks", True), ("start", False)])
def test_a_page_that_is_older_than_its_stage_follows_as_a_whole(
    operator: Client, people: make.People, request_: CleanupRequest, page: str, *, follows: bool
) -> None:
    stage = cleanup_helpers.stage_of(request_)
    preparation.freeze_stage(stage, by=people.operator)
    preparation.prepare_stage(stage, by=people.operator)
    address = f"/cleanup/stages/{stage.pk}/{page}"
    on = {"HX-Current-URL": f"https://kvops.example{address}"}
    polled = re.search(r'hx-get="([^"]+)"', shown(operator, f"/cleanup/stages/{stage.pk}/"))
    assert polled
    assert "HX-Location" not in operator.get(polled[1], headers=on)
    make.work()
    answer = operator.get(polled[1], headers=on)
    assert json.loads(answer.get("HX-Location", "{}")).get("path") == (address if follows else None)
    assert (polled[0].encode() in answer.content) is follows


def test_a_card_whose_run_waits_says_until_when(
    operator: Client, people: make.People, request_: CleanupRequest
) -> None:
    for name in ("worker", "sweep", "canary"):
        heartbeats.beat(name)
    stage = cleanup_helpers.stage_of(request_)
    preparation.freeze_stage(stage, by=people.operator)
    preparation.prepare_stage(stage, by=people.operator)
    note = "Waiting: the last reads start five minutes after the backup."
    Run.objects.open().update(note=note, wake_at=datetime(2031, 2, 3, 4, 5, 6, tzinfo=UTC))
    card = " ".join(shown(operator, f"/cleanup/stages/{stage.pk}/live").split())
    assert re.search(rf"{note} Resumes at .*2031-02-03 ", card)


# One stage


def test_a_stage_shows_its_evidence(operator: Client, people: make.People, request_: CleanupRequest) -> None:
    stage = cleanup_helpers.accepted(request_, people)
    page = shown(operator, f"/cleanup/stages/{stage.pk}/")
    for digest in (stage.names_sha256, stage.scope_digest, stage.approval and stage.approval.digest):
        assert f">{digest}</code>" in page
    assert "median" in page
    assert f"/audit/?subject=stage:{stage.pk}&amp;tree=on" in page
    assert "Opened the pages, all well" in page


@pytest.mark.parametrize(("show", "text"), [("names", "master:a:1"), ("chunks", "3 done"), ("exceptions", "No key")])
def test_a_stage_lists_names_chunks_and_exceptions(
    operator: Client, people: make.People, request_: CleanupRequest, show: str, text: str
) -> None:
    stage = cleanup_helpers.confirmed(request_, people)
    assert text in shown(operator, f"/cleanup/stages/{stage.pk}/?show={show}")


def test_names_are_paged_by_the_last_one_shown(operator: Client, estate: make.Estate, people: make.People) -> None:
    for number in range(60):
        estate.put(estate.qa, f"mastercache:{number:02}")
    cleanup_helpers.scan(estate.qa, estate.production)
    stage = cleanup_helpers.stage_of(cleanup_helpers.asked(people, "mastercache:"))
    preparation.freeze_stage(stage, by=people.operator)
    answer = operator.get(f"/cleanup/stages/{stage.pk}/")
    assert (len(answer.context["found"]), answer.context["after"]) == (50, 49)
    answer = operator.get(f"/cleanup/stages/{stage.pk}/?show=names&after=49")
    assert answer.context["found"][0].name == "mastercache:50"
    assert answer.context["after"] is None


def test_a_wrong_address_shows_the_beginning(operator: Client, request_: CleanupRequest) -> None:
    stage = cleanup_helpers.stage_of(request_)
    assert operator.get(f"/cleanup/stages/{stage.pk}/?show=x&after=y").context["show"] == "names"


def test_all_names_are_one_json_string_a_line(operator: Client, estate: make.Estate, people: make.People) -> None:
    names = ['mastercache:"q"', "mastercache:line\nbreak", "mastercache:日本語"]
    for name in names:
        estate.put(estate.qa, name)
    cleanup_helpers.scan(estate.qa, estate.production)
    stage = cleanup_helpers.stage_of(cleanup_helpers.asked(people, "mastercache:"))
    preparation.freeze_stage(stage, by=people.operator)
    answer = operator.get(f"/cleanup/stages/{stage.pk}/names")
    lines = b"".join(answer.streaming_content).decode().split("\n")  # type: ignore[attr-defined]
    assert [json.loads(line) for line in lines[:-1]] == names
    assert f'filename="stage-{stage.pk}-names.jsonl"' in answer.headers["Content-Disposition"]


def test_exceptions_say_why(
    operator: Client, estate: make.Estate, people: make.People, request_: CleanupRequest
) -> None:
    stage = cleanup_helpers.approved(request_, people)
    estate.put(estate.qa, cleanup_helpers.NAMES[0], b"new")
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    assert "Changed since the backup" in shown(operator, f"/cleanup/stages/{stage.pk}/?show=exceptions")


# The overview


def test_the_overview_lists_what_waits_for_an_operator(people: make.People, request_: CleanupRequest) -> None:
    stage = cleanup_helpers.stage_of(request_)
    [line] = waiting.steps(people.operator)
    assert (line.url, line.title) == (f"/cleanup/stages/{stage.pk}/", "Prepare QA")
    preparation.freeze_stage(stage, by=people.operator)
    preparation.prepare_stage(stage, by=people.operator)
    assert list(waiting.steps(people.operator)) == []


def test_an_old_scan_is_said_to_be_old(operator: Client, request_: CleanupRequest) -> None:
    Scan.objects.update(completed_at=Now() - timedelta(hours=25))
    page = shown(operator, f"/cleanup/{request_.pk}/")
    assert "not scanned within a day" in page
    assert "Scan now" in page
