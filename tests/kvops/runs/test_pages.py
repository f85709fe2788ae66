"""The pages of the runs."""

import re
from datetime import timedelta

import pytest
from django.db.models.functions import Now
from django.urls import reverse

from audit import log
from audit.models import Entry
from kvops.connections.budget import SharedBudget
from kvops.models import Heartbeat, Run
from kvops.runs import driver as run_driver
from kvops.supervision import heartbeats
from kvops.templatetags.runs import lasted
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import said, signed_in

pytestmark = pytest.mark.django_db


def create(people: make.People, subject: str = "generation:1", kind: Run.Kind = Run.Kind.VERIFY) -> Run:
    with log.transaction():
        return run_driver.create(
            kind,
            subject=subject,
            label="master: of qa/SETTINGS",
            actor=people.operator.actor,
            person=people.operator,
        )


def put(run: Run, state: str, **values: object) -> Run:
    """Bring a run into a state."""
    Run.objects.filter(pk=run.pk).update(state="running")
    if state not in {"running", "queued"}:
        Run.objects.filter(pk=run.pk).update(state=state, finished_at=Now(), **values)
    else:
        Run.objects.filter(pk=run.pk).update(**values)
    run.refresh_from_db()
    return run


def failed(people: make.People, code: str = "cloudflare") -> Run:
    return put(create(people), "failed", error_code=code, error="Cloudflare answered 403.")


def listed(people: make.People, query: str = "") -> list[int]:
    return [line.run.pk for line in signed_in(people.auditor).get(f"/runs/{query}").context["lines"]]


def scanned(estate: make.Estate, number: int = 3, **values: object) -> list[Run]:
    """Succeeded scans of today."""
    made = []
    for subject in range(number):
        with log.transaction():
            run = run_driver.create(
                Run.Kind.SCAN,
                subject=f"namespace:{subject}",
                label="qa/SETTINGS",
                actor=make.SETUP,
                environment=estate.qa.environment,
            )
        made.append(put(run, "succeeded", result={"keys": 1200, "added": 0, "gone": 3}, **values))
    return made


# The list


def test_the_address_filters(estate: make.Estate, people: make.People) -> None:
    with log.transaction():
        qa = run_driver.create(
            Run.Kind.SCAN, subject="namespace:1", label="x", actor=make.SETUP, environment=estate.qa.environment
        )
    broken = failed(people)
    assert listed(people, "?state=failed") == [broken.pk]
    assert listed(people, "?kind=scan") == [qa.pk]
    assert listed(people, "?environment=qa") == [qa.pk]
    assert listed(people, "?environment=qa&state=failed") == []


def test_a_long_list_is_read_in_pages(people: make.People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kvops.runs.views.PAGE", 2)
    made = [create(people, f"generation:{number}").pk for number in range(5)]
    assert listed(people) == [made[4], made[3]]
    assert listed(people, f"?after={made[3]}") == [made[2], made[1]]
    page = signed_in(people.auditor).get("/runs/?kind=verify").content.decode()
    assert f"?kind=verify&amp;after={made[3]}" in page


@pytest.mark.parametrize(
    "query", ["?state=odd", "?after=x", f"?after={10**30}", "?environment=nowhere", "?started_by=x", "?started_by=0"]
)
def test_a_filter_that_cannot_be_read_shows_nothing_and_says_so(people: make.People, query: str) -> None:
    create(people)
    answer = signed_in(people.auditor).get(f"/runs/{query}")
    assert answer.context["lines"] == []
    assert "A filter cannot be read" in answer.content.decode()


def test_the_address_names_the_person(estate: make.Estate, people: make.People) -> None:
    scanned(estate)
    mine = create(people)
    assert listed(people, f"?started_by={people.operator.pk}") == [mine.pk]
    assert listed(people, f"?started_by={people.reviewer.pk}") == []


def test_the_scans_of_a_day_share_a_line_that_opens(estate: make.Estate, people: make.People) -> None:
    first, *_rest, newest = scanned(estate)
    mine = create(people)
    assert listed(people) == [mine.pk, newest.pk]
    page = signed_in(people.auditor).get("/runs/").content.decode()
    assert re.search(r"<summary>\s*3 scans of \d{4}-\d\d-\d\d\s*</summary>", page)
    assert f'href="/runs/{first.pk}/"' in page


def test_scans_that_were_asked_for_or_failed_have_a_line_each(estate: make.Estate, people: make.People) -> None:
    scanned(estate)
    assert len(listed(people, "?kind=scan")) == 3
    with log.transaction():
        run = run_driver.create(Run.Kind.SCAN, subject="namespace:9", label="x", actor=make.SETUP)
    broken = put(run, "failed", error_code="cloudflare", error="Cloudflare answered 403.")
    assert len(listed(people)) == 2
    assert listed(people)[0] == broken.pk


def test_folded_scans_never_lose_a_run_between_pages(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvops.runs.views.PAGE", 2)
    made = [*scanned(estate, 2), create(people), create(people, "generation:2"), *scanned(estate, 2)]
    seen, after = [], ""
    while after is not None:
        answer = signed_in(people.auditor).get(f"/runs/?after={after}")
        seen += [run.pk for line in answer.context["lines"] for run in line.runs]
        after = answer.context["after"]
    assert sorted(seen) == sorted(run.pk for run in made)
    assert len(seen) == len(made)


def test_no_page_reads_more_scans_than_it_may(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kvops.runs.shown.READ", 3)
    scans = scanned(estate, 5)
    answer = signed_in(people.auditor).get("/runs/")
    assert [[run.pk for run in line.runs] for line in answer.context["lines"]] == [[run.pk for run in scans[:1:-1]]]
    assert answer.context["after"] == scans[2].pk


def test_an_ended_run_has_last_words_in_the_past_tense(estate: make.Estate, people: make.People) -> None:
    scanned(estate, 1, note="Comparing with the inventory.")
    page = signed_in(people.auditor).get("/runs/?kind=scan").content.decode()
    assert "Finished. Keys: 1,200 · Keys gone: 3" in page
    assert "Comparing with" not in page


def test_a_run_says_how_long_it_took_and_who_started_it(people: make.People) -> None:
    run = put(create(people), "running")
    over = run.created_at + timedelta(minutes=3, seconds=20)
    Run.objects.filter(pk=run.pk).update(state="succeeded", finished_at=over)
    for address in ("/runs/", f"/runs/{run.pk}/"):
        page = signed_in(people.auditor).get(address).content.decode()
        assert "3 min 20 s" in page
        assert people.operator.name in page


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "under 1 s"), (59, "59 s"), (60, "1 min 0 s"), (3599, "59 min 59 s"), (3600, "1 h 0 min"), (90000, "1 d 1 h")],
)
def test_a_duration_has_its_two_largest_units(seconds: int, words: str) -> None:
    assert lasted(timedelta(seconds=seconds)) == words


