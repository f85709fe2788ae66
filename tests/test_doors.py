"""Every address × everybody: a new address without a row here fails, and so does a door that is too wide.

A row says what a GET and a POST are answered with for somebody signed out, somebody without a role, an operator, a
reviewer and an auditor. `LOGIN` is a redirect to the sign-in; 302 is any other, such as that to the page after a form.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http.cookies import SimpleCookie
from typing import Protocol
from urllib.parse import quote

import pytest
from django.db import transaction
from django.http.response import ResponseHeaders
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse

from audit import log
from backups.bucket import protection as bucket_protection
from backups.changes.bulk import start as bulk_start
from backups.comparisons import start as comparison_start
from backups.drills import requests as drill_requests
from backups.investigations import requests as investigation_requests
from backups.models import (
    CleanupStage,
    ClearingRound,
    ComparisonEntry,
    Difference,
    Generation,
    KeyChange,
    OutsideSearch,
    PlainDump,
    Restore,
    StoredObject,
)
from backups.restores import selection as restore_selection
from backups.retention import pins
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.models import (
    ApprovalRequest,
    Category,
    DeployedCode,
    Family,
    Notification,
    Person,
    Role,
    Run,
    Scan,
    Schedule,
)
from kvops.references import store as reference_store
from kvops.runbook import entries as runbook_entries, todo as runbook_todo
from kvops.runs import driver as run_driver
from kvops.schedules import jobs as schedule_jobs
from tests import make
from tests.backups.changes.bulk import helpers as bulk_helpers
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.clearing import helpers as clearing_helpers
from tests.backups.families import registering
from tests.backups.retention import requesting
from tests.kvops.references import reports
from tests.kvops.runbook.test_by_hand import state
from tests.signing import signed_in

LOGIN = 0
ODD = "master:a:\u202egpj"
"""A name with a mark that turns the letters after it around."""
VISITORS = ("signed out", "nobody", "operator", "reviewer", "auditor")
NO_PAGE = re.compile(r"[-_:](live|file|names|csv|download|outcomes|objects|module|configuration|steps|results)$|z$")
"""Addresses that are no pages: parts of a page, files, and the answers for probes."""

type Codes = tuple[int, int, int, int, int]
type Arguments = Callable[["DoorsWorld"], list[object]]


@dataclass(frozen=True)
class DoorsWorld:
    """One of everything the addresses name."""

    stage: CleanupStage
    generation: Generation
    approval: ApprovalRequest
    change: int
    check: int
    dump: int
    missing: int
    pin: int
    prune: int
    run: int
    restore: int
    drill: int
    clearing: int
    round: int
    investigation: int
    comparison: list[object]
    key_change: int
    notification: int
    schedule: int
    entry: int
    stated: int
    todo: int
    search: int
    family: int
    outside: int
    bulk: int


@pytest.fixture
def world(estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch) -> DoorsWorld:
    monkeypatch.setattr(timing, "SENT_TWICE", 0)  # the stage was submitted long ago
    estate.put(estate.qa, "page:a")
    make.family("page:", Category.CACHE, expiry="ttl:86400")
    cleanup_helpers.estate_with_masters(estate, [*cleanup_helpers.NAMES, ODD])
    stage = cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    assert stage.generation is not None
    assert stage.approval is not None
    change = make.prepared_policy()
    dump = PlainDump.objects.create(
        namespace=estate.qa, prefixes=["master:"], host="h", path="/p", sha256="0" * 64, keys=1, bytes=1, actor="cli:x"
    )
    with log.transaction():
        run = run_driver.create(Run.Kind.VERIFY, subject="generation:0", label="x", actor=make.SETUP)
    scan = Scan.objects.filter(namespace=estate.qa).latest("pk")
    Scan.objects.filter(pk=scan.pk).update(unexplained=1)
    schedule_jobs.provide()
    note = Notification.objects.create(event="run.failed", subject="run:0", person=people.operator, title="x")
    asked = drill_requests.ask(make.scratch(estate).environment, days=30, cap=10, by=people.operator)
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    drill = drill_requests.start(estate.qa.environment, by=people.operator)
    make.scratch(estate, "production")
    key_change = KeyChange.objects.create(
        environment=estate.qa.environment, namespace=estate.qa, name="mail:smtp", asked_by=people.operator, bucket="b"
    )
    restore = restore_selection.prepare_restore(stage.generation, actor=make.SETUP)
    compared = comparison_start.with_kv(stage.generation, estate.qa, actor=make.SETUP)
    compared.entries.create(name="master:a:1", kind="value")
    comparison: list[object] = [stage.generation.pk, compared.pk]
    bucket_protection.ask_cloudflare(estate.qa.environment)
    cache = Family.objects.get(pattern="mastercache:")
    asked_for = {"title": "x", "reason": "no longer needed", "days": 7}
    investigation = investigation_requests.start(estate.qa, family=cache, by=people.operator, **asked_for)  # type: ignore[arg-type]
    clearing = clearing_helpers.rule(estate.qa, people)
    round_ = ClearingRound.objects.create(clearing=clearing, reason="no longer needed")
    check = stage.generation.checks.get().pk
    requesting.expired(estate, 40)
    prune = requesting.asked(estate, people).pk
    report = reports.report(reports.hit())
    search = reference_store.store(estate.qa.environment, report, source="file", by=make.SETUP)
    pin = pins.pin(stage.generation, reason="no longer needed", by=people.operator)
    by_hand = state(estate, people.operator).pk
    entry = runbook_entries.of_subject(f"stated:{by_hand}")
    assert entry is not None
    todo = runbook_todo.add(entry, text="x", owner=people.operator, due=runbook_todo.today(), by=people.operator)
    return DoorsWorld(
        stage,
        stage.generation,
        stage.approval,
        change.pk,
        check,
        dump.pk,
        scan.pk,
        pin.pk,
        prune,
        run.pk,
        restore.pk,
        drill.pk,
        clearing.pk,
        round_.pk,
        investigation.pk,
        comparison,
        key_change.pk,
        note.pk,
        Schedule.objects.earliest("pk").pk,
        entry.number,
        by_hand,
        todo.pk,
        search.pk,
        registering.asked(people).pk,
        OutsideSearch.objects.create(
            generation=stage.generation, namespace=estate.qa, outcome="not_comparable", reason="partial"
        ).pk,
        bulk_start.begin(estate.qa, "page:", bulk_helpers.Scope.ALL, bulk_helpers.EXPIRY, by=people.operator).pk,
    )


def deployed() -> int:
    """Code that is deployed in QA."""
    return DeployedCode.objects.filter(environment__slug="qa").earliest("pk").pk


def somebody() -> int:
    """A person with a role."""
    return Person.objects.known().earliest("pk").pk


def stored() -> int:
    """An object of a copy."""
    return StoredObject.objects.order_by("pk").values_list("pk", flat=True)[0]


def with_outcomes(world: DoorsWorld) -> int:
    """A run with an outcome for each key: that of a restore."""
    Restore.objects.filter(pk=world.restore).update(run=world.run)
    return world.run


class DoorAnswer(Protocol):
    """What a browser gets."""

    status_code: int
    headers: ResponseHeaders


@dataclass(frozen=True)
class Door:
    """What an address answers."""

    get: Codes
    post: Codes
    at: Arguments = field(default=lambda _world: [])
    query: str = ""
    data: dict[str, str] = field(default_factory=dict)


NEVER: Codes = (LOGIN, 405, 405, 405, 405)
READERS: Codes = (LOGIN, 403, 200, 200, 200)


def page(at: Arguments = lambda _world: [], query: str = "") -> Door:
    """A page that every role reads and nobody posts to."""
    return Door(READERS, NEVER, at, query)


def operates(at: Arguments = lambda _world: [], done: int = 302, data: dict[str, str] | None = None) -> Door:
    """A change that only an operator makes."""
    return Door(NEVER, (LOGIN, 403, done, 403, 403), at, data=data or {})


def form(at: Arguments = lambda _world: []) -> Door:
    """A form that only an operator sees; sent empty, it is shown again."""
    return Door((LOGIN, 403, 200, 403, 403), (LOGIN, 403, 422, 403, 403), at)


def value(at: Arguments, done: int = 200, query: str = "") -> Door:
    """The value of a key, or what reads values: for operators and reviewers, on request."""
    return Door(NEVER, (LOGIN, 403, done, done, 403), at, query=query)


def everybody(get: int, post: int, at: Arguments = lambda _world: []) -> Door:
    """An address that is the same for everybody, signed in or not."""
    return Door((get,) * 5, (post,) * 5, at)


def account(get: int, post: int) -> Door:
    """A page of one's own login."""
    return Door((LOGIN, get, get, get, get), (LOGIN, post, post, post, post))


