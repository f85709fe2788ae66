"""The record as people read it."""

import json
import re
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from urllib.parse import quote

import pytest
from django.core.management import call_command
from django.test import Client
from pytest_django.fixtures import Settings

import kvops
from audit import log
from audit.actions import Action
from audit.forms import FilterForm
from audit.models import Entry, actors_and_environments
from audit.subjects import PARTS
from audit.templatetags.audit import subject_url
from kvops.models.people import Person, Role, RoleGrant, User
from tests import make
from tests.audit.make import sql, triggers_off, write

pytestmark = pytest.mark.django_db


CODE = Path(kvops.__file__).parent


def signed_in(client: Client, *roles: Role) -> Client:
    person = Person.objects.create(name="Mika", email="mika@example.com")
    for role in roles:
        RoleGrant.objects.create(person=person, role=role, granted_by="test")
    client.force_login(User.objects.create_login(person))
    return client


@pytest.fixture
def reader(client: Client) -> Client:
    return signed_in(client, Role.AUDITOR)


def shown(reader: Client, query: str = "") -> list[int]:
    response = reader.get(f"/audit/{query}")
    assert response.status_code == 200
    return [entry.seq for line in response.context["lines"] for entry in line.rows]


def test_a_subject_that_a_person_typed_shows_its_invisible_characters(reader: Client) -> None:
    write(subject="cleanup:SETTINGS master:\u202egpj")
    for address in ("/audit/", "/audit/1/"):
        text = reader.get(address).content.decode()
        assert "cleanup:SETTINGS master:[U+202E]gpj" in text
        assert "master:\u202egpj<" not in text


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?action=scan.failed", [2]),
        ("?actor=operator@example.com", [3, 2, 1]),
        ("?text=PRODUCTION", []),
        ("?text=scan:9", [3]),
        ("?text=can:", [3, 2, 1]),
        ("?text=operator@", [3, 2, 1]),
        ("?text=100%25", []),
        ("?environment=production", [3]),
        ("?subject=scan:9", [3]),
        ("?subject=scan:9&action=scan.failed", []),
        ("?subject=scan:9&tree=on", [3]),
    ],
)
def test_the_address_filters(reader: Client, query: str, expected: list[int]) -> None:
    write()
    write(Action.SCAN_FAILED)
    write(environment="production", subject="scan:9")
    assert shown(reader, query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("?since=2026-01-02", [3, 2]),
        ("?until=2026-01-02", [2, 1]),
        ("?since=2026-01-02&until=2026-01-02", [2]),
        ("?since=2026-01-04", []),
        ("?until=2025-12-31", []),
    ],
)
def test_days_are_days_of_the_teams_time_zone(
    reader: Client, settings: Settings, query: str, expected: list[int]
) -> None:
    settings.TIME_ZONE = "Asia/Tokyo"
    for _ in range(3):
        write()
    moments = [
        datetime(2026, 1, 1, 14, 59, 59, tzinfo=UTC),
        datetime(2026, 1, 1, 15, 0, tzinfo=UTC),
        datetime(2026, 1, 2, 15, 0, tzinfo=UTC),
    ]
    with triggers_off("audit_entry"):
        for seq, at in enumerate(moments, start=1):
            sql("UPDATE audit_entry SET at = %s WHERE seq = %s", at, seq)
    assert shown(reader, query) == expected


def test_a_filter_that_cannot_be_read_is_said_and_shows_nothing(reader: Client) -> None:
    write()
    response = reader.get("/audit/?since=yesterday")
    assert not response.context["lines"]
    assert b"Enter a valid date" in response.content


def test_a_period_that_ends_before_it_begins_is_said(reader: Client) -> None:
    write()
    said = reader.get("/audit/?since=2026-01-02&until=2026-01-01").content.decode()
    assert ("The period ends before it begins." in said, "A filter cannot be read" in said) == (True, True)


@pytest.mark.parametrize("query", ["?actor=nobody", "?environment=moon", "?text=a", "?text=%00abc"])
def test_a_filter_that_names_nothing_is_said(reader: Client, query: str) -> None:
    write()
    response = reader.get(f"/audit/{query}")
    assert not response.context["lines"]
    assert "A filter cannot be read" in response.content.decode()
    assert reader.get(f"/audit/entries.csv{query}").status_code == 404


