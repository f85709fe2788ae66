"""The table's part about the runbook."""

from datetime import date

from django.db.models.functions import Now

from kvops.models import RunbookNote, RunbookTodo, StatedOperation
from tests.constraints.backups_world import BackupsWorld
from tests.constraints.estate import HOUR, change
from tests.constraints.rows import EPOCH, RowAttempt, columns

NOTE: dict[str, object] = {"id": 0, "entry": 9, "author_id": 0, "at": EPOCH, "text": "y"}
STATED: dict[str, object] = {
    "id": 0,
    "verb": "put",
    "person_id": 0,
    "done_at": EPOCH,
    "environment_id": 0,
    "binding": "y",
    "command": "y",
    "names": ["y"],
    "reason": "not read any more",
    "stated_by_id": 0,
    "at": EPOCH,
}
TODO: dict[str, object] = {
    "id": 0,
    "entry": 9,
    "text": "y",
    "owner_id": 0,
    "due": date(2027, 1, 1),
    "created_by_id": 0,
    "created_at": EPOCH,
}
DONE = {"done_by_id", "done_at"}


def note(w: BackupsWorld, **values: object) -> RunbookNote:
    """A note on an entry."""
    return RunbookNote.objects.create(**{"entry": 1, "author": w.operator, "text": "x", **values})


def stated(w: BackupsWorld, **values: object) -> StatedOperation:
    """A read that a person did by hand."""
    what = {"verb": "get", "person": w.operator, "stated_by": w.operator, "done_at": Now() - HOUR}
    key = {"environment": w.environment, "binding": "SETTINGS", "names": ["a"], "reason": "no longer needed"}
    return StatedOperation.objects.create(**{**what, **key, **values})


def todo(w: BackupsWorld, **values: object) -> RunbookTodo:
    """A to-do that is open."""
    what = {"entry": 1, "text": "x", "owner": w.operator, "due": date(2026, 1, 1), "created_by": w.operator}
    return RunbookTodo.objects.create(**{**what, **values})


def done(w: BackupsWorld) -> RunbookTodo:
    """A to-do that is done."""
    return todo(w, done_by=w.operator, done_at=Now())


RUNBOOK = [
    *columns("a note of the runbook is never edited", note, NOTE),
    RowAttempt("a note of the runbook is never deleted", lambda w: note(w).delete()),
    RowAttempt("note_says_something", lambda w: note(w, text="")),
    *columns("a stated operation is never edited", stated, STATED),
    RowAttempt("a stated operation is never deleted", lambda w: stated(w).delete()),
    RowAttempt("stated_verb_is_known", lambda w: stated(w, verb="list")),
    RowAttempt("stated_is_of_the_past", lambda w: stated(w, done_at=Now() + HOUR)),
    RowAttempt("stated_names_a_key", lambda w: stated(w, names=[])),
    RowAttempt("stated_says_why", lambda w: stated(w, reason="")),
    *columns("a to-do of the runbook cannot be edited", todo, TODO, {"done_by": None}),
    RowAttempt("a to-do of the runbook is done once", lambda w: change(done(w), done_by=w.other)),
    RowAttempt(
        "a to-do of the runbook is done once", lambda w: change(done(w), done_by=None, done_at=None), "open again"
    ),
    RowAttempt("a to-do of the runbook is never deleted", lambda w: todo(w).delete()),
    RowAttempt("todo_says_something", lambda w: todo(w, text="")),
    RowAttempt("todo_done_by_someone", lambda w: change(todo(w), done_at=Now()), "by nobody"),
    RowAttempt("todo_done_by_someone", lambda w: change(todo(w), done_by=w.other), "at no time"),
]