DOORS: dict[str, Door] = {
    # the estate
    "home": page(),
    "home-live": page(),
    "approvals": page(),
    "approval": page(lambda world: [world.approval.pk]),
    "approval-apply": operates(lambda world: [world.approval.pk], done=404),
    "approval-decide": Door(
        (LOGIN, 403, 403, 302, 403), (LOGIN, 403, 403, 422, 403), lambda world: [world.approval.pk]
    ),
    "approval-withdraw": operates(lambda world: [world.approval.pk]),
    "categories": page(query="?binding=SETTINGS&name=master:a&pattern=x:"),
    "change-submit": operates(lambda world: [world.change]),
    "doctor": Door((LOGIN, 403, 200, 403, 403), (LOGIN, 403, 200, 403, 403)),
    "environment-check": operates(lambda _world: ["qa"]),
    "environments": page(),
    "expiry": page(query="?family=1"),
    "environment-release": operates(lambda _world: ["qa"]),
    "environment-stop": Door(NEVER, (LOGIN, 403, 302, 302, 302), lambda _world: ["qa"]),
    "key": page(lambda _world: ["qa", "SETTINGS"], "?name=master:a:1"),
    "key-reveal": Door((LOGIN, 403, 302, 302, 403), (LOGIN, 403, 302, 302, 403), lambda _world: ["qa", "SETTINGS"]),
    "key-value": value(lambda _world: ["qa", "SETTINGS"], query="?name=master:a:1"),
    "namespaces": page(),
    "keys": page(lambda _world: ["qa", "SETTINGS"]),
    "keys-compare": page(lambda _world: ["qa", "SETTINGS", "production"]),
    "keys-download": page(lambda _world: ["qa", "SETTINGS"]),
    "keys-ticked": Door(
        (LOGIN, 403, 302, 403, 403), NEVER, lambda _world: ["qa", "SETTINGS"], query="?do=backup&key=master:a:1"
    ),
    "unexplained": page(),
    "unexplained-acknowledge": Door(NEVER, (LOGIN, 403, 422, 422, 403), lambda world: [world.missing]),
    "unexplained-cloudflare": operates(lambda world: [world.missing]),
    "unexplained-names": page(lambda world: [world.missing], "?format=csv"),
    "unexplained-scan": page(lambda world: [world.missing]),
    "notification-again": operates(lambda world: [world.notification]),
    "notification-drop": operates(lambda world: [world.notification]),
    "notifications": page(),
    "people": page(),
    "style": Door((LOGIN, 403, 404, 404, 404), NEVER),
    "person": page(lambda _world: [somebody()]),
    "person-ask": Door(NEVER, (LOGIN, 403, 422, 422, 403), lambda _world: [somebody()]),
    "person-invite": Door((LOGIN, 403, 200, 200, 403), (LOGIN, 403, 422, 422, 403)),
    "person-invite-again": Door(NEVER, (LOGIN, 403, 302, 302, 403), lambda _world: [somebody()]),
    "deployed-code": page(lambda _world: ["qa"]),
    "deployed-look": operates(lambda _world: ["qa"]),
    "runbook": page(),
    "runbook-by-hand": Door((LOGIN, 403, 200, 200, 403), (LOGIN, 403, 422, 422, 403)),
    "runbook-entry": page(lambda world: [world.entry]),
    "runbook-entry-file": page(lambda world: [world.entry]),
    "runbook-file": page(),
    "runbook-note": Door(NEVER, (LOGIN, 403, 422, 422, 422), lambda world: [world.entry]),
    "help": page(),
    "runbook-procedures": page(),
    "runbook-stated": Door((LOGIN, 403, 302, 302, 302), NEVER, lambda world: [world.stated]),
    "runbook-todo-add": Door(NEVER, (LOGIN, 403, 422, 422, 403), lambda world: [world.entry]),
    "runbook-todo-done": Door(NEVER, (LOGIN, 403, 302, 302, 403), lambda world: [world.todo]),
    "runbook-todos": page(),
    "deployed-search": operates(lambda _world: ["qa", deployed()]),
    "reference-search": Door((LOGIN, 403, 302, 302, 302), NEVER, lambda world: [world.search]),
    "references": page(),
    "references-environment": page(lambda _world: ["qa"]),
    "references-search": page(lambda world: ["qa", world.search]),
    "references-take": operates(lambda _world: ["qa"], done=422),
    "runs": page(),
    "run": page(lambda world: [world.run]),
    "run-live": page(lambda world: [world.run]),
    "run-resume": operates(lambda world: [world.run]),
    "run-stop": operates(lambda world: [world.run]),
    "schedules": page(),
    "schedule": page(lambda world: [world.schedule]),
    "schedule-change": operates(lambda world: [world.schedule], done=422),
    "schedule-pause": operates(lambda world: [world.schedule], done=422),
    "schedule-unpause": operates(lambda world: [world.schedule]),
    "search": page(query="?q=master:"),
    "search-results": page(query="?q=master:"),
    "scan": operates(lambda _world: ["qa", "SETTINGS"]),
    # copies and clean-up
    "backups:backup_new": form(),
    "backups:backups": page(),
    "backups:backups_csv": page(),
    "backups:check": page(lambda world: [world.check]),
    "backups:check_again": operates(lambda world: [world.check]),
    "backups:check_case": operates(lambda world: [world.check], done=422),
    "backups:check_causes": value(lambda world: [world.check]),
    "backups:check_file": page(lambda world: [world.check]),
    "backups:check_history": page(lambda _world: ["masters"]),
    "backups:check_import": operates(lambda world: [world.check]),
    "backups:check_outcome": operates(lambda world: [world.check], done=422),
    "backups:check_values": value(lambda world: [world.check, difference(world.check)]),
    "backups:check_live": page(lambda world: [world.check]),
    "backups:certificate": page(lambda world: [world.stage.request_id]),
    "backups:bulk_accept": operates(lambda world: [world.bulk], done=422),
    "backups:bulk_again": operates(lambda world: [world.bulk], done=409),
    "backups:bulk_change": page(lambda world: [world.bulk]),
    "backups:bulk_changes": page(),
    "backups:bulk_end": operates(lambda world: [world.bulk]),
    "backups:bulk_live": page(lambda world: [world.bulk]),
    "backups:bulk_names": page(lambda world: [world.bulk], "?format=csv"),
    "backups:bulk_new": form(lambda _world: ["qa", "SETTINGS"]),
    "backups:bulk_start": operates(lambda world: [world.bulk], done=422),
    "backups:bulk_submit": operates(lambda world: [world.bulk], done=422),
    "backups:change": page(lambda world: [world.key_change]),
    "backups:change_accept": operates(lambda world: [world.key_change], done=422),
    "backups:change_again": operates(lambda world: [world.key_change], done=409),
    "backups:change_end": operates(lambda world: [world.key_change]),
    "backups:change_live": page(lambda world: [world.key_change]),
    "backups:change_load": Door(
        (LOGIN, 403, 302, 403, 403), (LOGIN, 403, 302, 403, 403), lambda _world: ["qa", "SETTINGS"]
    ),
    "backups:change_new": form(lambda _world: ["qa", "SETTINGS"]),
    "backups:change_reveal": Door(
        (LOGIN, 403, 302, 302, 403), (LOGIN, 403, 302, 302, 403), lambda world: [world.key_change]
    ),
    "backups:change_reverse": operates(lambda world: [world.key_change], done=409),
    "backups:change_start": operates(lambda world: [world.key_change], done=422),
    "backups:change_submit": operates(lambda world: [world.key_change], done=422),
    "backups:changes": page(),
    "backups:cleanup": page(lambda world: [world.stage.request_id]),
    "backups:cleanup_arrange": operates(lambda world: [world.stage.request_id], done=409),
    "backups:cleanup_end": operates(lambda world: [world.stage.request_id], done=422),
    "backups:cleanup_list": page(),
    "backups:cleanup_new": form(),
    "backups:clearing": page(lambda world: [world.clearing]),
    "backups:clearing_accept": operates(lambda world: [world.round], done=422),
    "backups:clearing_answer": operates(lambda world: [world.clearing], done=422),
    "backups:clearing_ask": operates(lambda world: [world.clearing], data={"days": "30"}),
    "backups:clearing_change": operates(lambda world: [world.clearing], done=422),
    "backups:clearing_live": page(lambda world: [world.clearing]),
    "backups:clearing_new": form(),
    "backups:clearing_retire": operates(lambda world: [world.clearing]),
    "backups:clearing_start": operates(lambda world: [world.clearing], done=422),
    "backups:clearings": page(),
    "backups:comparison": page(lambda world: world.comparison),
    "backups:comparison_file": page(lambda world: world.comparison),
    "backups:comparison_live": page(lambda world: world.comparison),
    "backups:comparison_start": value(lambda world: [world.generation.pk], done=422),
    "backups:comparison_value": value(lambda world: [*world.comparison, ComparisonEntry.objects.get().pk]),
    "backups:comparisons": page(lambda world: [world.generation.pk]),
    "backups:drill": page(lambda world: [world.drill]),
    "backups:drill_ask": operates(lambda _world: ["production"], data={"days": "30", "cap": "10"}),
    "backups:drill_live": page(lambda world: [world.drill]),
    "backups:drill_start": operates(lambda _world: ["qa"]),
    "backups:drills": page(),
    "backups:investigation": page(lambda world: [world.investigation]),
    "backups:investigation_ask": operates(lambda world: [world.investigation], done=409),
    "backups:investigation_close": operates(lambda world: [world.investigation], done=422),
    "backups:investigation_live": page(lambda world: [world.investigation]),
    "backups:investigation_new": form(),
    "backups:investigations": page(),
    "backups:dump_kept": operates(lambda world: [world.dump]),
    "backups:entry_compare": value(lambda world: [world.generation.pk, 0]),
    "backups:entry_value": value(lambda world: [world.generation.pk, 0]),
    "backups:family_anew": operates(lambda world: [world.family]),
    "backups:family_new": form(),
    "backups:family_shapes": page(),
    "backups:generation": page(lambda world: [world.generation.pk]),
    "backups:generation_check": operates(lambda world: [world.generation.pk]),
    "backups:generation_keep": operates(lambda world: [world.generation.pk]),
    "backups:generation_live": page(lambda world: [world.generation.pk]),
    "backups:generation_steps": page(lambda world: [world.generation.pk]),
    "backups:generation_values": value(lambda world: [world.generation.pk], done=422),
    "backups:generation_verify": operates(lambda world: [world.generation.pk]),
    "backups:history": page(),
    "backups:history_file": page(lambda _world: ["csv"]),
    "backups:history_report": page(),
    "backups:integrity": page(),
    "backups:dataset_check": page(lambda _world: ["masters", "qa"]),
    "backups:dataset_check_start": operates(lambda _world: ["masters", "qa"]),
    "backups:generation_pin": Door(
        (LOGIN, 403, 200, 200, 200), (LOGIN, 403, 422, 422, 422), lambda world: [world.generation.pk]
    ),
    "backups:outside": page(lambda world: [world.outside]),
    "backups:outside_cloudflare": operates(lambda world: [world.outside]),
    "backups:outside_explain": Door(NEVER, (LOGIN, 403, 422, 422, 403), lambda world: [world.outside]),
    "backups:outside_list": page(),
    "backups:outside_names": page(lambda world: [world.outside], "?format=csv"),
    "backups:pin_remove": Door(NEVER, (LOGIN, 403, 302, 302, 302), lambda world: [world.pin]),
    "backups:prune": page(lambda world: [world.prune]),
    "backups:prune_again": operates(lambda world: [world.prune], done=409),
    "backups:prune_collect": operates(lambda _world: ["qa"]),
    "backups:prune_end": operates(lambda world: [world.prune], done=409),
    "backups:prune_live": page(lambda world: [world.prune]),
    "backups:prune_objects": page(lambda world: [world.prune]),
    "backups:prune_start": operates(lambda world: [world.prune], done=422),
    "backups:prunes": page(),
    "backups:retention": page(),
    "backups:masters": page(query="?environment=qa&source=d1"),
    "backups:masters_start": operates(done=422),
    "backups:restore": page(lambda world: [world.restore]),
    "backups:restore_again": operates(lambda world: [world.restore], done=409),
    "backups:restore_compare": operates(lambda world: [world.restore], done=409),
    "backups:restore_end": operates(lambda world: [world.restore]),
    "backups:restore_live": page(lambda world: [world.restore]),
    "backups:restore_look": operates(lambda world: [world.restore], done=409),
    "backups:restore_names": page(lambda world: [world.restore]),
    "backups:restore_new": form(lambda world: [world.generation.pk]),
    "backups:restore_start": operates(lambda world: [world.restore], done=422),
    "backups:restore_submit": operates(lambda world: [world.restore], done=422),
    "backups:restore_value": value(lambda world: [world.restore, 0]),
    "backups:restores": page(),
    "backups:setting_compare": Door(
        NEVER, (LOGIN, 403, 302, 302, 403), lambda _world: ["qa", "SETTINGS"], query="?name=mail:smtp"
    ),
    "backups:stage": page(lambda world: [world.stage.pk]),
    "backups:stage_accept": operates(lambda world: [world.stage.pk], done=422),
    "backups:stage_again": operates(lambda world: [world.stage.pk], done=409),
    "backups:stage_begin": operates(lambda world: [world.stage.pk], done=409),
    "backups:stage_end_early": operates(lambda world: [world.stage.pk], done=409),
    "backups:stage_freeze": operates(lambda world: [world.stage.pk], done=409),
    "backups:stage_leftovers": operates(lambda world: [world.stage.pk], done=422),
    "backups:stage_live": page(lambda world: [world.stage.pk]),
    "backups:stage_answer": operates(lambda world: [world.stage.pk], done=422),
    "backups:stage_references": page(lambda world: [world.stage.pk]),
    "backups:run_outcomes": page(lambda world: [with_outcomes(world)]),
    "backups:stage_names": page(lambda world: [world.stage.pk]),
    "backups:stage_prepare": operates(lambda world: [world.stage.pk], done=409),
    "backups:stage_others": operates(lambda world: [world.stage.pk], done=422),
    "backups:stage_reappeared": operates(lambda world: [world.stage.pk], done=422),
    "backups:stage_share": operates(lambda world: [world.stage.pk], done=409),
    "backups:stage_start": operates(lambda world: [world.stage.pk], done=422),
    "backups:stage_stop": operates(lambda world: [world.stage.pk], done=409),
    "backups:stage_submit": operates(lambda world: [world.stage.pk], done=409),
    "backups:stage_undo": operates(lambda world: [world.stage.pk], done=409),
    "backups:deleted_keys": page(lambda _world: ["qa", "SETTINGS"]),
    "backups:key_d1": value(lambda _world: ["qa", "SETTINGS"], query="?name=master:a:1"),
    "backups:storage": page(),
    "backups:vault": page(),
    "backups:storage_csv": page(),
    "backups:storage_note": Door(NEVER, (LOGIN, 403, 422, 422, 403), lambda _world: [stored()]),
    "backups:storage_note_all": Door(NEVER, (LOGIN, 403, 422, 422, 403)),
    "backups:storage_object": page(lambda _world: [stored()]),
    "backups:storage_protection": operates(lambda _world: ["qa"]),
    "backups:storage_reconcile": operates(lambda _world: ["qa"]),
    # the record
    "audit:entries": page(),
    "audit:file": page(lambda _world: ["csv"]),
    "audit:entry": page(lambda _world: [1]),
    # one's own login; allauth's
    "account_change_password": account(200, 200),
    "account_email": account(302, 302),
    "account_reauthenticate": account(200, 200),
    "account_set_password": account(302, 302),
    "preferences": account(200, 422),
    "account_signup": account(302, 302),
    # for people who are not signed in
    "account_confirm_email": Door((200,) * 5, (404,) * 5, lambda _world: ["x"]),
    "account_confirm_login_code": Door((LOGIN, 302, 302, 302, 302), (LOGIN, 302, 302, 302, 302)),
    "account_email_verification_sent": everybody(200, 405),
    "account_inactive": everybody(200, 405),
    "account_login": Door((200, 302, 302, 302, 302), (200, 302, 302, 302, 302)),
    "account_logout": Door((LOGIN, 200, 200, 200, 200), (LOGIN,) * 5),
    "account_reset_password": everybody(200, 200),
    "account_reset_password_done": everybody(200, 405),
    "account_reset_password_from_key": Door((200,) * 5, (200,) * 5, lambda _world: ["x", "y"]),
    "account_reset_password_from_key_done": everybody(200, 405),
    # for everybody
    "healthz": everybody(200, 405),
    "healthz-work": everybody(503, 405),
    "readyz": everybody(200, 405),
    "metrics": everybody(403, 405),
    "set_language": everybody(302, 302),
    "theme": everybody(405, 400),
}