@pytest.mark.parametrize("state", ["queued", "running"])
def test_a_run_that_waits_says_that_the_worker_does_not_work_and_promises_no_time(
    people: make.People, state: str
) -> None:
    for name in ("sweep", "worker", "canary"):
        heartbeats.beat(name)
    run = put(create(people), state, wake_at=Now())
    page = signed_in(people.auditor)
    assert "does not execute tasks" not in page.get(f"/runs/{run.pk}/").content.decode()
    Heartbeat.objects.of("worker").update(at=Now() - timedelta(hours=1))
    shown = page.get(reverse("run-live", args=[run.pk])).content.decode()
    assert ("does not execute tasks. This run goes on" in shown, "Resumes at" in shown) == (True, False)


def test_the_list_of_runs_says_that_no_worker_works(people: make.People) -> None:
    for name in ("sweep", "worker", "canary"):
        heartbeats.beat(name)
    page = signed_in(people.auditor)
    assert "does not execute tasks" not in page.get("/runs/").content.decode()
    Heartbeat.objects.of("canary").update(at=Now() - timedelta(hours=1))
    assert "does not execute tasks. Runs that wait go on when a worker is back" in page.get("/runs/").content.decode()


def test_a_late_check_that_waits_is_due_and_does_not_run(people: make.People) -> None:
    run = create(people, "late:1", Run.Kind.LATE_CHECK)
    run = put(run, "running", wake_at=Now() + timedelta(hours=20))
    browser = signed_in(people.auditor)
    assert "Due later" in browser.get("/runs/").content.decode()
    assert "Next check due at" in browser.get(f"/runs/{run.pk}/").content.decode()
    put(run, "running", owner="worker", lease_until=Now())
    assert "Due later" not in browser.get("/runs/").content.decode()


def test_an_empty_list_says_what_comes_next(people: make.People) -> None:
    shown = signed_in(people.auditor).get("/runs/").content.decode()
    assert "Start a scan" in shown
    assert re.search(r'href="/"[^>]*>\s*Go to the overview', shown)


# One run


def test_a_failed_run_says_what_went_wrong_and_what_to_do(people: make.People) -> None:
    page = signed_in(people.auditor).get(f"/runs/{failed(people).pk}/").content.decode()
    assert "Cloudflare answered 403." in page
    assert "Check the tokens" in page


def test_a_run_leads_to_its_subject_and_its_record(estate: make.Estate, people: make.People) -> None:
    run = create(people, f"namespace:{estate.qa.pk}", Run.Kind.SCAN)
    page = signed_in(people.auditor).get(f"/runs/{run.pk}/").content.decode()
    assert 'href="/keys/qa/SETTINGS/"' in page
    assert f'href="/audit/?subject=run:{run.pk}"' in page


def test_a_run_shows_what_is_left_of_the_request_budget(estate: make.Estate, people: make.People) -> None:
    run = create(people)
    with log.transaction():
        run = run_driver.create(
            Run.Kind.SCAN, subject="namespace:1", label="x", actor=make.SETUP, environment=estate.qa.environment
        )
    assert "960 of 960" in signed_in(people.auditor).get(f"/runs/{run.pk}/").content.decode()
    SharedBudget("shared").take(60)
    SharedBudget("shared").observed(remaining=None, wait=120)
    page = signed_in(people.auditor).get(f"/runs/{run.pk}/").content.decode()
    assert "900 of 960" in page
    assert re.search(r"KVOps waits 1(?:20|1\d) s\.", page)  # it counts down
    put(run, "succeeded")
    assert "Requests left" not in signed_in(people.auditor).get(f"/runs/{run.pk}/").content.decode()


