"""The operations of all features, as one table for each part. `collect` fills them while the apps start."""

from collections.abc import Callable, Iterable, Mapping, MutableMapping
from dataclasses import replace
from importlib import import_module
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise

from audit.actions import Action
from kvops.models import ApprovalRequest, Environment, NotificationEvent, Person, Run
from kvops.operations import looks
from kvops.operations.parts import (
    BackupRead,
    BadgeCount,
    DoctorCheck,
    FeatureOperation,
    Notice,
    OwnChange,
    Procedure,
    Question,
    RequestKind,
    RunKind,
    ScheduledJob,
    SubjectKind,
)

SUBJECTS: dict[str, SubjectKind] = {}
REQUESTS: dict[str, RequestKind] = {}
RUNS: dict[str, RunKind] = {}
JOBS: dict[str, ScheduledJob] = {}
NOTICES: dict[NotificationEvent, Notice] = {}
PROCEDURES: dict[str, tuple[Procedure, ...]] = {}
BEGINS: dict[Action, str] = {}
QUIET: list[Action] = []
FIGURES: dict[str, str | Promise] = {}
OWN_CHANGES: dict[OwnChange, list[Callable[[], str]]] = {change: [] for change in OwnChange}
READS: list[BackupRead] = []
LOOKS: list[Callable[[Environment], object]] = []
DOCTOR: list[DoctorCheck] = []
ALARMS: list[Callable[..., Iterable[Any]]] = []
STEPS: list[Callable[[Person], Iterable[Any]]] = []
TODOS: list[Callable[[], Iterable[Any]]] = []
BADGES: list[BadgeCount] = []
BOARDS: list[Callable[..., Any]] = []
STATES: dict[str, looks.Look] = dict(looks.SHARED)
ANSWERS: dict[Question, Callable[..., Any]] = {}


def collect(packages: Iterable[str]) -> None:
    """Add the operation of each package. A package comes after those whose runs it follows.

    Raises ImproperlyConfigured for a part that two features claim.
    """
    for package in packages:
        _add(import_module(f"{package}.operation").OPERATION)


def missing() -> list[str]:
    """The kinds of run, of request and of notice, and the questions, that no feature claims."""
    tables = ((Run.Kind, RUNS), (ApprovalRequest.Kind, REQUESTS), (NotificationEvent, NOTICES), (Question, ANSWERS))
    return [f"{kind!r}" for kinds, table in tables for kind in kinds if kind not in table]


def ask(question: Question, *given: object) -> Any:
    """The answer of the one feature that has it."""
    return ANSWERS[question](*given)


def look_of(state: str) -> looks.Look:
    """The word, colour and icon of a state. One that only newer code knows is shown as it is stored, in grey."""
    return STATES.get(state) or unknown(state)


def unknown(state: str) -> looks.Look:
    """The look of a state without an entry."""
    return looks.Look(state.replace("_", " ").capitalize(), *looks.QUIET)


def _add(one: FeatureOperation) -> None:
    _claim(SUBJECTS, one.subjects)
    _claim(REQUESTS, {str(kind): request for kind, request in one.requests.items()})
    _claim(RUNS, {str(kind): RunKind(handler) for kind, handler in one.runs.items()})
    for kind, finished in one.after.items():
        RUNS[kind] = replace(RUNS[kind], finished=(*RUNS[kind].finished, finished))
    for kind, resumed in one.resumed.items():
        RUNS[kind] = replace(RUNS[kind], resumed=(*RUNS[kind].resumed, resumed))
    _claim(JOBS, one.jobs)
    _claim(NOTICES, one.notices)
    _claim(BEGINS, one.begins)
    _claim(FIGURES, one.figures)
    _claim(ANSWERS, one.answers)
    _claim(STATES, one.states)
    QUIET.extend(one.quiet)
    READS.extend(one.reads)
    LOOKS.extend(one.looks)
    DOCTOR.extend(one.doctor)
    ALARMS.extend(one.alarms)
    STEPS.extend(one.steps)
    TODOS.extend(one.todos)
    BADGES.extend(one.badges)
    if one.board:
        BOARDS.append(one.board)
    for change, function in one.own_changes.items():
        OWN_CHANGES[change].append(function)
    for procedure in one.procedures:
        PROCEDURES[procedure.name] = (*PROCEDURES.get(procedure.name, ()), procedure)


def _claim[K, V](table: MutableMapping[K, V], mine: Mapping[K, V]) -> None:
    if twice := table.keys() & mine.keys():
        raise ImproperlyConfigured(f"Two features have {twice}.")
    table.update(mine)
