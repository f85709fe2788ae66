"""Every address and every field gets input that nobody types. None of it is answered with 500.

The addresses are those of `test_doors`; the fields are those of the forms on its pages. KVOPS_FUZZ_SEED chooses other
values.
"""

import os
import re
from html.parser import HTMLParser
from random import Random
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from django.db import transaction
from django.test import Client
from django.urls import reverse

from kvops.models import Person, Role
from kvops.runs import emergency
from tests import make
from tests.signing import fresh
from tests.test_doors import DOORS, NEVER, DoorsWorld, world
from tests.test_layout import PRODUCT, files

__all__ = ["world"]

SEED = int(os.environ.get("KVOPS_FUZZ_SEED", "18"))
RANDOM = Random(SEED)
TEXTS = (b"a\0b", b"\0", b"\xff\xfe", b"\xed\xa0\x80", "\u202e\ufeff".encode(), b"x" * 5_000, b"\r\n", b"'\"<%s>")
NUMBERS = (b"-1", b"0", b"2147483648", b"9223372036854775807", b"9223372036854775808", b"9" * 5_000, "١٢".encode())
PATHS = ("%00", "a%00", "%FF", "%ED%A0%80", "9223372036854775808", "9" * 5_000, "%E2%80%AE", "-1", "x" * 600)
LIKELY = {"number": b"1", "date": b"2026-01-01", "checkbox": b"on"}

type Fields = dict[str, bytes]