def test_a_run_names_its_target_and_who_approved_it(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    run = cleanup_helpers.started(cleanup_helpers.asked(people), people)
    page = signed_in(people.auditor).get(f"/runs/{run.pk}/").content.decode()
    assert re.search(rf'href="/cleanup/stages/{run.subject.partition(":")[2]}/">Stage \d+</a>', page)
    assert re.search(r"Reviewer</span> ·\s+<a class=\"d-inline-block py-1\" href=\"/approvals/", page)


def test_a_run_shows_its_last_steps(people: make.People) -> None:
    page = signed_in(people.auditor).get(f"/runs/{create(people).pk}/").content.decode()
    assert f'href="{Entry.objects.get(action="run.created").get_absolute_url()}"' in page


@pytest.mark.parametrize(("state", "button"), [("failed", "Try again"), ("stopped", "Go on"), ("running", "Stop")])
def test_an_operator_is_offered_what_can_be_done(people: make.People, state: str, button: str) -> None:
    more = {"error_code": "odd", "error": "Odd."} if state == "failed" else {}
    run = put(create(people), state, **more)
    page = signed_in(people.operator).get(f"/runs/{run.pk}/").content.decode()
    assert re.search(rf">\s*{button}\s*</button>", page)


@pytest.mark.parametrize("state", ["failed", "stopped", "running"])
def test_others_see_why_they_cannot(people: make.People, state: str) -> None:
    more = {"error_code": "odd", "error": "Odd."} if state == "failed" else {}
    run = put(create(people), state, **more)
    page = signed_in(people.reviewer).get(f"/runs/{run.pk}/").content.decode()
    assert "Only an operator" in page
    assert "/resume" not in page
    assert "/stop" not in page


# Progress


def test_the_page_polls_while_the_run_is_open_and_then_no_more(people: make.People) -> None:
    browser, run = signed_in(people.auditor), create(people)
    assert f'hx-get="/runs/{run.pk}/live"' in browser.get(f"/runs/{run.pk}/").content.decode()
    put(run, "succeeded")
    assert "hx-get" not in browser.get(f"/runs/{run.pk}/").content.decode()


def test_an_unchanged_run_is_not_sent_again(people: make.People) -> None:
    browser, run = signed_in(people.auditor), put(create(people), "running", done=3, total=10)
    first = browser.get(f"/runs/{run.pk}/live")
    again = browser.get(f"/runs/{run.pk}/live", headers={"If-None-Match": first.headers["ETag"]})
    assert (first.status_code, again.status_code, again.content) == (200, 304, b"")


def test_progress_is_sent(people: make.People) -> None:
    browser, run = signed_in(people.auditor), put(create(people), "running", done=3, total=10)
    first = browser.get(f"/runs/{run.pk}/live")
    put(run, "running", done=4)
    again = browser.get(f"/runs/{run.pk}/live", headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 200
    assert "4 of 10" in again.content.decode()


def test_the_moving_part_is_a_part_and_the_end_loads_the_page_again(people: make.People) -> None:
    browser, run = signed_in(people.auditor), create(people)
    moving = browser.get(f"/runs/{run.pk}/live")
    assert "<html" not in moving.content.decode()
    assert "HX-Refresh" not in moving.headers
    put(run, "succeeded")
    assert browser.get(f"/runs/{run.pk}/live").headers["HX-Refresh"] == "true"


# Stop and resume


def test_an_operator_stops_a_run(people: make.People) -> None:
    run = create(people)
    signed_in(people.operator2).post(f"/runs/{run.pk}/stop")
    run.refresh_from_db()
    assert run.stop_requested_by == str(people.operator2)


def test_an_operator_tries_a_failed_run_again(people: make.People) -> None:
    run = failed(people)
    signed_in(people.operator).post(f"/runs/{run.pk}/resume")
    run.refresh_from_db()
    assert run.state == "queued"


@pytest.mark.parametrize("action", ["stop", "resume"])
def test_what_cannot_be_done_is_said_and_recorded(people: make.People, action: str) -> None:
    run = put(create(people), "succeeded")
    answer = signed_in(people.operator).post(f"/runs/{run.pk}/{action}", follow=True)
    assert len(said(answer)) == 1
    entry = Entry.objects.get(action="refused")
    assert (entry.subject, entry.actor_id) == (f"run:{run.pk}", people.operator.pk)


@pytest.mark.parametrize("action", ["stop", "resume"])
def test_whoever_may_not_is_refused_and_recorded(people: make.People, action: str) -> None:
    run = create(people)
    assert signed_in(people.reviewer).post(f"/runs/{run.pk}/{action}").status_code == 403
    entry = Entry.objects.get(action="refused")
    assert (entry.actor, entry.details) == (str(people.reviewer), {"address": f"/runs/{run.pk}/{action}"})