def difference(check: int) -> int:
    """A difference of the check."""
    return Difference.objects.get_or_create(check_run_id=check, name="master:a:1", kind="field", field="name")[0].pk


def addresses(patterns: Iterable[URLPattern | URLResolver], prefix: str = "") -> Iterator[str]:
    """The names of all addresses there are."""
    for one in patterns:
        if isinstance(one, URLResolver):
            yield from addresses(one.url_patterns, f"{prefix}{one.namespace}:" if one.namespace else prefix)
        else:
            assert one.name, f"{one.pattern} has no name"
            yield prefix + one.name


def test_every_address_has_a_row() -> None:
    assert set(addresses(get_resolver().url_patterns)) == set(DOORS)


def browser_of(visitor: str, people: make.People) -> Client:
    return Client() if visitor == "signed out" else signed_in(getattr(people, visitor))


def asking(browser: Client, method: str) -> Callable[[str, Door], DoorAnswer]:
    """One browser that comes to each door with the cookies it has now."""
    cookies = browser.cookies.output(header="", sep=";")

    def ask(address: str, door: Door) -> DoorAnswer:
        browser.cookies = SimpleCookie(cookies)
        return browser.post(address, door.data) if method == "post" else browser.get(address)

    return ask


def outcome(answer: DoorAnswer) -> int:
    to_login = answer.status_code == 302 and answer.headers["Location"].startswith("/account/login/")
    return LOGIN if to_login else answer.status_code


