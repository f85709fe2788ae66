"""Searches are stored once, with their hits. Only a later search without such a hit closes a follow-up."""

from dataclasses import replace
from datetime import date, timedelta
from hashlib import sha256
from typing import Any

import pytest

from audit.models import Entry
from kvops import clock
from kvops.models import (
    DeployedCode,
    DeployedLook,
    Environment,
    Family,
    Namespace,
    Person,
    ReferenceAnswer,
    ReferenceHit,
    ReferenceSearch,
)
from kvops.references import store as reference_store
from kvops.references.report import Hit, Report, dumps
from tests import make, searched
from tests.kvops.references import reports

pytestmark = pytest.mark.django_db
NEXT = "d" * 40
FILE, WORKER = ReferenceSearch.Source.FILE, ReferenceSearch.Source.WORKER


@pytest.fixture
def qa(people: make.People) -> Environment:
    return Environment.objects.create(slug="qa", name="QA", order=1, read_token="env:R", write_token="env:W")


@pytest.fixture
def production() -> Environment:
    return Environment.objects.create(slug="p", name="P", order=2, read_token="env:P", write_token="env:Q")


@pytest.fixture
def master() -> Family:
    return Family.objects.create(binding="SETTINGS", pattern="master:", category="legacy", owner="platform")


def stored(environment: Environment, report: Report, **code: str) -> ReferenceSearch:
    source = WORKER if code else FILE
    return reference_store.store(environment, report, source=source, by=make.SETUP, **code)


def fixed(*hits: Hit, hours: float = 1, **more: Any) -> Report:
    """A report of the next commit, which is deployed later."""
    return reports.report(*hits, hours=hours, commit=NEXT, **more)


def follow_up(hit: ReferenceHit, family: Family, owner: Person) -> ReferenceAnswer:
    return ReferenceAnswer.objects.create(
        family=family,
        hit=hit,
        fingerprint=hit.fingerprint,
        kind=ReferenceAnswer.Kind.FOLLOW_UP,
        reason="D1 is ready",
        follow_up=ReferenceAnswer.FollowUp.D1,
        owner=owner,
        due=date(2026, 2, 1),
        by=owner,
    )


def test_a_report_becomes_a_search_with_its_hits(qa: Environment, people: make.People) -> None:
    report = reports.report(reports.hit(), reports.hit(access="write", certainty="possible"), unparsed=["a.ts"])
    search = reference_store.store(qa, report, source=FILE, by=people.operator)
    search.refresh_from_db()
    assert (search.commit, search.files, search.hit_count, search.unparsed) == (reports.COMMIT, 3, 2, ["a.ts"])
    assert (search.by, search.made_by, search.searched_at) == (people.operator, str(people.operator), reports.DAWN)
    assert search.digest == sha256(dumps(report)).hexdigest()
    first = search.hits.earliest("pk")
    assert (first.file, first.line, first.column, first.text) == ("functions/clinics.ts", 7, 3, '"master:"')
    assert (first.context, first.fingerprint) == (list(report.hits[0].context), report.hits[0].fingerprint)


def test_the_audit_log_has_the_counts_of_a_search_and_none_of_its_code(qa: Environment) -> None:
    search = stored(qa, reports.report(reports.hit(), reports.hit(certainty="unknown")))
    entry = Entry.objects.get(action="references.searched")
    assert (entry.subject, entry.environment, entry.digest) == (f"search:{search.pk}", "qa", search.digest)
    assert (entry.details["hits"], entry.details["files"]) == ({"certain": 1, "unknown": 1}, 3)
    assert not any(code in bytes(entry.canonical) for code in (b"clinics.ts", b"master:", b"const key"))


def test_the_same_report_is_stored_once(qa: Environment) -> None:
    first = stored(qa, reports.report(reports.hit()))
    again = stored(qa, reports.report(reports.hit()))
    assert (again.pk, first.seen_before, again.seen_before) == (first.pk, False, True)
    assert Entry.objects.filter(action="references.searched").count() == 1


def test_the_same_report_of_another_environment_or_of_another_script_is_another_search(
    qa: Environment, production: Environment
) -> None:
    report = reports.report(reports.hit())
    found = [
        stored(qa, report),
        stored(production, report),
        stored(qa, report, worker="api", version="1"),
        stored(qa, report, worker="api", version="2"),
        stored(qa, report, worker="api", version="2", etag="x"),
    ]
    assert len({search.pk for search in found}) == 5


def test_the_newest_search_is_the_one_that_searched_last_not_the_one_that_arrived_last(qa: Environment) -> None:
    later = stored(qa, reports.report(hours=2))
    stored(qa, reports.report(hours=1))
    assert reference_store.newest(qa) == later


def test_an_environment_without_searches_has_no_newest(qa: Environment) -> None:
    assert reference_store.newest(qa) is None


