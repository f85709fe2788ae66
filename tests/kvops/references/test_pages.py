"""The pages of code references: searches, hits, changes since the search before, and the file that a person brings."""

import re
from datetime import date
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse

from audit.models import Entry
from kvops import clock
from kvops.models import Environment, Family, Person, ReferenceAnswer, ReferenceHit, ReferenceSearch
from kvops.references import forms, store as reference_store, views
from kvops.references.report import Hit, Report, dumps
from tests import make, searched
from tests.kvops.references import reports
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture
def qa(estate: make.Estate) -> Environment:
    return estate.qa.environment


def stored(environment: Environment, *hits: Hit, **report_of: Any) -> ReferenceSearch:
    report = reports.report(*hits, **report_of)
    return reference_store.store(environment, report, source="file", by=make.SETUP)


def shown(person: Person, address: str) -> str:
    answer = signed_in(person).get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def brought(person: Person, content: bytes, language: str = "en") -> HttpResponse:
    file, browser = SimpleUploadedFile("hits.json", content), signed_in(person)
    browser.cookies["django_language"] = language
    return browser.post("/references/qa/take", {"report": file}, follow=True)  # type: ignore[return-value]


def answer(hit: ReferenceHit, by: Person, **more: object) -> ReferenceAnswer:
    made = {"family": Family.objects.get(pattern="master:"), "fingerprint": hit.fingerprint, "kind": "unrelated"}
    return ReferenceAnswer.objects.create(**{**made, "hit": hit, "reason": "only a comment", "by": by, **more})


def test_an_environment_that_was_never_searched_says_how_to_search_it(qa: Environment, people: make.People) -> None:
    for address in ("/references/", "/references/qa/"):
        page = shown(people.auditor, address)
        assert "manage.py scan_references qa --path CHECKOUT --commit" in page
        assert "--output ../hits.json" in page
        assert "manage.py import_references qa ../hits.json" in page
        assert "Nobody knows what a deletion would break." in page


def test_the_list_shows_the_newest_search_and_that_nobody_knows_what_runs(qa: Environment, people: make.People) -> None:
    stored(qa, reports.hit(access="write"), reports.hit(line=8), reports.hit(line=9, certainty="unknown"))
    page = shown(people.auditor, "/references/")
    assert reports.COMMIT in page
    assert "Not known" in page
    assert "Cloudflare was never asked for the deployed code" in page
    row = re.search(r"Writes</th>(.*?)</tr>", page, re.DOTALL)
    assert row
    assert re.findall(r"\d+", row[1]) == ["1", "0", "0"]


def test_a_search_shows_its_hits_by_family_with_writers_of_legacy_families_first(
    qa: Environment, people: make.People
) -> None:
    stored(
        qa,
        reports.hit("a.ts"),
        reports.hit("b.ts", access="write", family="SETTINGS mastercache:*"),
        reports.hit("c.ts", access="write", certainty="possible"),
        reports.hit("d.ts", access="delete", family="SETTINGS *"),
    )
    page = shown(people.auditor, "/references/qa/")
    assert re.findall(r"([a-d])\.ts:7:3", page) == ["c", "d", "a", "b"]
    assert page.count("Most urgent: writes or deletes keys of a legacy family") == 1
    assert "&quot;master:&quot; + id;" in page


@pytest.mark.parametrize(
    ("query", "files"),
    [
        ("certainty=possible", "c"),
        ("access=read", "a"),
        ("family=SETTINGS+mastercache:*", "b"),
        ("file=C.t", "c"),
        ("access=read&certainty=possible", ""),
        ("access=tea", ""),
    ],
)
def test_hits_are_filtered(qa: Environment, people: make.People, query: str, files: str) -> None:
    stored(
        qa,
        reports.hit("a.ts"),
        reports.hit("b.ts", access="write", family="SETTINGS mastercache:*"),
        reports.hit("c.ts", access="write", certainty="possible"),
    )
    page = shown(people.auditor, f"/references/qa/?{query}")
    assert "".join(re.findall(r"([a-d])\.ts:7:3", page)) == files
    assert ("Nothing matches" in page) == (not files)


def test_many_hits_are_paged(qa: Environment, people: make.People, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "PAGE", 2)
    stored(qa, *(reports.hit(f"f{number}.ts") for number in range(5)))
    found, address = [], "?"
    while address:
        page = shown(people.auditor, f"/references/qa/{address}")
        found += re.findall(r"f(\d)\.ts:7", page)
        address = next(iter(re.findall(r'href="(\?after=\d+)"', page)), "")
    assert found == list("01234")