class FormReader(HTMLParser):
    """The forms of a page: to each method and address its fields, with a value that a person might send."""

    def __init__(self, page: str, at: str) -> None:
        super().__init__()
        self._at, self._fields, self._select = at, dict[str, bytes](), ""
        self.found: dict[tuple[str, str], Fields] = {}
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a form, a field, or the first choice of a select."""
        one = {name: text or "" for name, text in attrs}
        name, value = one.get("name", ""), one.get("value", "")
        if tag == "form":
            where = (one.get("method", "get").lower(), urlsplit(one.get("action") or self._at).path)
            self._fields = self.found.setdefault(where, {})
        elif tag == "select":
            self._select = name
        elif tag == "option" and value:
            self._fields.setdefault(self._select, value.encode())
        elif name and name != "csrfmiddlewaretoken" and tag in {"input", "textarea", "button"}:
            likely = value or one.get("data-confirm", "")
            self._fields[name] = likely.encode() or LIKELY.get(one.get("type", ""), b"x")


def odd(field: str) -> list[bytes]:
    """Values for a field: the ends of the calendar for a day, else a text (mostly with NUL) or a number."""
    if field in {"since", "until"}:
        return [b"0001-01-01", b"9999-12-31"]
    return [RANDOM.choice([b"a\0b", RANDOM.choice([*TEXTS, *NUMBERS])])]


class Prober:
    """A browser of somebody with every role, whose clicks leave nothing behind."""

    def __init__(self) -> None:
        self._browser = fresh(make.person("all", *Role))
        self._browser.raise_request_exception = False
        self._session = self._browser.cookies["kvops"].value
        self.failed: list[str] = []

    def ask(self, method: str, path: str, fields: Fields) -> str:
        """The page at an address. A status of 500 and above is noted, and a file that breaks off."""
        sent, before = urlencode(fields), transaction.savepoint_create()
        self._browser.cookies["kvops"] = self._session
        try:
            if method == "post":
                answer = self._browser.post(path, sent, "application/x-www-form-urlencoded")
            else:
                answer = self._browser.get(path, QUERY_STRING=sent)
            page, code = b"".join(answer), answer.status_code
        except Exception as error:  # noqa: BLE001  (what a file that breaks off raises)
            page, code = repr(error).encode(), 599
        if code >= 500 and path != "/healthz/work":  # no worker runs here, and it says so
            self.failed.append(f"{code} {method} {path[:80]} {sent[:200]}")
        transaction.set_rollback(False)
        transaction.savepoint_rollback(before)
        return page.decode()


def forms_of(world: DoorsWorld, prober: Prober) -> dict[tuple[str, str], Fields]:
    """Every address with each method and its fields: those on the pages, of the table, and some that no form has."""
    found: dict[tuple[str, str], Fields] = {}
    for name, door in DOORS.items():
        path = reverse(name, args=door.at(world))
        given = {field: value.encode() for field, value in [*parse_qsl(door.query[1:]), *door.data.items()]}
        if door.get[1:] != NEVER[1:]:
            found.setdefault(("get", path), {}).setdefault("after", b"")
            for where, fields in FormReader(prober.ask("get", path, given), path).found.items():
                found[where] = {**found.get(where, {}), **fields}
        if door.post[1:] != NEVER[1:]:
            found[("post", path)] = {"reason": b"x", **found.get(("post", path), {}), **given}
    return found


def test_no_address_fails_at_a_field(world: DoorsWorld) -> None:
    prober = Prober()
    for (method, path), fields in forms_of(world, prober).items():
        for field in fields:
            for value in odd(field):
                prober.ask(method, path, {**(fields if method == "post" else {}), field: value})
    assert not prober.failed, "\n".join([f"KVOPS_FUZZ_SEED={SEED}", *prober.failed])


def test_no_address_fails_at_its_path(world: DoorsWorld) -> None:
    prober = Prober()
    for name, door in DOORS.items():
        if arguments := {str(argument) for argument in door.at(world)}:
            steps = reverse(name, args=door.at(world)).split("/")
            path = "/".join(RANDOM.choice(PATHS) if step in arguments else step for step in steps)
            prober.ask("post" if door.get[1:] == NEVER[1:] else "get", path, {})
    assert not prober.failed, "\n".join([f"KVOPS_FUZZ_SEED={SEED}", *prober.failed])


DAYS_FAILED = ("/audit/?until=9999-12-31", *(f"/backups/history/{page}?until=0001-01-01" for page in (
    "", "report/", "events.csv", "events.json"
)))  # fmt: skip


def test_what_failed_once_fails_no_more(world: DoorsWorld) -> None:
    prober, nul = Prober(), {"reason": b"a\0b"}
    for address in DAYS_FAILED:
        path, _mark, query = address.partition("?")
        prober.ask("get", path, {name: value.encode() for name, value in parse_qsl(query)})
    for address in ("/keys/qa/%00/", "/keys/qa/%00/names", "/key/qa/%00/?name=a"):
        prober.ask("get", address, {})
    for address in (f"/approvals/{world.approval.pk}/withdraw", f"/backups/pins/{world.pin}/remove"):
        prober.ask("post", address, nul)
    emergency.press(world.generation.environment, by=Person.objects.get(email="all@example.com"))
    prober.ask("post", "/environments/qa/release", nul)
    assert prober.failed == []


@pytest.mark.parametrize("checks", [False, True], ids=["", "with-a-token"])
@pytest.mark.parametrize("charset", ["utf-7", "utf-16", "latin-1", "rot13"])
def test_only_utf8_is_read(people: make.People, estate: make.Estate, charset: str, checks: bool) -> None:
    """Other encodings carry lone surrogates, or no text at all."""
    body = b'--x\r\nContent-Disposition: form-data; name="reason"\r\n\r\n+2AA-\r\n--x--\r\n'
    kind = f"multipart/form-data; boundary=x; charset={charset}"
    client = Client(enforce_csrf_checks=checks)
    client.force_login(people.operator.logins.get())
    client.cookies["kvops-csrf"] = "a" * 32
    answer = client.generic("POST", "/environments/qa/stop", body, kind)
    assert (answer.status_code, "cannot be read" in answer.content.decode()) == (400, True)


@pytest.mark.parametrize("name", ["kvops", "kvops-csrf", "theme"])
def test_a_cookie_with_nul_is_not_read(client: Client, db: None, name: str) -> None:
    client.raise_request_exception = False
    assert client.get("/account/login/", headers={"cookie": rf'{name}="{"a" * 31}\000"'}).status_code == 400


def test_no_view_reads_a_posted_field_by_itself() -> None:
    """A form checks a field before a view has it."""
    reads = re.compile(r"request\.POST(\.get|\[)")
    assert [path.name for path in files(*PRODUCT) if reads.search(path.read_text("utf-8"))] == []
