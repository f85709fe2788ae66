"""Secrets in settings values, followed through everything: they are in KV and in encrypted objects, nowhere else.

What is looked into: every object of the bucket, every table of the database (the queue's and the sessions' too), every
page and file that links lead to, what is logged at any level, what commands and exceptions say, every mail and every
message to Slack. New pages are found
by their links; a new way out of the product joins as one more place.
"""

import base64
import json
import logging
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from html import unescape
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import pyrage
import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from backups.bucket import protection as bucket_protection
from backups.changes import requests as change_requests, reverse as reverse_change
from backups.changes.bulk import requests as bulk_requests
from backups.cleanup import preparation, references as code_references, requests as cleanup_requests
from backups.comparisons import start as comparison_start
from backups.generations import start as generation_start
from backups.models import Check, CleanupStage, Generation, KeyChange, OutsideSearch
from backups.outside_changes import acknowledge as outside_acknowledge, one_key
from backups.restores import undo as stage_undo
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.logs import Formatter
from kvops.models import ApprovalRequest, Category, Environment, Notification, ReferenceHit, Run
from kvops.notifications import outbox
from tests import keys, make, searched
from tests.backups.changes.bulk import helpers as bulk_helpers
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.backups.restores.helpers import Policy
from tests.fakes.slack import FakeSlack
from tests.signing import signed_in

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("encrypting")]
CANARIES = [f"canary-{secrets.token_hex(12)}" for _ in range(20)]
CODE = "c"
"""The commit of the code with canaries in it."""
OF_A_KIND = 8
"""Pages of one kind that are looked into: entries of the record, runs, filters of one list."""


def names() -> list[str]:
    return [f"mail:{number:02}" for number in range(len(CANARIES))]


def values() -> Iterator[bytes]:
    """Each canary in a value of another kind."""
    kinds: list[Callable[[bytes], bytes]] = [
        lambda one: b'{"password":"%b"}' % one,
        lambda one: one,
        lambda one: b"\xff\xfe\x00" + one,
        lambda one: b"<script>" + one + b"</script>",
        lambda one: one * 5_000,
    ]
    for number, canary in enumerate(CANARIES):
        yield kinds[number % len(kinds)](canary.encode())


def spellings(canary: str) -> Iterator[bytes]:
    """The canary, and what of it is left in hex and in base64 wherever it begins."""
    yield canary.encode()
    yield canary.encode().hex().encode()
    for shift in range(3):
        yield base64.b64encode(b"\0" * shift + canary.encode())[4:-4]


SPELLINGS = re.compile(b"|".join(re.escape(one) for canary in CANARIES for one in spellings(canary)))


def hits(places: Mapping[str, bytes]) -> dict[str, bytes]:
    """Where a canary is, with what surrounds it."""
    found = {name: SPELLINGS.search(body) for name, body in places.items()}
    return {name: places[name][max(0, hit.start() - 80) : hit.end()] for name, hit in found.items() if hit}


def tables() -> dict[str, bytes]:
    """Every table of the database as COPY writes it, which is what a dump holds."""
    found: dict[str, bytes] = {}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p', 'm', 'S')"
            " AND relnamespace = 'public'::regnamespace"
        )
        for (table,) in cursor.fetchall():
            with cursor.copy(f"COPY (SELECT * FROM {table}) TO STDOUT") as copy:
                found[f"table {table}"] = b"".join(map(bytes, copy))
    return found


def pages(client: Client, who: str) -> dict[str, bytes]:
    """Every kind of page and file that links lead to from the overview."""
    found: dict[str, bytes] = {}
    kinds = Counter[str]()
    waiting = ["/"]
    while waiting:
        address = waiting.pop()
        kind = re.sub(r"\d+", "N", address.partition("?")[0])
        if address in found or kinds[kind] == OF_A_KIND:
            continue
        kinds[kind] += 1
        answer = client.get(address)
        body = found[address] = answer.getvalue()
        if "text/html" in answer.headers.get("Content-Type", ""):
            links = [unescape(link) for link in re.findall(r'href="([^"#]*)', body.decode())]
            here = [f"{address.partition('?')[0]}{link}" if link.startswith("?") else link for link in links]
            waiting += [
                link for link in here if link.startswith("/") and not link.startswith(("/static/", "/account/"))
            ]
    return {f"page {address} of {who}": body for address, body in found.items()}