def test_new_and_gone_hits_since_the_search_before_are_told(qa: Environment, people: make.People) -> None:
    first = stored(qa, reports.hit("a.ts"), reports.hit("b.ts"), reports.hit("c.ts"))
    stored(qa, reports.hit("a.ts", line=99), reports.hit("d.ts"), hours=1, unparsed=("c.ts",))
    page = shown(people.auditor, "/references/qa/")
    assert ("1 new" in page, "1 gone" in page) == (True, True)
    assert re.findall(r"([a-d])\.ts:7:3", shown(people.auditor, "/references/qa/?show=new")) == ["d"]
    assert re.findall(r"([a-d])\.ts:7:3", shown(people.auditor, "/references/qa/?show=gone")) == ["b"]
    assert f"/references/qa/{first.pk}/" in page
    assert re.findall(r"([a-d])\.ts:7:3", shown(people.auditor, f"/references/qa/{first.pk}/?show=new")) == []


def test_files_that_could_not_be_parsed_are_listed(qa: Environment, people: make.People) -> None:
    hit = reports.hit("broken.ts", family="*", certainty="unknown", access="unknown")
    stored(qa, hit, unparsed=("broken.ts",))
    page = shown(people.auditor, "/references/qa/")
    assert "1 file could not be parsed" in page
    assert "Look into them by hand." in page


def test_an_older_search_has_its_own_address_and_says_that_it_is_older(qa: Environment, people: make.People) -> None:
    first, second = stored(qa, reports.hit("old.ts")), stored(qa, hours=1)
    page = shown(people.auditor, f"/references/qa/{first.pk}/")
    assert "old.ts:7:3" in page
    assert "This is not the newest search" in page
    assert "This is not the newest search" not in shown(people.auditor, f"/references/qa/{second.pk}/")
    assert signed_in(people.auditor).get(f"/references/production/{first.pk}/").status_code == 404
    answer = signed_in(people.auditor).get(f"/reference-searches/{first.pk}/")
    assert answer.headers["Location"] == f"/references/qa/{first.pk}/"


def test_a_search_without_hits_says_so(qa: Environment, people: make.People) -> None:
    stored(qa)
    assert "No code reference found" in shown(people.auditor, "/references/qa/")


def test_the_newest_answer_is_shown_and_one_to_an_earlier_search_as_carried_over(
    qa: Environment, people: make.People
) -> None:
    first = stored(qa, reports.hit())
    answer(first.hits.get(), people.operator, reason="read by nobody")
    answer(first.hits.get(), people.operator, reason="only a comment")
    page = shown(people.auditor, "/references/qa/")
    assert ("only a comment" in page, "read by nobody" in page, "Carried over" in page) == (True, False, False)
    stored(qa, reports.hit(line=20), hours=1)
    page = shown(people.auditor, "/references/qa/")
    assert ("only a comment" in page, "Carried over from QA" in page) == (True, True)


def test_an_operator_brings_the_file_of_a_search(qa: Environment, people: make.People) -> None:
    page = brought(people.operator, dumps(reports.report(reports.hit()))).content.decode()
    assert "The search is stored." in page
    search = ReferenceSearch.objects.get()
    assert (search.environment, search.source, search.by) == (qa, "file", people.operator)
    assert "functions/clinics.ts:7:3" in page
    again = brought(people.operator, dumps(reports.report(reports.hit()))).content.decode()
    assert "This search was stored before." in again
    assert ReferenceSearch.objects.count() == 1


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"{", "The file is not JSON"),
        (b"{}", "commit: is missing."),
        (dumps(reports.report(reports.hit("../a.ts"))), "hits[0].file: must stay inside the checkout."),
        (dumps(reports.report(commit="")), "The search names no commit."),
        (b"", "The submitted file is empty."),
    ],
    ids=["not JSON", "empty", "outside", "no commit", "no bytes"],
)
def test_a_refused_file_shows_the_first_wrong_place_and_stores_nothing(
    qa: Environment, people: make.People, content: bytes, sentence: str
) -> None:
    answer = brought(people.operator, content)
    page = answer.content.decode()
    assert answer.status_code == 422
    assert "The file was refused, and nothing was stored" in page
    assert sentence in page
    assert not ReferenceSearch.objects.exists()
    assert Entry.objects.filter(action="refused").exists() == bool(content)


def test_a_file_that_is_too_large_is_not_read(
    qa: Environment, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forms, "MOST_BYTES", 10)
    answer = brought(people.operator, dumps(reports.report()))
    assert (answer.status_code, ReferenceSearch.objects.exists()) == (422, False)
    assert "The file has more than 20 MiB." in answer.content.decode()


def test_who_is_no_operator_is_not_offered_to_bring_a_file(qa: Environment, people: make.People) -> None:
    page = shown(people.auditor, "/references/qa/")
    assert ('enctype="multipart/form-data"' in page, "Only an operator can do this." in page) == (False, True)


def follow_up(hit: ReferenceHit, owner: Person, due: date) -> ReferenceAnswer:
    by = Person.objects.get(email="operator@example.com")
    return answer(hit, by, kind="follow_up", follow_up="d1", owner=owner, due=due, reason="D1 is ready")