def knock(world: DoorsWorld, ask: Callable[[str, Door], DoorAnswer]) -> dict[str, int]:
    """What every door answers, each knocked at in the same world."""
    found: dict[str, int] = {}
    for name, door in DOORS.items():
        # No atomic(): what the product does opens the one transaction itself.
        before = transaction.savepoint_create()
        found[name] = outcome(ask(reverse(name, args=door.at(world)) + door.query, door))
        transaction.savepoint_rollback(before)
    return found


@pytest.mark.parametrize("visitor", VISITORS)
def test_who_may_look(world: DoorsWorld, people: make.People, visitor: str) -> None:
    at, stored, without_policy = VISITORS.index(visitor), [], []
    get = asking(browser_of(visitor, people), "get")

    def look(address: str, door: Door) -> DoorAnswer:
        answer = get(address, door)
        ours = not address.startswith(("/account/", "/i18n/", "/theme/"))  # these show nothing
        if ours and "no-store" not in answer.headers.get("Cache-Control", ""):
            stored.append(address)
        if "camera=()" not in answer.headers.get("Permissions-Policy", ""):
            without_policy.append(address)
        return answer

    assert knock(world, look) == {name: door.get[at] for name, door in DOORS.items()}
    # Nothing that a signed-in person reads is stored by a browser or a proxy.
    assert (stored if visitor != "signed out" else [], without_policy) == ([], [])