def test_a_search_without_commit_is_refused(qa: Environment) -> None:
    with pytest.raises(reference_store.SearchUnusable, match="names no commit"):
        stored(qa, reports.report(commit=""))
    assert not ReferenceSearch.objects.exists()


def test_a_search_of_tomorrow_is_refused(qa: Environment) -> None:
    hours = (clock.now() + timedelta(days=1) - reports.DAWN) / timedelta(hours=1)
    with pytest.raises(reference_store.SearchUnusable, match="still to come"):
        stored(qa, reports.report(hours=hours))
    assert not ReferenceSearch.objects.exists()


HIT = reports.hit()


@pytest.mark.parametrize(
    ("later", "closes"),
    [
        (fixed(), True),
        (fixed(reports.hit("functions/other.ts")), True),
        (fixed(HIT), False),
        (fixed(reports.hit(line=90, context=["x", "y", "z"])), False),
        (fixed(reports.hit(family="*", text="?", certainty="unknown"), unparsed=[HIT.file]), False),
    ],
    ids=["no hit", "another file", "the same hit", "moved", "not parsed"],
)
def test_only_a_search_without_such_a_hit_closes_a_follow_up(
    qa: Environment, master: Family, people: make.People, later: Report, closes: bool
) -> None:
    first = stored(qa, reports.report(HIT))
    answer = follow_up(first.hits.get(), master, people.operator)
    searched.runs(qa, NEXT)
    second = stored(qa, later)
    answer.refresh_from_db()
    assert (answer.closed_by == second, answer.closed_at is not None) == (closes, closes)
    entry = Entry.objects.filter(action="references.searched").latest("seq")
    assert entry.details["follow_ups_closed"] == int(closes)


@pytest.fixture
def answer(qa: Environment, master: Family, people: make.People) -> ReferenceAnswer:
    """A follow-up in QA; the next commit runs there."""
    made = follow_up(stored(qa, reports.report(HIT)).hits.get(), master, people.operator)
    searched.runs(qa, NEXT)
    return made


def closed_by(answer: ReferenceAnswer) -> ReferenceSearch | None:
    return ReferenceAnswer.objects.get(pk=answer.pk).closed_by


def test_an_earlier_search_that_arrives_late_closes_no_follow_up(qa: Environment, answer: ReferenceAnswer) -> None:
    stored(qa, fixed(hours=-1))
    assert closed_by(answer) is None


def test_a_commit_that_somebody_typed_closes_no_follow_up(qa: Environment, answer: ReferenceAnswer) -> None:
    stored(qa, reports.report(hours=1, commit="e" * 40))
    assert closed_by(answer) is None


def test_a_file_without_the_hits_of_the_same_commit_closes_no_follow_up(
    qa: Environment, answer: ReferenceAnswer
) -> None:
    searched.runs(qa, reports.COMMIT)
    stored(qa, reports.report(hours=1))
    assert closed_by(answer) is None
    searched.runs(qa, NEXT)
    stored(qa, fixed(HIT))
    stored(qa, fixed(hours=2))
    assert closed_by(answer) is None


def test_a_file_that_left_out_files_closes_no_follow_up(qa: Environment, answer: ReferenceAnswer) -> None:
    small = replace(fixed(), files=1)
    stored(qa, small)
    assert closed_by(answer) is None
    whole = reference_store.store(
        qa, replace(small, searched_at=small.searched_at + timedelta(hours=1)), source="checkout", by=make.SETUP
    )
    assert closed_by(answer) == whole


def test_a_search_closes_no_follow_up_while_other_code_that_runs_was_not_searched(
    qa: Environment, answer: ReferenceAnswer
) -> None:
    settings = Namespace.objects.create(environment=qa, binding="SETTINGS", namespace_id="1" * 32, title="qa")
    site = {"environment": qa, "kind": "pages", "seen_at": clock.now(), "bindings": {"KV": settings.namespace_id}}
    DeployedCode.objects.create(name="admin", commit="e" * 40, **site)
    stored(qa, fixed())
    assert closed_by(answer) is None
    last = stored(qa, reports.report(hours=2, commit="e" * 40))
    assert closed_by(answer) == last


def test_a_search_closes_no_follow_up_while_code_with_its_place_runs(qa: Environment, answer: ReferenceAnswer) -> None:
    DeployedCode.objects.create(
        environment=qa, kind="pages", name="admin", commit=reports.COMMIT, seen_at=clock.now()
    )  # fmt: skip
    stored(qa, fixed())
    assert closed_by(answer) is None


def test_a_search_closes_no_follow_up_while_the_deployed_code_is_not_known(
    qa: Environment, answer: ReferenceAnswer
) -> None:
    DeployedLook.objects.update(problem="?")
    stored(qa, fixed())
    assert closed_by(answer) is None


