"""To-dos: each with an owner and a day, done once, and told of when the day is over."""

from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from audit import log
from audit.actions import Action
from audit.models import Entry
from kvops.models import Environment, Family, Notification, Person, ReferenceAnswer, RunbookTodo
from kvops.operations import registry
from kvops.references import store as reference_store
from kvops.runbook import entries as runbook_entries, todo
from kvops.runbook.entries import RunbookEntry
from kvops.runbook.secrets import RunbookRefused
from kvops.runbook.todo import OpenTodo
from tests import make, searched
from tests.kvops.references import reports
from tests.kvops.runbook.test_by_hand import state
from tests.signing import signed_in

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)


@pytest.fixture
def entry(estate: make.Estate, people: make.People) -> RunbookEntry:
    """An operation that a person stated."""
    found = runbook_entries.of_subject(f"stated:{state(estate, people.operator).pk}")
    assert found is not None
    return found


def late(entry: RunbookEntry, owner: Person) -> RunbookTodo:
    """A to-do whose day is over."""
    return RunbookTodo.objects.create(
        entry=entry.number, text="Tell the team", owner=owner, due=todo.today() - DAY, created_by=owner
    )


def tell() -> list[tuple[str, str]]:
    """What one round of the schedule posts: to whom, and the title."""
    with log.transaction():
        todo.overdue(None, make.SETUP)
    found = Notification.objects.filter(event="todo.overdue")
    return sorted((one.person.email if one.person else "", one.title) for one in found)


def test_a_to_do_waits_for_its_owner_until_it_is_done(entry: RunbookEntry, people: make.People) -> None:
    browser = signed_in(people.reviewer)
    asked = {"text": "Remove the flag", "owner": people.auditor.pk, "due": f"{todo.today() + DAY}"}
    assert browser.post(f"{entry.url}todo", asked).status_code == 302
    [row] = RunbookTodo.objects.all()
    assert "Remove the flag" in signed_in(people.auditor).get("/").content.decode()
    assert "Remove the flag" not in signed_in(people.operator).get("/").content.decode()
    assert "Remove the flag" in signed_in(people.operator).get("/runbook/todo/").content.decode()
    browser.post(f"/runbook/todo/{row.pk}/done")
    row.refresh_from_db()
    assert row.done_by == people.reviewer
    assert "Remove the flag" not in signed_in(people.auditor).get("/").content.decode()
    actions = Entry.objects.filter(details__todo=row.pk).order_by("seq").values_list("action", "subject")
    assert list(actions) == [("todo.added", entry.begun.subject), ("todo.done", entry.begun.subject)]