@pytest.mark.parametrize("visitor", VISITORS)
def test_who_may_act(world: DoorsWorld, people: make.People, visitor: str) -> None:
    at = VISITORS.index(visitor)
    found = knock(world, asking(browser_of(visitor, people), "post"))
    assert found == {name: door.post[at] for name, door in DOORS.items()}


@pytest.mark.parametrize("visitor", [None, "all roles"])
def test_nothing_is_posted_from_another_site(world: DoorsWorld, visitor: str | None) -> None:
    browser = signed_in(make.person("all", *Role)) if visitor else Client()
    browser.handler.enforce_csrf_checks = True
    assert set(knock(world, asking(browser, "post")).values()) == {403}


def test_no_page_of_ours_can_be_read_by_somebody_who_lost_the_last_role(world: DoorsWorld, people: make.People) -> None:
    make.revoke(people.auditor, Role.AUDITOR)
    found = knock(world, asking(browser_of("auditor", people), "get"))
    assert found == {name: door.get[VISITORS.index("nobody")] for name, door in DOORS.items()}


def test_every_page_has_the_band_by_a_dangerous_button_and_spells_out_a_mark_that_deceives(world: DoorsWorld) -> None:
    browser, dangerous, raw, spelled = signed_in(make.person("all", *Role)), {}, set(), set()
    for name, door in [*DOORS.items(), ("key", page(lambda _world: ["qa", "SETTINGS"], f"?name={quote(ODD)}"))]:
        answer = browser.get(reverse(name, args=door.at(world)) + door.query)
        if not answer.headers.get("Content-Type", "").startswith("text/html"):
            continue
        html = b"".join(answer).decode()
        main = html.partition("<main")[2].partition("</main>")[0]  # the stop of the header names its environment
        pressed = re.search(r'<button type="submit" class="[^"]*btn-(outline-)?danger', main)
        if pressed and door.get in {READERS, form().get}:
            dangerous[name] = "env-band" in html
        shown = re.sub(r'data-copy="[^"]*"', "", html)  # what is copied is exact
        raw |= {name} if "\u202e" in shown else set()
        spelled |= {name} if "U+202E" in shown else set()
    assert set(dangerous.values()) == {True}, dangerous
    assert {"approval", "backups:cleanup", "environments"} <= set(dangerous)
    assert raw == set()
    assert {"keys", "key", "approval", "backups:generation", "backups:restore", "backups:stage"} <= spelled


def test_the_address_of_a_button_leads_to_its_page(world: DoorsWorld) -> None:
    browser = signed_in(make.person("all", *Role))
    links = {}
    for name, door in DOORS.items():
        if door.get == NEVER:
            answer = browser.get(reverse(name, args=door.at(world)))
            [links[name]] = re.findall(r'href="(/[^"]*)">Go to the page', answer.content.decode())
    wrong = {name for name, page in links.items() if browser.get(page).status_code != 200}
    # Their forms carry the name of the key in the address.
    assert wrong == {"key-value", "backups:key_d1", "backups:setting_compare"}
