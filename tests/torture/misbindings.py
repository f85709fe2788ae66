"""`misbindings` (A8): production is bound to what it should not be, at every moment from the definition to the worker.

Each in turn is put into the file that defines the environments, then written past every rule after the approval, and
after the claim. Nothing may be deleted, nothing but the fake Cloudflare may be called, and nothing unknown of it.
"""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import httpx
from django.db import IntegrityError

from backups.cleanup import requests as cleanup_requests
from backups.cleanup.stages import CleanupRefused
from backups.models import CleanupRequest, CleanupStage
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.environments import apply as environments_apply
from kvops.environments.effect import Applied
from kvops.environments.toml import DefinitionRefused
from kvops.models import Database, Environment, Namespace, Run
from kvops.runs import driver as run_driver
from tests import judge, make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.fakes.cloudflare import FakeCloudflare
from tests.gate import world as gate
from tests.torture import empty_estate
from tests.torture.rows import Found, TortureFigure, TortureRow, total

QA, PRODUCTION = "qa", "production"
MOMENTS = ("defined", "approved", "claimed")


@dataclass
class MisbindingGround:
    """The estate with an approved deletion of production, and a foreign server."""

    estate: make.Estate
    people: make.People
    request: CleanupRequest
    foreign: FakeCloudflare
    called: list[tuple[str, str]] = field(default_factory=list)

    def stage(self) -> CleanupStage:
        """As it is now."""
        return cleanup_helpers.stage_of(self.request, PRODUCTION)


@dataclass(frozen=True)
class Misbinding:
    """One wrong binding: in the file, in the rows, at Cloudflare."""

    name: str
    rows: Callable[[MisbindingGround], object]
    text: Callable[[str, MisbindingGround], str] | None = None


def swapped(one: str, other: str) -> Callable[[str, MisbindingGround], str]:
    """Two texts change places in the file."""
    return lambda text, _: text.replace(one, "\0").replace(other, one).replace("\0", other)


def swap_columns(*names: str) -> Callable[[MisbindingGround], None]:
    """The two environments change values; what must differ is out of the way meanwhile."""

    def change(_ground: MisbindingGround) -> None:
        qa, production = (Environment.objects.get(slug=slug) for slug in (QA, PRODUCTION))
        between = {name: 99 for name in names if name == "order"}
        gate.tampered(qa, **{name: between.get(name, getattr(production, name)) for name in names})
        gate.tampered(production, **{name: getattr(qa, name) for name in names})
        gate.tampered(qa, **{name: getattr(production, name) for name in names})

    return change


def set_columns(**values: str) -> Callable[[MisbindingGround], None]:
    """Production gets other values."""
    return lambda _: gate.tampered(Environment.objects.get(slug=PRODUCTION), **values)


def swap_databases(_ground: MisbindingGround) -> None:
    """Production is checked against QA's database."""
    for slug, other in ((QA, PRODUCTION), (PRODUCTION, QA)):
        gate.tampered(Database.objects.get(environment__slug=slug), database_id=make.DATABASES[other])


def one_secret(_ground: MisbindingGround) -> None:
    """Behind both references is the same token."""
    os.environ["PRODUCTION_WRITE"] = "production-read-token"


def renamed(ground: MisbindingGround) -> None:
    """Somebody gave the namespace another title."""
    ground.estate.cloudflare.namespace(make.NAMESPACES[PRODUCTION]).title = "another"


def recreated(ground: MisbindingGround) -> None:
    """The namespace was deleted, and made again under the same title."""
    api = ground.estate.cloudflare._api
    kept = api.namespaces.pop(make.NAMESPACES[PRODUCTION])
    api.namespaces["f" * 32] = kept


def one_namespace(_ground: MisbindingGround) -> None:
    """Both environments say the same."""
    gate.tampered(Namespace.objects.get(environment__slug=PRODUCTION), namespace_id=make.NAMESPACES[QA])


def another_binding(_ground: MisbindingGround) -> None:
    """The binding is not there any more."""
    gate.tampered(Namespace.objects.get(environment__slug=PRODUCTION), binding="OTHER")


def elsewhere(ground: MisbindingGround) -> None:
    """Another server, which the settings allow."""
    gate.tampered(Environment.objects.get(slug=PRODUCTION), api_base_url=ground.foreign.base_url)


