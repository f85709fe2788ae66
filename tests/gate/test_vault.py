"""The conditions for keeping a backup in 1Password, one by one and without a row, and what a start writes."""

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from django.db.models import QuerySet

from audit import log
from audit.actions import Action
from backups.exports import onepassword as onepassword_documents
from backups.models import Generation, VaultDocument
from backups.vault import documents, standing, start
from backups.vault.start import VaultRefused
from kvops import timing
from kvops.models import Environment, Namespace, Person, Role, Run
from kvops.runs import driver as run_driver
from kvops.schedules.jobs import Begun
from kvops.supervision import heartbeats
from kvops.wording import english

ACTOR = log.Actor.system("tests")
NONE = "environments.toml names no 1Password vault for this environment."
NO_WORKER = "No worker that may use 1Password was seen lately. The page “1Password” says how to set it up."


@pytest.fixture
def generation() -> Generation:
    """A verified backup of settings, in an environment with a vault."""
    environment = Environment(pk=1, slug="qa", name="QA", vault="Operations")
    namespace = Namespace(pk=2, environment=environment, binding="SETTINGS", title="SETTINGS")
    return Generation(
        pk=3, environment=environment, namespace=namespace, category="settings", status="verified", stem="s" * 301
    )


class World:
    """A worker that was seen, and the Document of the backup, if there is one."""

    def __init__(self) -> None:
        self.seen: float | None = 0.0
        self.document: VaultDocument | None = None
        self.asked, self.done = list[str](), list[object]()

    def first(self, query: QuerySet[Any]) -> VaultDocument | None:
        self.asked.append(str(query.query).split(" WHERE ", 1)[1])
        return self.document


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch, generation: Generation) -> World:
    found = World()

    def keepable(given: Generation) -> None:
        assert given is generation
        if given.keys == 7:
            raise VaultRefused("too large")

    def first(query: QuerySet[Any]) -> VaultDocument | None:
        return found.first(query)

    monkeypatch.setattr(QuerySet, "first", first)
    monkeypatch.setattr(heartbeats, "age", lambda name: found.seen if name == "onepassword" else None)
    monkeypatch.setattr(onepassword_documents, "insist_keepable", keepable)
    return found


@pytest.mark.parametrize(
    ("age", "ready"), [(None, False), (timing.CANARY_LATE, True), (timing.CANARY_LATE + 1, False), (0.0, True)]
)
def test_a_worker_was_seen_lately(world: World, age: float | None, ready: bool) -> None:
    world.seen = age
    assert start.worker_ready() is ready


@pytest.mark.parametrize(
    ("values", "offered"),
    [
        ({}, True), ({"purpose": "masters"}, False), ({"purpose": "investigation"}, False),
        ({"category": "cache"}, False), ({"status": "writing"}, False), ({"status": "complete"}, True),
    ],
)  # fmt: skip
def test_verified_backups_of_settings_are_offered(
    generation: Generation, values: dict[str, str], offered: bool
) -> None:
    for name, value in values.items():
        setattr(generation, name, value)
    assert start.is_offered(generation) is offered


def is_open(state: str) -> Run:
    return Run(pk=8, state=state)


def kept(generation: Generation, world: World) -> None:
    world.document = VaultDocument(state="kept")


def under_way(generation: Generation, world: World) -> None:
    world.document = VaultDocument(state="gone", run=is_open("running"))


def unseen(generation: Generation, world: World) -> None:
    world.seen = None


REFUSED: dict[str, Callable[[Generation, World], None]] = {
    "Only backups of settings are kept in 1Password.": lambda one, _world: setattr(one, "category", "cache"),
    NONE: lambda one, _world: setattr(one.environment, "vault", ""),
    "too large": lambda one, _world: setattr(one, "keys", 7),
    "The backup is already in the vault Operations.": kept,
    "The backup is being put into 1Password now.": under_way,
    NO_WORKER: unseen,
}


@pytest.mark.parametrize("told", REFUSED)
def test_a_backup_that_cannot_be_kept_says_why(generation: Generation, world: World, told: str) -> None:
    REFUSED[told](generation, world)
    assert english(start.why_not(generation)) == told