def test_follow_ups_are_listed_with_the_overdue_first(qa: Environment, people: make.People) -> None:
    hits = list(stored(qa, reports.hit("a.ts"), reports.hit("b.ts")).hits.order_by("file"))
    follow_up(hits[0], people.operator, date(2999, 1, 1))
    follow_up(hits[1], people.reviewer, date(2026, 1, 2))
    page = shown(people.auditor, "/runbook/todo/")
    assert re.findall(r"([ab])\.ts:7", page) == ["b", "a"]
    assert page.count("<div>overdue</div>") == 1
    assert page.count("A later search of the code that runs closes it, once no environment has such code.") == 2
    assert f"/references/qa/{hits[1].search_id}/?file=b.ts" in page
    assert "2 open follow-ups" in shown(people.auditor, "/references/")


def test_a_follow_up_that_a_newer_answer_replaced_or_a_search_closed_is_not_listed(
    qa: Environment, people: make.People
) -> None:
    hits = list(stored(qa, reports.hit("a.ts"), reports.hit("b.ts")).hits.order_by("file"))
    for hit in hits:
        follow_up(hit, people.operator, date(2026, 1, 2))
    answer(hits[0], people.operator)
    assert re.findall(r"([ab])\.ts:7", shown(people.auditor, "/runbook/todo/")) == ["b"]
    searched.runs(qa, "d" * 40)
    stored(qa, reports.hit("a.ts"), hours=1, commit="d" * 40)
    assert "Nothing is left to do" in shown(people.auditor, "/runbook/todo/")


def test_the_overview_shows_a_follow_up_to_its_owner_only(qa: Environment, people: make.People) -> None:
    follow_up(stored(qa, reports.hit()).hits.get(), people.auditor, date(2026, 1, 2))
    assert "Switch to D1" in shown(people.auditor, "/")
    assert "Switch to D1" not in shown(people.operator, "/")


def test_a_page_of_hits_takes_the_same_queries_for_any_number(
    qa: Environment, people: make.People, django_assert_max_num_queries: object
) -> None:
    search = stored(qa, *(reports.hit(line=line, text=f"t{line}") for line in range(1, 40)))
    for hit in search.hits.all()[:20]:
        answer(hit, people.operator)
    client = signed_in(people.auditor)
    with django_assert_max_num_queries(40):  # type: ignore[operator]
        assert client.get("/references/qa/").status_code == 200


def test_a_report_of_many_hits_is_stored_and_shown(qa: Environment, people: make.People) -> None:
    report = Report(
        reports.COMMIT, 3, reports.DAWN, tuple(reports.hit(line=n) for n in range(1, 5_001)), (), repository="site"
    )
    search = reference_store.store(qa, report, source="file", by=make.SETUP)
    assert search.hits.count() == 5_000
    assert "5,000" in shown(people.auditor, "/references/qa/")


def test_a_small_file_of_the_deployed_commit_hides_no_place(qa: Environment, people: make.People) -> None:
    larger = stored(qa, reports.hit("a.ts", access="write"), reports.hit("b.ts"))
    small = stored(qa, reports.hit("b.ts"), hours=1)
    searched.runs(qa, reports.COMMIT)
    for address in ("/references/", "/references/qa/"):
        page = shown(people.auditor, address)
        assert "Searches of one commit contradict each other" in page
        assert f"This file has fewer files or places than search {larger.pk}." in page
        assert [
            re.findall(r">(\d)<", row) for row in re.findall(r"(?:Writes|Reads)</th>(.*?)</tr>", page, re.DOTALL)
        ] == [
            ["1", "0", "0"],
            ["1", "0", "0"],
        ]
    assert re.findall(r"([ab])\.ts:7:3", page) == ["a", "b"]
    for search, places in ((larger, ["a", "b"]), (small, ["b"])):
        page = shown(people.auditor, f"/references/qa/{search.pk}/")
        assert re.findall(r"([ab])\.ts:7:3", page) == places
    stored(qa, hours=2, commit="d" * 40)
    assert "contradict" not in shown(people.auditor, "/references/qa/")


def test_a_search_from_before_the_policy_changed_says_so(qa: Environment, people: make.People) -> None:
    stored(qa, hours=1)
    assert "The policy changed after this search" in shown(people.auditor, "/references/qa/")
    stored(qa, hours=(clock.now() - reports.DAWN).total_seconds() / 3600)
    assert "The policy changed after this search" not in shown(people.auditor, "/references/qa/")
    make.another_policy()
    assert "The policy changed after this search" in shown(people.auditor, "/references/qa/")


def test_a_refused_file_is_told_in_the_readers_language_and_recorded_in_english(
    qa: Environment, people: make.People
) -> None:
    page = brought(people.operator, dumps(reports.report(reports.hit("/etc/passwd"))), "ja").content.decode()
    assert "hits[0].file：絶対パスは使えません。" in page
    assert "must not be" not in page
    entry = Entry.objects.get(action="refused")
    assert entry.details["reason"] == "hits[0].file: must not be an absolute path."