def replaced(old: str, new: str) -> Callable[[str, MisbindingGround], str]:
    """Another text in the file."""
    return lambda text, _: text.replace(old, new)


def moved(text: str, ground: MisbindingGround) -> str:
    """Production at another server, in the file."""
    before, production = text.split('slug = "production"')
    here, there = ground.estate.cloudflare.base_url, ground.foreign.base_url
    return f'{before}slug = "production"{production.replace(here, there)}'


def nowhere(text: str, ground: MisbindingGround) -> str:
    """All of the file at a server that is not among the allowed ones."""
    return text.replace(ground.estate.cloudflare.base_url, FOREIGN)


FOREIGN = "https://api.example.com/client/v4"
ACCOUNT, OTHER = make.ACCOUNTS[QA], make.ACCOUNTS[PRODUCTION]
TOKENS = ("read_token", "write_token")
WRITE, READ = "env:PRODUCTION_WRITE", "env:PRODUCTION_READ"
CASES = (
    Misbinding("one namespace", one_namespace, replaced(make.NAMESPACES[PRODUCTION], make.NAMESPACES[QA])),
    Misbinding("accounts swapped", swap_columns("account_id"), swapped(ACCOUNT, OTHER)),
    Misbinding("tokens swapped between the environments", swap_columns(*TOKENS), swapped("env:QA_", "env:PRODUCTION_")),
    Misbinding("one token to read and to write", one_secret, replaced(WRITE, READ)),
    Misbinding(
        "a write token of another account", set_columns(write_token="env:QA_WRITE"), replaced(WRITE, "env:QA_WRITE")
    ),
    Misbinding("a read token of another account", set_columns(read_token="env:QA_READ"), replaced(READ, "env:QA_READ")),
    Misbinding("read and write token swapped", set_columns(read_token=WRITE, write_token=READ), swapped(READ, WRITE)),
    Misbinding("another title", renamed),
    Misbinding("deleted and made again", recreated),
    Misbinding("bucket swapped", set_columns(r2_bucket="qa-media")),
    Misbinding("databases swapped", swap_databases, swapped(make.DATABASES[QA], make.DATABASES[PRODUCTION])),
    Misbinding("another server", elsewhere, moved),
    Misbinding("a server that the settings do not allow", set_columns(api_base_url=FOREIGN), nowhere),
    Misbinding("order and production swapped", swap_columns("order", "production"), swapped("order = 1", "order = 2")),
    Misbinding("the binding is missing", another_binding, replaced('"2222', '"3222')),
)


TRIALS = [(case, moment) for case in CASES for moment in MOMENTS if case.text or moment != "defined"]
"""What is not in the file cannot be wrong in it."""


def _trial(ground: MisbindingGround, number: int) -> Found:
    case, moment = TRIALS[number % len(TRIALS)]
    journal = ground.estate.cloudflare.journal
    start, found = len(journal), Found(trial=1)
    with _restored(ground), gate.undone():
        if moment == "defined":
            found["in_force"] = _in_force(ground, case)
        else:
            found["by_the_database"] = _carry_out(ground, case, moment)
    calls = journal[start:]
    found["deleted"] = any(call.deleted for call in calls)
    found["attempts"] = any(call.route == "bulk_delete" for call in calls)
    ours = httpx.URL(ground.estate.cloudflare.base_url).netloc.decode()
    # A server that the settings allow is looked at before a second person is asked about it.
    looked_at = {("GET", httpx.URL(ground.foreign.base_url).netloc.decode())} if moment == "defined" else set()
    found["foreign"] = sum(call[1] != ours and call not in looked_at for call in ground.called)
    found["unknown"] = len(judge.problems(calls, [])) if not found["deleted"] else 1
    if any(found.get(name) for name in ("in_force", "deleted", "attempts", "foreign", "unknown")):
        print(f"{case.name}, {moment}: {found}")
    ground.called.clear()
    return found


@contextmanager
def _restored(ground: MisbindingGround) -> Iterator[None]:
    """What a case does outside the database is taken back, and every call noted."""
    api, secret = ground.estate.cloudflare._api, os.environ["PRODUCTION_WRITE"]
    namespace = api.namespaces[make.NAMESPACES[PRODUCTION]]
    handle = httpx.HTTPTransport.handle_request

    def note(self: httpx.HTTPTransport, request: httpx.Request) -> httpx.Response:
        ground.called.append((request.method, request.url.netloc.decode()))
        return handle(self, request)

    with patch.object(httpx.HTTPTransport, "handle_request", note):
        yield
    os.environ["PRODUCTION_WRITE"] = secret
    api.namespaces.pop("f" * 32, None)
    api.namespaces[make.NAMESPACES[PRODUCTION]] = namespace
    namespace.title = "production-settings"