@pytest.mark.parametrize(
    "document", [None, VaultDocument(state="gone"), VaultDocument(state="gone", run=Run(pk=8, state="failed"))]
)
def test_a_backup_is_kept_if_nothing_is_in_the_way(
    generation: Generation, world: World, document: VaultDocument | None
) -> None:
    world.document = document
    assert start.why_not(generation) == ""
    assert world.asked == [
        '("backups_vaultdocument"."generation_id" = 3 AND "backups_vaultdocument"."vault" = Operations)'
    ]


# The start


@pytest.fixture
def started(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """A transaction is open; what is locked, written and recorded is noted."""

    def created(*given: object, **named: object) -> Run:
        world.done.append((*given, named))
        return Run(pk=8)

    def locked(query: QuerySet[Any], **of: object) -> None:
        world.done.append((query.query.select_for_update_of, query.query.select_for_no_key_update, of))

    monkeypatch.setattr(log, "insist", lambda: world.done.append("insisted"))
    monkeypatch.setattr(QuerySet, "get", locked)
    monkeypatch.setattr(run_driver, "create", created)
    monkeypatch.setattr(QuerySet, "update_or_create", lambda _query, **named: world.done.append(named))
    monkeypatch.setattr(log, "record", lambda action, **named: world.done.append((action, named)))
    return world


@pytest.mark.parametrize("person", [None, Person(pk=5, name="Anna")])
def test_a_start_writes_the_run_the_document_and_the_entry(
    generation: Generation, started: World, person: Person | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Person, "holds", lambda _person, role: role == Role.OPERATOR)
    run = start.create_keeping(generation, actor=ACTOR, person=person)
    of_run = {
        "subject": "generation:3", "label": "s" * 300, "actor": ACTOR, "person": person,
        "environment": generation.environment,
    }  # fmt: skip
    asked = {"run": run, "person": person, "actor": ACTOR.text}
    details = {"vault": "Operations", "run": 8}
    assert started.done == [
        "insisted",
        (("self",), True, {"pk": 3}),
        (Run.Kind.VAULT, of_run),
        {"generation": generation, "vault": "Operations", "defaults": asked},
        (Action.VAULT_ASKED, {"actor": ACTOR, **generation.audited, "details": details}),
    ]


def test_only_an_operator_starts_it(generation: Generation, started: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Person, "holds", lambda _person, role: role != Role.OPERATOR)
    with pytest.raises(VaultRefused) as refused:
        start.create_keeping(generation, actor=ACTOR, person=Person(pk=5))
    assert (str(refused.value), started.done) == ("Only an operator can start it.", ["insisted"])


def test_what_cannot_be_kept_is_not_started(generation: Generation, started: World) -> None:
    generation.environment.vault = ""
    with pytest.raises(VaultRefused):
        start.create_keeping(generation, actor=ACTOR)
    assert len(started.done) == 2


def test_a_backup_is_kept_now_and_recorded(generation: Generation, monkeypatch: pytest.MonkeyPatch) -> None:
    put, done = SimpleNamespace(title="t"), list[object]()
    of = {(generation.pk, "Operations"): put}
    monkeypatch.setattr(log, "transaction", nullcontext)
    monkeypatch.setattr(onepassword_documents, "put_document", lambda given, vault: of[given.pk, vault])
    monkeypatch.setattr(documents, "record_kept", lambda *given, **named: done.append((*given, named)))
    assert start.keep_now(generation, "Operations", actor=ACTOR) == "t"
    assert done == [(generation, "Operations", put, {"actor": ACTOR, "person": None})]


# The schedule


class DueKeeping:
    """The backups that wait, and the runs that a due time makes of them."""

    def __init__(self, environment: Environment) -> None:
        self.environment, self.waiting, self.stored = environment, list[int](), False
        self.refused = ""

    def lines(self, environment: Environment) -> list[SimpleNamespace]:
        assert environment is self.environment
        return [SimpleNamespace(to_keep=self.waiting[:15]), SimpleNamespace(to_keep=self.waiting[15:])]

    def keep(self, generation: int, *, actor: log.Actor) -> str:
        assert actor is ACTOR
        if generation == 1 and self.refused:
            raise VaultRefused(self.refused)
        return f"run of {generation}"

    def documents(self, environment: Environment) -> SimpleNamespace:
        assert environment is self.environment
        return SimpleNamespace(exists=lambda: self.stored)


@pytest.fixture
def due(generation: Generation, monkeypatch: pytest.MonkeyPatch) -> DueKeeping:
    found = DueKeeping(generation.environment)
    monkeypatch.setattr(standing, "lines", found.lines)
    monkeypatch.setattr(start, "create_keeping", found.keep)
    monkeypatch.setattr(documents, "stored", found.documents)
    monkeypatch.setattr(run_driver, "create", lambda *given, **named: (given, named))
    return found


LOOK = (
    (Run.Kind.VAULT_CHECK,),
    {"subject": "vault:1", "label": "1Password: Operations", "actor": ACTOR},
)


def test_a_due_time_keeps_twenty_and_looks_at_the_others(due: DueKeeping) -> None:
    due.waiting, due.stored = list(range(1, 22)), True
    found = start.scheduled(due.environment, ACTOR)
    look = (LOOK[0], {**LOOK[1], "environment": due.environment})
    assert found == Begun(runs=[*(f"run of {number}" for number in range(1, 21)), look])  # type: ignore[list-item]


def test_a_refused_backup_keeps_no_other_back(due: DueKeeping) -> None:
    due.waiting, due.refused = [1, 2], "too large"
    assert start.scheduled(due.environment, ACTOR) == Begun(runs=["run of 2"], refused=["too large"])  # type: ignore[list-item]


def test_a_look_that_is_refused_is_told(due: DueKeeping, monkeypatch: pytest.MonkeyPatch) -> None:
    def running(*_given: object, **_named: object) -> None:
        raise VaultRefused("it runs")

    due.stored = True
    monkeypatch.setattr(run_driver, "create", running)
    assert start.scheduled(due.environment, ACTOR) == Begun(refused=["it runs"])


@pytest.mark.parametrize("waiting", [[], [1]])
def test_without_a_worker_only_what_waits_is_told(due: DueKeeping, world: World, waiting: list[int]) -> None:
    world.seen, due.waiting, due.stored = None, waiting, True
    assert start.scheduled(due.environment, ACTOR) == Begun(refused=[start.NO_WORKER] if waiting else [])


def test_without_a_vault_a_due_time_does_nothing(due: DueKeeping) -> None:
    due.environment.vault, due.waiting, due.stored = "", [1], True
    assert start.scheduled(due.environment, ACTOR) == Begun()


# What a look finds


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch, generation: Generation) -> Callable[[str, str], tuple[object, ...]]:
    """A look at a Document in one state that finds it in another: the answer, and what was written."""

    def look(before: str, found: str) -> tuple[object, ...]:
        done = list[object]()
        names = {"vault": "Operations", "title": "t", "item": "i", "sha256": "h"}
        document = VaultDocument(pk=6, generation=generation, **names)

        def get(query: QuerySet[Any], **of: object) -> VaultDocument:
            assert (query.query.select_for_update_of, of) == (("self",), {"pk": 6})
            return VaultDocument(pk=6, state=before)

        def update(query: QuerySet[Any], **values: object) -> None:
            where = str(query.query).split(" WHERE ", 1)[1]
            assert where == '"backups_vaultdocument"."id" = 6'
            done.append({name: type(one).__name__ if name.endswith("_at") else one for name, one in values.items()})

        monkeypatch.setattr(log, "insist", lambda: None)
        monkeypatch.setattr(QuerySet, "get", get)
        monkeypatch.setattr(QuerySet, "update", update)
        monkeypatch.setattr(log, "record", lambda action, **named: done.append((action, named)))
        return documents.record_look(document, VaultDocument.State(found), actor=ACTOR), *done

    return look


FOUND = {"state": "kept", "seen_at": "Now", "lost_at": "NoneType"}


def entry(action: Action, generation: Generation) -> object:
    details = {"vault": "Operations", "title": "t", "item": "i"}
    return action, {"actor": ACTOR, **generation.audited, "digest": "h", "details": details}


Looked = Callable[[str, str], tuple[object, ...]]


def test_a_look_writes_what_it_found(looked: Looked, generation: Generation) -> None:
    gone, changed = ({"state": one, "lost_at": "Now"} for one in ("gone", "changed"))
    assert looked("waiting", "gone") == (False,)
    assert looked("kept", "kept") == (False, FOUND)
    assert looked("gone", "kept") == (False, FOUND, entry(Action.VAULT_BACK, generation))
    assert looked("kept", "gone") == (True, gone, entry(Action.VAULT_GONE, generation))
    assert looked("gone", "changed") == (True, changed, entry(Action.VAULT_CHANGED, generation))
    assert looked("gone", "gone") == looked("changed", "changed") == (False,)
