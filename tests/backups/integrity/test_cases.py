"""Cases: who looks into the differences of a failed check, until when, and the outcome."""

import pytest

from audit import log
from audit.models import Entry
from backups.integrity import cases, start as check_start
from backups.integrity.cases import CaseRefused
from backups.models import Check, DifferenceCase, Generation
from kvops.models import Notification, Person
from kvops.runbook import todo
from kvops.runbook.secrets import RunbookRefused
from tests import make
from tests.backups.generations import helpers as generation_helpers
from tests.backups.integrity import rechecking
from tests.backups.integrity.differing import DAY, agree, assigned, check_of, failed, let_it_be_late, put
from tests.backups.restores import helpers as restore_helpers
from tests.signing import said, signed_in

pytestmark = pytest.mark.django_db


def actions(check: Check) -> list[str]:
    return list(
        Entry.objects.filter(subject=f"check:{check.pk}", action__startswith="case.").values_list("action", flat=True)
    )


def test_a_case_waits_for_its_owner_and_is_closed_with_an_outcome(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    asked = {"owner": people.reviewer.pk, "due": f"{todo.today() + DAY}", "note": "Ask the masters team"}
    browser = signed_in(people.operator)
    answer = browser.post(f"/integrity/{check.pk}/case", asked, follow=True)
    assert said(answer) == ["Reviewer looks into it."]
    assert "Find the cause of the differences" in signed_in(people.reviewer).get("/").content.decode()
    assert "Find the cause of the differences" in signed_in(people.auditor).get("/runbook/todo/").content.decode()
    assert "Reviewer looks into it until" in browser.get("/integrity/").content.decode()
    outcome = {"outcome": "accepted", "reason": "The city is gone."}
    answer = browser.post(f"/integrity/{check.pk}/outcome", outcome, follow=True)
    assert said(answer) == ["The case is closed."]
    assert "The city is gone." in answer.content.decode()
    assert actions(check) == ["case.opened", "case.closed"]
    assert "Find the cause of the differences" not in signed_in(people.reviewer).get("/").content.decode()


def test_an_unexplained_case_stays_open_and_is_told_when_overdue(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    case = assigned(check, people.auditor, people.operator)
    cases.settle(check, outcome="unexplained", reason="No trace of it", by=people.operator)
    let_it_be_late(case)
    for _ in range(2):
        with log.transaction():
            todo.overdue(None, make.SETUP)
    told = Notification.objects.filter(event="todo.overdue").values_list("person__email", flat=True)
    assert sorted(told) == [f"{who}@example.com" for who in ("auditor", "operator2", "operator")]
    assert "overdue since" in signed_in(people.auditor).get("/").content.decode()
    assert cases.overdue() == [case]


def test_the_next_check_that_passes_closes_the_case_and_says_so(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    case = assigned(check, people.operator2, people.operator)
    assert check.generation is not None
    check_of(check.generation)
    case.refresh_from_db()
    assert case.closed_at is None  # it failed too, and belongs to the same case
    agree(estate)
    passed = check_of(check.generation)
    case.refresh_from_db()
    assert (passed.outcome, case.outcome, case.passed, case.closed_by) == ("passed", "passed", passed, None)
    assert actions(check) == ["case.opened", "case.closed"]
    page = signed_in(people.auditor).get(f"/integrity/{check.pk}/").content.decode()
    assert "A later check passed" in page
    assert "nothing is left to do here" in page


def test_a_check_within_a_deletion_that_passes_closes_the_case(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = failed(estate)
    case = assigned(check, people.operator2, people.operator)
    agree(estate)
    run = rechecking.another_run(estate, monkeypatch, {"generation": check.generation_id})
    make.work()
    case.refresh_from_db()
    assert (case.outcome, case.passed) == ("passed", Check.objects.get(run=run))
    assert actions(check) == ["case.opened", "case.closed"]


def test_a_check_of_fewer_keys_closes_nothing(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    case = assigned(check, people.operator, people.operator)
    agree(estate)
    passed = check_of(restore_helpers.verified_backup(estate.qa, "master:city:4"))
    case.refresh_from_db()
    assert (passed.outcome, case.closed_at) == ("passed", None)


def test_a_case_is_changed_and_each_change_is_recorded(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    first = assigned(check, people.operator, people.operator)
    again = cases.assign(check, owner=people.auditor, due=todo.today(), note="no longer needed", by=people.operator2)
    assert (again.pk, again.owner, again.note) == (first.pk, people.auditor, "no longer needed")
    assert actions(check) == ["case.opened", "case.changed"]
    entry = Entry.objects.filter(action="case.changed").get()
    assert (entry.details["owner"], entry.details["note"]) == (str(people.auditor), "no longer needed")


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"due": "yesterday"}, "today on"),
        ({"owner": "nobody"}, "must hold a role"),
        ({"by": "reviewer"}, "Only an operator"),
    ],
)
def test_a_case_needs_an_operator_an_active_owner_and_a_day_to_come(
    estate: make.Estate, people: make.People, changed: dict[str, str], why: str
) -> None:
    check = failed(estate)
    owner = getattr(people, changed.get("owner", "operator"))
    due = todo.today() - DAY if "due" in changed else todo.today()
    with pytest.raises(CaseRefused, match=why):
        cases.assign(check, owner=owner, due=due, note="", by=getattr(people, changed.get("by", "operator")))
    assert DifferenceCase.objects.count() == 0


def test_an_owner_whose_account_is_switched_off_is_refused(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    make.deactivate(people.operator2)
    with pytest.raises(CaseRefused, match="active account"):
        assigned(check, people.operator2, people.operator)


def test_a_check_without_differences_has_no_case(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    agree(estate)
    assert check.generation is not None
    passed = check_of(check.generation)
    with pytest.raises(CaseRefused, match="Only a check with differences"):
        assigned(passed, people.operator, people.operator)
    with pytest.raises(CaseRefused, match="A later check of the same keys passed"):
        assigned(check, people.operator, people.operator)


@pytest.mark.parametrize("outcome", ["accepted", "unexplained"])
def test_an_outcome_that_corrects_nothing_needs_a_reason(
    estate: make.Estate, people: make.People, outcome: str
) -> None:
    check = failed(estate)
    assigned(check, people.operator, people.operator)
    answer = signed_in(people.operator).post(f"/integrity/{check.pk}/outcome", {"outcome": outcome})
    assert answer.status_code == 422
    assert "Give the reason." in answer.content.decode()
    assert cases.open_case(check) is not None


def test_an_outcome_without_a_case_and_a_secret_in_a_note_are_refused(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    with pytest.raises(CaseRefused, match="Nobody looks into"):
        cases.settle(check, outcome="d1", reason="", by=people.operator)
    with pytest.raises(RunbookRefused):
        cases.assign(
            check, owner=people.operator, due=todo.today(), note="sk_live_abcdefgh12345678", by=people.operator
        )
    assert DifferenceCase.objects.count() == 0


def unattended(person: Person) -> list[str]:
    """The pages of the checks whose differences nobody looks into, by the overview."""
    lines = signed_in(person).get("/").context["overview"].lines
    return [line.url for line in lines if line.title.startswith("Nobody looks into")]


def test_differences_that_nobody_looks_into_are_an_alarm(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    assert unattended(people.auditor) == [f"/integrity/{check.pk}/"]
    page = signed_in(people.auditor).get("/").content.decode()
    assert "Nobody looks into 3 differences with D1" in page
    assert f'href="/integrity/{check.pk}/"' in page
    case = assigned(check, people.operator, people.operator)
    assert unattended(people.auditor) == []
    let_it_be_late(case)
    assert "The cause of differences with D1 is overdue" in signed_in(people.auditor).get("/").content.decode()
    cases.settle(check, outcome="accepted", reason="no longer needed", by=people.operator)
    assert unattended(people.auditor) == []
    assert check.generation is not None
    again = check_of(check.generation)
    assert unattended(people.auditor) == [f"/integrity/{again.pk}/"]  # the acceptance was of what was known then


def test_a_case_of_a_file_and_one_of_kv_are_two(estate: make.Estate, people: make.People) -> None:
    check = failed(estate)
    assigned(check, people.operator, people.operator)
    put(estate, "9", "Ise")
    rows = generation_helpers.backup_of(
        estate,
        generation_helpers.master("city", "1", "Kyoto"),
        purpose="masters",
        source="d1",
        tables=[{"dataset": "masters", "rows": 1}],
    )
    other = check_of_rows(rows)
    assert cases.open_case(other) is None


def check_of_rows(generation: Generation) -> Check:
    """A check of a backup of rows, which says nothing about KV."""
    [found] = check_start.start_checks(generation, actor=make.SETUP)
    make.work()
    found.refresh_from_db()
    assert found.kind == Check.Source.ROWS
    return found