def _in_force(ground: MisbindingGround, case: Misbinding) -> bool:
    """Whether the wrong file takes effect without a second person."""
    assert case.text
    try:
        applied = environments_apply.apply_environments(case.text(_file(), ground), actor=make.SETUP)
    except (DefinitionRefused, approval_gate.ApprovalRefused):
        return False
    return isinstance(applied, Applied)


def _file() -> str:
    """The environments in force as their file; the JSON of a text, a number or a flag is its TOML too."""
    return "\n".join(
        f"[[environment]]\n{_lines(plain)}{_tables(one)}[environment.r2]\n{_lines(one['r2'])}"
        for one in _data()
        for plain in [{name: value for name, value in one.items() if name not in {"kv", "d1", "r2"}}]
    )


def _data() -> list[dict[str, Any]]:
    data: dict[str, Any] = environments_apply.Environments.in_force().as_data()
    return list(data["environment"])


def _tables(one: Mapping[str, Any]) -> str:
    return "".join(f"[[environment.{name}]]\n{_lines(row)}" for name in ("kv", "d1") for row in one[name])


def _lines(values: Mapping[str, object]) -> str:
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in values.items())


def _carry_out(ground: MisbindingGround, case: Misbinding, moment: str) -> bool:
    """Start the deletion and let a worker come to an end with it; whether the database itself refused the binding."""
    try:
        if moment == "claimed":
            cleanup_requests.start_deletion(ground.stage(), by=ground.people.operator)
        case.rows(ground)
        if moment == "approved":
            cleanup_requests.start_deletion(ground.stage(), by=ground.people.operator)
    except IntegrityError:
        return True
    except (CleanupRefused, approval_gate.ApprovalRefused):
        return False
    run = Run.objects.get(approval_id=ground.stage().approval_id)
    for _ in range(10):
        Run.objects.filter(pk=run.pk).update(wake_at=None)
        run_driver.drive(run.pk)
    return False


def _misbindings(_seed: int, numbers: Sequence[int]) -> Iterator[tuple[int, Found]]:
    with ExitStack() as stack:
        made = stack.enter_context(empty_estate.estate())
        stack.enter_context(patch.object(timing, "SETTLE", 0.02))
        stack.enter_context(patch.object(timing, "STALE", 0.0))
        foreign = stack.enter_context(FakeCloudflare())
        stack.enter_context(gate.undone())
        people = make.everybody()
        cleanup_helpers.estate_with_masters(made)
        request = cleanup_helpers.asked(people)
        cleanup_helpers.accepted(request, people)
        cleanup_helpers.approved(request, people, PRODUCTION)
        ground = MisbindingGround(made, people, request, foreign)
        for number in numbers:
            empty_estate.fresh_budget()
            yield number, _trial(ground, number)
        _untouched(ground)


def _untouched(ground: MisbindingGround) -> None:
    """Rightly bound it is carried out, or the trials would prove nothing."""
    cleanup_requests.start_deletion(ground.stage(), by=ground.people.operator)
    make.work()
    if set(cleanup_helpers.journal(ground.estate, PRODUCTION)) != set(cleanup_helpers.NAMES):
        raise AssertionError("The deletion that is bound rightly was not carried out.")


def _figures(found: Sequence[Found]) -> list[TortureFigure]:
    return [
        TortureFigure("mis-bindings, at the moments they can come about", len(found)),
        TortureFigure("put in force by one person", total(found, "in_force"), "==", 0),
        TortureFigure("deleted something", total(found, "deleted"), "==", 0),
        TortureFigure("sent a delete before it was refused", total(found, "attempts"), "==", 0),
        TortureFigure("calls to another server", total(found, "foreign"), "==", 0),
        TortureFigure("calls that are not the product's", total(found, "unknown"), "==", 0),
    ]


ROWS = (TortureRow("misbindings", "A8", n=len(TRIALS), slice=14, trials=_misbindings, figures=_figures),)