def test_a_follow_up_stays_open_while_the_code_of_another_environment_has_its_place(
    qa: Environment, production: Environment, answer: ReferenceAnswer
) -> None:
    stored(production, reports.report(HIT))
    done = stored(qa, fixed())
    assert closed_by(answer) is None
    moved = stored(production, fixed(reports.hit(line=90, context=["x", "y", "z"]), hours=2))
    assert (moved.hit_count, closed_by(answer)) == (1, None)
    stored(production, reports.report(hours=3, commit="e" * 40))
    assert closed_by(answer) == done


def test_a_follow_up_stays_open_while_a_deployed_script_has_its_hit(qa: Environment, answer: ReferenceAnswer) -> None:
    stored(qa, reports.report(HIT), worker="api", version="1")
    stored(qa, fixed())
    assert closed_by(answer) is None


def test_code_of_production_that_was_never_searched_keeps_no_follow_up_open(
    qa: Environment, production: Environment, answer: ReferenceAnswer
) -> None:
    done = stored(qa, fixed())
    assert closed_by(answer) == done


def test_a_search_of_other_code_closes_no_follow_up(
    qa: Environment, production: Environment, answer: ReferenceAnswer
) -> None:
    worker = {"environment": qa, "kind": "worker", "name": "api", "version": "1", "seen_at": clock.now()}
    DeployedCode.objects.create(**worker)
    searched.runs(production, NEXT)
    stored(qa, fixed(), worker="api", version="1")
    stored(production, fixed())
    assert closed_by(answer) is None


@pytest.mark.parametrize(
    ("family", "prefix", "exact", "concerned"),
    [
        ("*", "master:", False, True),
        ("SETTINGS *", "master:", False, True),
        ("OTHER *", "master:", False, False),
        ("OTHER master:*", "master:", False, False),
        ("SETTINGS master:*", "master:", False, True),
        ("SETTINGS master:*", "master:clinic:", False, True),
        ("SETTINGS master:clinic:*", "master:", False, True),
        ("SETTINGS master:1", "master:", False, True),
        ("SETTINGS mastercache:*", "master:", False, False),
        ("SETTINGS master:*", "mastercache:", False, False),
        ("SETTINGS master:*", "master:1", True, True),
        ("SETTINGS master:1", "master:1", True, True),
        ("SETTINGS master:1", "master:", True, False),
        ("SETTINGS master:12*", "master:1", True, False),
        ("SETTINGS master:12", "master:1", True, False),
    ],
)
def test_a_hit_concerns_a_clean_up_if_one_key_could_be_both(
    family: str, prefix: str, exact: bool, concerned: bool
) -> None:
    assert reference_store.concerns(family, "SETTINGS", prefix, exact=exact) == concerned


def test_the_hits_of_a_clean_up_come_with_writers_first(qa: Environment) -> None:
    accesses, certainties = ("read", "list", "unknown", "write", "delete"), ("unknown", "possible", "certain")
    hits = [reports.hit(f"{a}.{c}", access=a, certainty=c) for a in accesses for c in certainties]
    hits += [reports.hit("z", family="SETTINGS *"), reports.hit("y", family="SETTINGS mastercache:*")]
    search = stored(qa, reports.report(*hits))
    found = [hit.file for hit in reference_store.hits_of([search], ["SETTINGS"], "master:")]
    urgent = [f"{a}.{c}" for c in ("certain", "possible", "unknown") for a in ("delete", "write")]
    assert found[:6] == urgent
    assert found[6:10] == ["list.certain", "read.certain", "unknown.certain", "z"]
    assert "y" not in found


def test_hits_are_stored_in_batches(qa: Environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference_store, "BATCH", 2)
    search = stored(qa, reports.report(*(reports.hit(line=line) for line in range(1, 6))))
    assert search.hits.count() == search.hit_count == 5


SMALL = reports.report(hours=1)
LARGE = reports.report(reports.hit())


def test_a_file_that_is_smaller_than_the_search_before_names_it(qa: Environment) -> None:
    larger = stored(qa, LARGE)
    assert larger.fewer_than is None
    assert stored(qa, SMALL).fewer_than == larger
    assert stored(qa, replace(SMALL, searched_at=reports.DAWN + timedelta(hours=2))).fewer_than == larger
    assert stored(qa, reports.report(reports.hit(), hours=3)).fewer_than is None


def test_a_small_file_of_another_repository_is_compared_with_the_search_that_counted(qa: Environment) -> None:
    larger = stored(qa, LARGE)
    assert stored(qa, replace(SMALL, repository="other")).fewer_than == larger


def test_a_checkout_on_this_machine_may_be_smaller(qa: Environment) -> None:
    stored(qa, LARGE)
    checkout = reference_store.store(qa, SMALL, source="checkout", by=make.SETUP)
    assert (checkout.fewer_than, checkout.repository) == (None, "site")


def test_a_file_without_a_repository_is_refused(qa: Environment) -> None:
    with pytest.raises(reference_store.SearchUnusable, match="names no repository"):
        stored(qa, replace(LARGE, repository=""))
