"""The list of to-dos: those on entries of the runbook, the follow-ups of the code, and those of other features.

There is one list with one notice and one line of the overview, wherever a to-do comes from.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from django.db.models.functions import Now
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.text import capfirst
from django.utils.translation import gettext_lazy as _

from audit import log
from audit.actions import Action
from kvops import clock
from kvops.models import Environment, NotificationEvent, Person, ReferenceAnswer, ReferenceHit, RunbookTodo
from kvops.notifications import outbox
from kvops.operations import registry
from kvops.references import reading
from kvops.runbook.entries import RunbookEntry, entry_of
from kvops.runbook.secrets import RunbookRefused, insist_keeper, insist_no_secret
from kvops.schedules.jobs import Begun
from kvops.wording import labelled, say

LONGEST_LINK = 500
"""Characters. The longest link of a notification."""


@dataclass(frozen=True)
class OpenTodo:
    """Something that waits for its owner until a day. `subject` is as in the audit log, `address` its page.

    `done` is the address that a person posts to when it is done. Otherwise `closes` says how it is closed.
    One that `attends` to a problem stands for its alarm.
    """

    title: str
    owner: Person
    due: date
    address: str
    subject: str
    environment: Environment | None = None
    note: str = ""
    done: str = ""
    closes: str = ""
    attends: bool = False


def today(now: datetime | None = None) -> date:
    """The day in the team's time zone, by the database's clock; at `now`, if the caller knows its time."""
    return timezone.localdate(now or clock.now())


def of_entries() -> Iterator[OpenTodo]:
    """The open to-dos on entries of the runbook."""
    for one in RunbookTodo.objects.filter(done_at=None).select_related("owner").order_by("due", "pk"):
        yield OpenTodo(
            one.text,
            one.owner,
            one.due,
            reverse("runbook-entry", args=[one.entry]),
            f"todo:{one.pk}",
            done=reverse("runbook-todo-done", args=[one.pk]),
        )


def of_code() -> Iterator[OpenTodo]:
    """The open follow-ups: changes of the code that an answer to a hit promises."""
    for one in reading.open_follow_ups():
        if one.owner and one.due:  # always, by constraint
            change = capfirst(ReferenceAnswer.FollowUp(one.follow_up).label)
            yield OpenTodo(
                say(_("%(change)s: %(place)s"), change=change, place=one.hit),
                one.owner,
                one.due,
                _hit_page(one.hit),
                f"answer:{one.pk}",
                one.hit.search.environment,
                note=labelled(f"{one.family.binding} {one.family}", one.reason),
                closes=say(_("A later search of the code that runs closes it, once no environment has such code.")),
            )


def _hit_page(hit: ReferenceHit) -> str:
    """The page of the hit's search, narrowed to its file if the address stays short enough for a message."""
    page = reverse("references-search", args=[hit.search.environment.slug, hit.search_id])
    narrowed = f"{page}?{urlencode({'file': hit.file})}"
    return narrowed if len(narrowed) <= LONGEST_LINK else page


def open_todos(owner: Person | None = None) -> list[OpenTodo]:
    """The open to-dos of all features, or those of one owner, the next one first."""
    found = [one for todos_of in registry.TODOS for one in todos_of() if owner in (None, one.owner)]
    return sorted(found, key=lambda one: (one.due, one.subject))


def add(entry: RunbookEntry, *, text: str, owner: Person, due: date, by: Person) -> RunbookTodo:
    """Add a to-do to an entry. Raises RunbookRefused."""
    text = text.strip()
    if not text:
        raise RunbookRefused(_("Write something."))
    insist_no_secret(text)
    with log.transaction():
        insist_keeper(by)
        if due < today():
            raise RunbookRefused(_("Choose a day from today on."))
        if not owner.roles():
            raise RunbookRefused(_("The owner must hold a role."))
        made = RunbookTodo.objects.create(entry=entry.number, text=text, owner=owner, due=due, created_by=by)
        _record(Action.TODO_ADDED, entry, made, by)
    return made


def finish(todo: RunbookTodo, *, by: Person) -> None:
    """Mark a to-do as done. Raises RunbookRefused."""
    entry = entry_of(todo.entry)
    with log.transaction():
        insist_keeper(by)
        if RunbookTodo.objects.filter(pk=todo.pk, done_at=None).update(done_by=by, done_at=Now()) != 1:
            raise RunbookRefused(_("This to-do is done already."))
        _record(Action.TODO_DONE, entry, todo, by)


def overdue(_environment: Environment | None, _actor: log.Actor) -> Begun:
    """Notify owner, operators and channel of each to-do whose day is over, once a day until it is done."""
    day = today()
    for one in open_todos():
        if one.due < day:
            outbox.post(
                NotificationEvent.TODO_OVERDUE,
                subject=one.subject,
                occasion=day.isoformat(),
                title=say(_("Overdue: %(todo)s"), todo=one.title),
                lines=[
                    say(_("It was due on %(due)s. Its owner is %(owner)s."), due=one.due, owner=one.owner.name),
                    *filter(None, (one.note, one.closes)),
                ],
                link=one.address,
                environment=one.environment,
                to=[one.owner],
            )
    return Begun()


def _record(action: Action, entry: RunbookEntry | None, todo: RunbookTodo, by: Person) -> None:
    subject = entry.begun.subject if entry else f"todo:{todo.pk}"
    log.record(
        action,
        actor=by.actor,
        environment=entry.begun.environment if entry else "",
        subject=subject,
        subject_label=entry.begun.subject_label if entry else "",
        details={
            "entry": todo.entry,
            "todo": todo.pk,
            "text": todo.text,
            "owner": str(todo.owner),
            "due": todo.due.isoformat(),
        },
    )