def test_a_long_record_is_read_in_pages(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.views.PAGE", 2)
    for _ in range(5):
        write()
    assert shown(reader) == [5, 4]
    assert b"?subject=scan%3A3&amp;after=4" in reader.get("/audit/?subject=scan:3").content
    assert shown(reader, "?after=4") == [3, 2]
    assert shown(reader, "?after=2") == [1]
    assert b"after=1" not in reader.get("/audit/?after=2").content


@pytest.mark.parametrize("address", ["/audit/?after=x", "/audit/1/", f"/audit/{10**30}/"])
def test_an_address_of_nothing_is_not_found(reader: Client, address: str) -> None:
    assert reader.get(address).status_code == 404


def test_an_entry_has_its_own_page(reader: Client) -> None:
    write(details={"binding": "設定", "note": "<script>"})
    entry = Entry.objects.get()
    page = reader.get(entry.get_absolute_url()).content.decode()
    assert entry.link().row_hash.hex() in page
    assert "設定" in page
    assert "&lt;script&gt;" in page
    assert "<script>" not in page


def test_neighbours_are_linked_where_there_are_any(reader: Client) -> None:
    write()
    write()
    first, second = (reader.get(f"/audit/{seq}/").content for seq in (1, 2))
    assert (b"/audit/2/" in first, b'rel="prev"' in first) == (True, False)
    assert (b"/audit/1/" in second, b'rel="next"' in second) == (True, False)


@pytest.mark.parametrize(
    ("subject", "address"),
    [("run:12", "/runs/12/"), ("tea:12", ""), ("run:x", ""), ("", "")],
)
def test_a_subject_links_to_its_page_if_it_has_one(subject: str, address: str) -> None:
    assert subject_url(subject) == address


def test_the_people_commands_and_parts_of_the_product_are_offered_as_actors(reader: Client) -> None:
    person = "花子 <hanako@example.com>"
    write(actor=log.Actor(1, person))
    write(actor=log.Actor(None, "cli:ops@host"))
    write(actor=log.Actor.system("sweep"))
    write(actor=log.Actor(None, "tried@example.com"))
    [_all, *groups] = FilterForm({}).fields["actor"].choices  # type: ignore[attr-defined]
    offered = [value for _group, some in groups for value, _shown in some]
    assert offered == [person, "cli:ops@host", "system:sweep"]
    assert shown(reader, f"?actor={quote(person)}") == [1]
    assert shown(reader, "?actor=tried@example.com") == [4]
    assert reader.get("/audit/?actor=a%00b").status_code == 200


def test_strangers_who_fail_to_sign_in_do_not_crowd_out_the_people(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.models.MANY_ACTORS", 2)
    for number in range(3):
        write(Action.SIGNIN_FAILED, actor=log.Actor(None, f"{number}@example.org"))
    write(actor=log.Actor(1, "花子 <hanako@example.com>"))
    assert actors_and_environments()[0] == ["花子 <hanako@example.com>"]


def test_every_part_of_the_product_that_acts_by_itself_has_a_name_in_words() -> None:
    source = "".join(file.read_text() for place in (CODE, CODE.parent / "backups") for file in place.rglob("*.py"))
    assert set(re.findall(r'Actor\.system\(\s*"([^"]+)"', source)) == PARTS.keys()


def test_a_part_of_the_product_is_shown_in_the_language_of_the_reader(reader: Client) -> None:
    write(actor=log.Actor.system("schedule"))
    assert "KVOps:<wbr> schedules" in reader.get("/audit/").text
    reader.cookies["django_language"] = "ja"
    page = reader.get("/audit/").text
    assert "KVOps：スケジュール" in page
    assert 'value="system:schedule"' in page


def test_the_page_of_an_entry_has_the_text_of_the_log_beside_the_words(reader: Client) -> None:
    write(actor=log.Actor.system("schedule"))
    write(actor=log.Actor(None, "cli:ops@host"))
    assert [reader.get(f"/audit/{seq}/").text.count("system:schedule</div>") for seq in (1, 2)] == [1, 0]


def test_an_actor_is_found_by_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        write(actor=log.Actor(number, f"花子 <Hanako{number}@example.com>"))
    write(actor=log.Actor.system("sweep"))
    for part, found in (("hanako", 5), ("花子", 5), ("hanako3@", 1), ("%", 0)):
        assert Entry.objects.by(part).count() == found
    monkeypatch.setattr("audit.models.MANY_ACTORS", 2)
    assert Entry.objects.by("hanako").count() == 5


def test_the_environments_of_the_log_are_offered_also_the_former_ones(reader: Client) -> None:
    write(environment="prod")
    write(environment="former")
    write(environment="")
    [_all, *offered] = FilterForm({}).fields["environment"].choices  # type: ignore[attr-defined]
    assert offered == [("former", "former"), ("prod", "prod")]
    assert shown(reader, "?environment=prod") == [1]
    assert shown(reader, "?environment=former") == [2]


def test_an_environment_is_offered_and_shown_by_its_name(reader: Client, estate: make.Estate) -> None:
    for name in ("former", "production", "qa"):
        write(environment=name)
    choices = list(FilterForm({}).fields["environment"].choices)[1:]  # type: ignore[attr-defined]
    assert choices == [("qa", "QA"), ("production", "Production"), ("former", "former")]
    newest, *_older = shown(reader, "?environment=qa")
    assert newest == Entry.objects.latest("seq").seq
    pages = [reader.get(address).content.decode() for address in ("/audit/?environment=qa", f"/audit/{newest}/")]
    assert all(re.search(r"<(td|div)[^>]*>QA</\1>", page) for page in pages)
    assert not any(re.search(r"<(td|div)[^>]*>qa</\1>", page) for page in pages)


# Folding


def test_the_entries_of_a_run_share_a_line_that_opens(reader: Client) -> None:
    write(Action.RUN_CREATED, subject="run:1")
    write(Action.RUN_CREATED, subject="run:2")
    write(Action.RUN_FINISHED, subject="run:1")
    write()
    lines = reader.get("/audit/").context["lines"]
    assert [[entry.seq for entry in line.rows] for line in lines] == [[4], [3, 1], [2]]
    assert "1 earlier entry of this run" in reader.get("/audit/").content.decode()


def test_an_entry_to_look_at_first_is_never_folded(reader: Client) -> None:
    write(Action.RUN_CREATED, subject="run:1")
    write(Action.RUN_FAILED, subject="run:1")
    write(Action.RUN_STOPPED, subject="run:1")
    lines = reader.get("/audit/").context["lines"]
    assert [[entry.seq for entry in line.rows] for line in lines] == [[3, 1], [2]]


@pytest.mark.parametrize("query", ["?subject=run:1", "?action=run.created", "?text=run"])
def test_what_was_asked_for_is_not_folded(reader: Client, query: str) -> None:
    for _ in range(2):
        write(Action.RUN_CREATED, subject="run:1")
    assert [len(line.rows) for line in reader.get(f"/audit/{query}").context["lines"]] == [1, 1]


def test_folding_loses_no_entry_between_pages(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.views.PAGE", 2)
    monkeypatch.setattr("audit.reading.READ", 4)
    for number in (1, 2, 1, 3, 1, 1, 2, 2, 2):
        write(Action.RUN_CREATED, subject=f"run:{number}")
    seen, after = [], 10
    while after is not None:
        answer = reader.get(f"/audit/?after={after}")
        seen += [entry.seq for line in answer.context["lines"] for entry in line.rows]
        after = answer.context["after"]
    assert sorted(seen) == list(range(1, 10))


# Search


def test_a_search_looks_into_a_part_and_goes_on(reader: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("audit.reading.WINDOW", 3)
    write(details={"note": "Wanted as agreed"})
    for _ in range(6):
        write()
    first = reader.get("/audit/?text=wanted")
    assert (first.context["lines"], first.context["searched"], first.context["after"]) == ([], (5, 7), 5)
    assert "Search older entries" in first.content.decode()
    assert shown(reader, "?text=wanted&after=5") == []
    assert shown(reader, "?text=wanted&after=2") == [1]


# Files


def read(reader: Client, address: str) -> str:
    answer = reader.get(address)
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    return b"".join(answer).decode()


@pytest.mark.parametrize("chunk", [1, 1_000])
def test_all_entries_and_those_of_the_view_are_files(
    reader: Client, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr("audit.reading.CHUNK", chunk)
    monkeypatch.setattr("audit.reading.WINDOW", chunk)
    write(details={"binding": "設定"})
    write(subject="=1+1", environment="production")
    lines = [json.loads(line) for line in read(reader, "/audit/entries.jsonl").splitlines()]
    assert [(line["number"], line["details"], line["hash"]) for line in lines] == [
        (entry.seq, entry.details, entry.link().row_hash.hex()) for entry in Entry.objects.newest_first()
    ]
    assert len(read(reader, "/audit/entries.jsonl?environment=qa").splitlines()) == 1
    assert len(read(reader, "/audit/entries.jsonl?text=設定").splitlines()) == 1
    table = read(reader, "/audit/entries.csv")
    assert '"\'=1+1"' in table
    assert table.count("\r\n") == 3


# Verification


def test_the_page_names_the_last_verification(reader: Client) -> None:
    assert "No verification of the chain is recorded" in reader.get("/audit/").content.decode()
    write()
    call_command("verify_audit", stdout=StringIO())
    write()
    page = " ".join(reader.get("/audit/").content.decode().split())
    assert "Chain verified up to entry 1 </a>" in page
    assert "newest entry: 3" in page


def test_a_view_of_a_key_is_found_by_the_name_of_the_key(reader: Client) -> None:
    write(Action.VALUE_VIEWED, subject="namespace:1", details={"key": "api-key:fax"})
    write(Action.VALUE_VIEWED, subject="namespace:1", details={"key": "api-key:fax "})
    write(details={"key": "api-key:fax"})
    assert shown(reader, "?key=api-key:fax") == [1]
    assert shown(reader, "?key=api-key:fax%20") == [2]
    assert b"ensure this value" in reader.get("/audit/?key=" + "x" * 600).content.lower()


@pytest.mark.parametrize(
    ("filters", "index"),
    [({"subject": "run:1", "tree": "on"}, "audit_entry_subject"), ({"key": "api-key:fax"}, "audit_entry_key")],
)
def test_the_entries_of_a_tree_are_found_by_an_index_not_by_walking_the_table(
    filters: dict[str, str], index: str
) -> None:
    for number in range(50):
        write(subject=f"run:{number}")
    sql("ANALYZE audit_entry")
    sql("SET LOCAL enable_seqscan = off")
    plan = FilterForm(filters).entries()[:51].explain()
    sql("SET LOCAL enable_seqscan = on")
    assert index in plan
    assert "audit_entry_pkey" not in plan