def test_an_overdue_to_do_is_red_and_told_once_a_day(
    entry: RunbookEntry, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    late(entry, people.auditor)
    [line] = [
        one for one in signed_in(people.auditor).get("/").context["overview"].lines if "Tell the team" in one.title
    ]
    assert (line.look, line.text.partition(" 2")[0]) == ("red", "overdue since")
    wanted = [(f"{who}@example.com", "Overdue: Tell the team") for who in ("auditor", "operator2", "operator")]
    assert tell() == wanted
    assert tell() == wanted
    tomorrow = todo.today() + DAY
    monkeypatch.setattr(todo, "today", lambda: tomorrow)
    assert tell() == sorted(wanted * 2)


def test_the_schedule_calls_it(entry: RunbookEntry, people: make.People) -> None:
    assert registry.JOBS["todos"].function == todo.overdue
    RunbookTodo.objects.create(
        entry=entry.number, text="x", owner=people.operator, due=todo.today(), created_by=people.operator
    )
    assert tell() == []  # its day is not over


def test_a_to_do_is_done_once(entry: RunbookEntry, people: make.People) -> None:
    one = late(entry, people.operator)
    todo.finish(one, by=people.operator)
    with pytest.raises(RunbookRefused):
        todo.finish(one, by=people.operator2)
    assert Entry.objects.filter(action=Action.TODO_DONE).count() == 1


@pytest.mark.parametrize("wrong", ["past", "nobody", "empty", "auditor"])
def test_a_to_do_needs_a_day_to_come_an_owner_with_a_role_and_a_text(
    entry: RunbookEntry, people: make.People, wrong: str
) -> None:
    with pytest.raises(RunbookRefused):
        todo.add(
            entry,
            text=" " if wrong == "empty" else "x",
            owner=people.nobody if wrong == "nobody" else people.operator,
            due=todo.today() - DAY if wrong == "past" else todo.today(),
            by=people.auditor if wrong == "auditor" else people.operator,
        )
    assert not RunbookTodo.objects.exists()


@pytest.fixture
def another_feature(people: make.People, monkeypatch: pytest.MonkeyPatch) -> None:
    """A feature whose own to-dos join the list."""

    def more() -> Iterator[OpenTodo]:
        yield OpenTodo("Switch the code to D1", people.operator, todo.today() - DAY, "/cleanup/", "reference:1")

    monkeypatch.setattr(registry, "TODOS", [*registry.TODOS, more])


@pytest.mark.usefixtures("another_feature")
def test_the_to_dos_of_another_feature_join_the_list_the_overview_and_the_notices(people: make.People) -> None:
    assert [one.title for one in todo.open_todos()] == ["Switch the code to D1"]
    for address in ("/", "/runbook/todo/"):
        assert "Switch the code to D1" in signed_in(people.operator).get(address).content.decode()
    assert ("operator@example.com", "Overdue: Switch the code to D1") in tell()


def promised(estate: make.Estate, people: make.People, *days: int) -> list[tuple[str, str]]:
    """The to-dos on the overview of the person who has one in each of so many days."""
    for n in days:
        follow_up(estate.qa.environment, people, f"{n}.ts", todo.today() + n * DAY)
    found = signed_in(people.auditor).get("/").context["overview"].lines
    return [(line.title, line.text) for line in found if "due" in line.text]


def test_to_dos_that_are_due_later_are_one_line_of_the_overview(estate: make.Estate, people: make.People) -> None:
    first = todo.today() + 4 * DAY
    assert promised(estate, people, 19, 4, 12)[-1:] == [("3 to-dos", f"the first is due {first}")]
    [line] = [one for one in signed_in(people.auditor).get("/").context["overview"].lines if "to-dos" in one.title]
    assert line.url == f"/runbook/todo/?owner={people.auditor.pk}"
    assert [one.slug for one in line.environments] == ["qa"]


def test_a_to_do_that_is_due_soon_or_overdue_keeps_a_line_of_its_own(estate: make.Estate, people: make.People) -> None:
    found = promised(estate, people, -1, 3, 12, 19)
    assert [text.split()[0] for _title, text in found] == ["overdue", "due", "the"]


def test_a_single_to_do_that_is_due_later_is_told_by_name(estate: make.Estate, people: make.People) -> None:
    [(title, text)] = promised(estate, people, 12)
    assert "12.ts" in title
    assert text == f"due {todo.today() + 12 * DAY}"


def test_the_list_is_narrowed_by_owner_and_goes_on(
    entry: RunbookEntry, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    for owner in (people.operator, people.reviewer, people.reviewer):
        late(entry, owner)
    monkeypatch.setattr("kvops.runbook.views.PAGE", 2)
    browser = signed_in(people.auditor)
    first = browser.get("/runbook/todo/").context
    assert (len(first["todos"]), first["after"]) == (2, 2)
    assert len(browser.get("/runbook/todo/?after=2").context["todos"]) == 1
    assert len(browser.get("/runbook/todo/", {"owner": people.operator.pk}).context["todos"]) == 1


def follow_up(environment: Environment, people: make.People, file: str, due: date) -> ReferenceAnswer:
    """A change of the code that an answer promises."""
    search = reference_store.store(environment, reports.report(reports.hit(file)), source="file", by=make.SETUP)
    hit, family = search.hits.get(), Family.objects.get(pattern="master:")
    what = {"kind": "follow_up", "follow_up": "flag", "owner": people.auditor, "due": due, "reason": "read by jobs"}
    return ReferenceAnswer.objects.create(
        family=family, hit=hit, fingerprint=hit.fingerprint, by=people.operator, **what
    )


def test_owner_operators_and_channel_hear_of_an_overdue_follow_up_once_a_day(
    estate: make.Estate, people: make.People
) -> None:
    Environment.objects.filter(slug="qa").update(slack="env:TEST_SLACK")
    follow_up(Environment.objects.get(slug="qa"), people, "a.ts", todo.today() - DAY)
    title = "Overdue: Remove the flag or fallback: a.ts:7"
    assert tell() == [(who and f"{who}@example.com", title) for who in ("", "auditor", "operator2", "operator")]
    message = Notification.objects.earliest("pk")
    assert message.lines == [
        f"It was due on {todo.today() - DAY}. Its owner is Auditor.",
        "SETTINGS master:*: read by jobs",
        "A later search of the code that runs closes it, once no environment has such code.",
    ]
    assert message.link.endswith("/?file=a.ts")


def test_nobody_hears_of_a_follow_up_of_today_or_of_one_that_a_search_closed(
    estate: make.Estate, people: make.People
) -> None:
    follow_up(estate.qa.environment, people, "a.ts", todo.today())
    assert tell() == []
    follow_up(estate.production.environment, people, "b.ts", todo.today() - DAY)
    report = reports.report(hours=1, commit="f" * 40)
    searched.runs(estate.production.environment, report.commit)
    reference_store.store(estate.production.environment, report, source="file", by=make.SETUP)
    assert tell() == []