@pytest.fixture
def slack(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSlack]:
    """The channel of both environments."""
    with FakeSlack() as fake:
        monkeypatch.setenv("TEST_SLACK", fake.webhook)
        Environment.objects.update(slack="env:TEST_SLACK")
        yield fake


@pytest.fixture
def settings_with_canaries(estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> make.Estate:
    """Twenty keys of settings in QA and production, scanned."""
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    make.family("mail:", Category.SETTINGS)
    for namespace in (estate.qa, estate.production):
        for name, value in zip(names(), values(), strict=True):
            estate.put(namespace, name, value)
    cleanup_helpers.scan(estate.qa, estate.production)
    return estate


def everything_that_happens(estate: make.Estate, people: make.People) -> Iterator[str]:
    """Copies that work and copies that fail, deletions, restores, comparisons; what people and terminals are told."""
    made = restore_helpers.verified_backup(estate.qa, "mail:")
    yield from _failures(estate)
    yield from _commands(estate)
    yield _searched()
    _differing(estate)
    comparison_start.with_kv(made, estate.qa, actor=make.SETUP)
    request = cleanup_requests.request(
        binding="SETTINGS", prefix=names()[0], exact=True, reason="no longer needed", by=people.operator
    )
    preparation.freeze_stage(cleanup_helpers.stage_of(request), by=people.operator)
    preparation.prepare_stage(cleanup_helpers.stage_of(request), by=people.operator)
    make.work()
    cleanup_helpers.share(cleanup_helpers.stage_of(request), people)
    _answered(estate, cleanup_helpers.stage_of(request), people)
    cleanup_requests.submit(cleanup_helpers.stage_of(request), by=people.operator)
    cleanup_helpers.approve(cleanup_helpers.stage_of(request), people)
    cleanup_requests.start_deletion(cleanup_helpers.stage_of(request), by=people.operator)
    make.work()
    stage_undo.start_undo(cleanup_helpers.stage_of(request), by=people.operator2)
    make.work()
    _revealed(people)
    yield from _changed(estate, people)
    _in_bulk(estate, people)
    for name, value in zip(names(), reversed(list(values())), strict=True):
        estate.put(estate.qa, name, value)
    _put_with_wrangler(estate, people)
    restore = restore_helpers.done(made, people, on_conflict=Policy.OVERWRITE)
    yield str(restore_helpers.outcomes(restore))


def _put_with_wrangler(estate: make.Estate, people: make.People) -> None:
    """The next backup finds each value that was put past KVOps; a key is compared with it on demand."""
    newest = restore_helpers.verified_backup(estate.qa, "mail:")
    found = OutsideSearch.objects.get(generation=newest)
    assert found.changed > len(CANARIES) // 2
    outside_acknowledge.explain(found, by=people.reviewer, note="the mail team")
    one_key.compare_setting(estate.qa, names()[1], by=people.operator)
    make.work()


def _revealed(people: make.People) -> None:
    """Each value is revealed, once after the password was asked for. The answers have them, and nothing else may."""
    browser, address = signed_in(people.operator), "/key/qa/SETTINGS/reveal"
    for name in names():
        answer = browser.post(address, {"name": name, "reason": "mail is down"})
        if answer.status_code == 302:
            answer = browser.post(answer.headers["Location"], {"password": make.PASSWORD, "next": address})
        assert answer.context["live"].shown


def _changed(estate: make.Estate, people: make.People) -> Iterator[str]:
    """Changes of values with canaries: applied, reversed, rejected, drifted, and refused by Cloudflare."""
    browser = signed_in(people.operator)
    for namespace in (estate.qa, estate.production):
        bucket_protection.ask_cloudflare(namespace.environment)
    for at, name in enumerate(names()[5:9]):
        new = json.dumps({"password": CANARIES[at + 10], CANARIES[at + 11]: [CANARIES[at]]})
        form = {"name": name, "value": new, "metadata": f'{{"m":"{CANARIES[at]}"}}', "keep_expiration": "on"}
        browser.post("/changes/new/qa/SETTINGS/", form | {"confirm": "on"})
        make.work()
        change = KeyChange.objects.latest("pk")
        asked = change_requests.submit(change, reason="it moves as agreed", by=people.operator)
        yield from _outcomes(estate, people, change, asked, at)
    broken = browser.post("/changes/new/qa/SETTINGS/", {"name": names()[9], "value": CANARIES[3], "metadata": "{x"})
    assert broken.status_code == 422


def _in_bulk(estate: make.Estate, people: make.People) -> None:
    """Keys of a cache that is backed up encrypted are marked; one of them changes before the write."""
    make.family("page:", Category.CACHE, expiry="regenerate:stale")
    make.change_families("page:", encrypt=True)
    for at, canary in enumerate(CANARIES[:3]):
        estate.put(estate.qa, f"page:{at}", b'{"p":"%b"}' % canary.encode())
    cleanup_helpers.scan(estate.qa)
    restore = bulk_helpers.approved(bulk_helpers.prepared(estate.qa, people, bulk_helpers.MARK), people)
    estate.put(estate.qa, "page:0", CANARIES[4].encode())
    bulk_requests.start(restore, by=people.operator)
    make.work()
    restore.refresh_from_db()
    assert (restore.written, restore.left, restore.generation.encrypted) == (2, 1, True)


def _outcomes(
    estate: make.Estate, people: make.People, change: KeyChange, asked: ApprovalRequest, at: int
) -> Iterator[str]:
    """What becomes of one change: the first is applied and reversed, the others end in other ways."""
    reviewer = signed_in(people.reviewer)
    reviewer.post("/account/reauthenticate/", {"password": make.PASSWORD})
    assert reviewer.post(f"/changes/{change.pk}/reveal", {"reason": "to review as agreed"}).context["values"].new.shown
    if at == 1:
        approval_gate.reject(asked, by=people.reviewer, shown=asked.digest, reason="not right now")
        make.work()
        return
    approval_gate.approve(asked, by=people.reviewer, shown=asked.digest)
    if at == 2:
        estate.put(estate.qa, change.name, CANARIES[7].encode())
    if at == 3:
        estate.cloudflare.fault("put_value", "refusal", times=9, status=400, code=10001)
    run = change_requests.start(change, by=people.operator)
    make.work()
    run.refresh_from_db()
    yield f"{run.error} {run.note}"
    change.refresh_from_db()
    if at == 0:
        assert change.outcome == "written"
        reverse_change.prepare(change, by=people.operator)
        make.work()


FORGERIES: list[Callable[[bytes], bytes]] = [
    lambda body: body[: len(body) // 2],
    lambda body: body.replace(b'"key"', b'"kex"', 1),
    lambda body: body.replace(b'"value":"', b'"value":"x', 1),
    lambda body: body.replace(b"}", b"", 1),
]


def _failures(estate: make.Estate) -> Iterator[str]:
    """A copy whose store refuses it, and copies that somebody with the recipients wrote anew, and wrongly."""
    estate.s3.fault("403", "PUT", times=50)
    failed = generation_start.start_backup(estate.qa, prefixes=["mail:1"], actor=make.SETUP)
    make.work()
    estate.s3._faults.clear()
    failed.run.refresh_from_db()
    assert failed.run.state == Run.State.FAILED
    with patch("backups.generations.export.Export.step", side_effect=ValueError(CANARIES[0])):
        unforeseen = generation_start.start_backup(estate.qa, prefixes=["mail:1"], actor=make.SETUP)
        make.work()
    unforeseen.run.refresh_from_db()
    assert unforeseen.run.error_code == "unexpected"
    for forge in FORGERIES:
        made = restore_helpers.verified_backup(estate.qa, "mail:0")
        key = made.object_keys()[0]
        opened = pyrage.decrypt(estate.s3.objects[key], [keys.OFFLINE])
        estate.s3.objects[key] = pyrage.encrypt(forge(opened), [keys.OPERATIONS.to_public()])
        with pytest.raises(CommandError) as refused:
            call_command("verify_generation", str(made.pk), stdout=StringIO(), stderr=StringIO(), skip_checks=True)
        yield str(refused.value)


def _commands(estate: make.Estate) -> Iterator[str]:
    for arguments in (["--to-r2"], ["--to-r2", "--json"], ["--output", "/nowhere/x.json"]):
        out = StringIO()
        try:
            call_command("kv_dump", "qa/SETTINGS", "--prefix", "mail:", *arguments, stdout=out, stderr=out)
        except CommandError as refused:
            yield str(refused)
        yield out.getvalue()


def _differing(estate: make.Estate) -> None:
    """A check of settings that differ from D1, which has canaries of its own."""
    database = generation_helpers.d1(estate)
    database.execute("PRAGMA query_only = 0")
    database.execute("CREATE TABLE mails (id TEXT PRIMARY KEY, password TEXT)")
    database.executemany("INSERT INTO mails VALUES (?, ?)", zip(["00", "98", "99"], CANARIES[1:4], strict=True))
    fields = {"password": "password"}
    key = "mail:{id}"
    generation_helpers.dataset(name="mails", prefix="mail:", table="mails", key=key, fields=fields, ignore=[])
    check = make.check(restore_helpers.verified_backup(estate.qa, "mail:"))
    make.work()
    assert check.found.filter(kind="field").exists()


def _searched() -> str:
    """A search of code with the canaries in it, as constants and as values."""
    out = StringIO()
    lines = [
        f'const password{at} = "{one}"; env.SETTINGS.put("mail:{at:02}", "{one}");' for at, one in enumerate(CANARIES)
    ]
    with TemporaryDirectory() as folder:
        Path(folder, "index.js").write_text("\n".join(lines))
        call_command("scan_references", "qa", "--path", folder, "--commit", CODE, stdout=out)
    assert ReferenceHit.objects.filter(access="write").count() >= len(CANARIES)
    return out.getvalue()


def _answered(estate: make.Estate, stage: CleanupStage, people: make.People) -> None:
    """The code that was searched runs, and a person answers each of its hits."""
    searched.runs(estate.qa.environment, CODE)
    hits = [one.hit.pk for one in code_references.StageReferences.of(stage).found]
    assert len(hits) >= len(CANARIES)
    code_references.answer(stage, hits=hits, kind="falls_back", reason="reads D1 first", by=people.operator)


def asked_for(client: Client, made: Generation) -> Iterator[bytes]:
    """What is answered to who asks for a value."""
    addresses = [f"/backups/{made.pk}/entries/0/value", f"/backups/{made.pk}/entries/0/compare"]
    for check in Check.objects.filter(outcome=Check.Outcome.FAILED):
        addresses += [f"/integrity/{check.pk}/causes", f"/integrity/{check.pk}/import.sql"]
        addresses += [
            f"/integrity/{check.pk}/differences/{pk}/values" for pk in check.found.values_list("pk", flat=True)
        ]
    for address in addresses:
        yield client.post(address, follow=True).getvalue()
    yield client.post("/key/qa/SETTINGS/value", {"name": names()[1]}, follow=True).content


@pytest.mark.hazard("B35")
def test_no_secret_is_anywhere_but_in_kv_and_in_encrypted_objects(
    settings_with_canaries: make.Estate, people: make.People, slack: FakeSlack, caplog: pytest.LogCaptureFixture
) -> None:
    estate = settings_with_canaries
    caplog.set_level(logging.DEBUG)
    written = logging.StreamHandler(StringIO())
    written.setFormatter(Formatter())
    logging.getLogger().addHandler(written)
    places: dict[str, bytes] = {"said": "\n".join(everything_that_happens(estate, people)).encode()}
    for who in (people.operator, people.reviewer):
        client = signed_in(who)
        newest = Generation.objects.filter(category="settings").latest("pk")
        places[f"asked by {who}"] = b"".join(asked_for(client, newest))
        places |= pages(client, str(who))
    for pk in Notification.objects.values_list("pk", flat=True):
        outbox.deliver(pk)
    places |= {f"mail {at}": one.message().as_bytes() for at, one in enumerate(mail.outbox)}
    places |= {f"slack {at}": json.dumps(one, ensure_ascii=False).encode() for at, one in enumerate(slack.taken)}
    logging.getLogger().removeHandler(written)
    places["log"] = written.stream.getvalue().encode()
    places |= {f"object {name}": body for name, body in estate.s3.objects.items()}
    places |= tables()
    assert hits(places) == {}
    looked_into = {name.split()[0] for name in places}
    assert looked_into >= {"said", "asked", "page", "mail", "slack", "log", "object", "table"}
    assert sum(name.startswith("page ") for name in places) > 60


def test_the_search_finds_what_is_there(settings_with_canaries: make.Estate) -> None:
    made = restore_helpers.verified_backup(settings_with_canaries.qa, "mail:")
    opened = pyrage.decrypt(settings_with_canaries.s3.objects[made.object_keys()[0]], [keys.OFFLINE])
    for canary in CANARIES:
        assert canary.encode() in opened or any(one in opened for one in spellings(canary))
    assert hits({"opened": opened}).keys() == {"opened"}
    assert hits({"hex": opened.hex().encode(), "base64": base64.b64encode(b"x" + opened)}).keys() == {"hex", "base64"}
