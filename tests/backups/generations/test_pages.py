"""The pages of copies: what can be restored, what is still to do, what one copy holds."""

import re

import pytest
from django.db.models.functions import Now
from django.test import Client

from audit.models import Entry
from backups.generations import start as generation_start
from backups.models import Generation, PlainDump
from kvops.inventory import scan as inventory_scan
from kvops.models import Category, Environment, Namespace, Person, Run
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.generations import helpers as generation_helpers
from tests.fakes.http import Request

MASTER = b'{"type": "city", "id": "1", "name": "\xe6\x9d\xb1\xe4\xba\xac"}'


def signed_in(client: Client, person: Person) -> Client:
    client.force_login(person.logins.get())
    return client


@pytest.fixture
def operator(client: Client, people: make.People) -> Client:
    return signed_in(client, people.operator)


def text(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, address
    return answer.content.decode()


def filled(estate: make.Estate, *names: str, namespace: Namespace | None = None) -> None:
    for name in names or ("master:city:1", "master:city:2"):
        estate.put(namespace or estate.qa, name, MASTER)


def scanned(estate: make.Estate) -> None:
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()


def backed_up(estate: make.Estate, *prefixes: str, verify: bool = True) -> Generation:
    made = generation_start.start_backup(estate.qa, prefixes=prefixes or ["master:"], actor=make.SETUP)
    make.work()
    if verify:
        generation_start.start_verification(made, actor=make.SETUP)
        make.work()
    made.refresh_from_db()
    return made


def vanishing(estate: make.Estate, name: str) -> None:
    """The key goes away between being listed and being read."""

    def delete(_: Request) -> None:
        estate.cloudflare.namespace(estate.qa.namespace_id).delete(name)

    estate.cloudflare.hook("bulk_get", delete)


def numbers(client: Client, query: str = "") -> list[int]:
    return [generation.pk for generation in client.get(f"/backups/{query}").context["generations"]]


def test_without_a_backup_the_page_says_what_comes_next(operator: Client, estate: make.Estate) -> None:
    page = text(operator, "/backups/")
    assert "No backup yet" in page
    assert 'href="/backups/new/"' in page


def test_the_newest_backups_come_first_and_pages_follow(
    operator: Client, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.generations.list_views.PAGE", 2)
    made = [generation_helpers.backup_of(estate).pk for _ in range(3)]
    assert numbers(operator) == [made[2], made[1]]
    assert f"?status=complete&amp;after={made[1]}" in text(operator, "/backups/?status=complete")
    assert numbers(operator, f"?after={made[1]}") == [made[0]]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("?environment=qa", ["master", "clinic"]),
        ("?environment=production", ["production"]),
        ("?status=verified", ["clinic"]),
        ("?status=stale", ["clinic"]),
        ("?status=damaged", []),
        ("?purpose=cleanup", []),
        ("?prefix=clinic:id:17", ["clinic"]),
        ("?prefix=master:", ["production", "master"]),
        ("?prefix=m", []),
        ("?status=nonsense", []),
        ("?after=x", []),
    ],
)
def test_the_address_filters(operator: Client, estate: make.Estate, query: str, found: list[str]) -> None:
    made = {
        "clinic": generation_helpers.backup_of(
            estate, prefixes=["clinic:id:"], status="verified", verified_at="2026-01-01T00:00:00+00:00"
        ),
        "master": generation_helpers.backup_of(estate),
        "production": generation_helpers.backup_of(estate, namespace=estate.production),
    }
    assert sorted(numbers(operator, query)) == sorted(made[name].pk for name in found)


ONE = generation_helpers.master("city", 1, "Ulm")


def test_the_strip_names_the_newest_verified_backup_of_each_family(operator: Client, estate: make.Estate) -> None:
    old = generation_helpers.backup_of(estate, ONE, status="verified", verified_at=Now())
    new = generation_helpers.backup_of(estate, ONE, status="verified", verified_at=Now())
    generation_helpers.backup_of(estate)
    row, settings = operator.get("/backups/").context["coverage"]
    assert (str(row.family), str(settings.family)) == ("master:*", "system-root")
    assert [backup.generation for backup in row.backups] == [new, None]
    assert old.pk < new.pk


def test_a_family_that_a_clean_ups_backup_left_out_is_not_protected_by_it(
    estate: make.Estate, operator: Client
) -> None:
    make.family("master:drug:", Category.LEGACY)
    mine = generation_helpers.backup_of(
        estate, ONE, status="verified", verified_at=Now(), purpose="cleanup", patterns=["master:*"]
    )
    master, drug, _ = operator.get("/backups/").context["coverage"]
    assert (master.backups[0].generation, drug.backups[0].generation) == (mine, None)


def test_a_cache_without_a_backup_is_not_missed(estate: make.Estate, operator: Client) -> None:
    rows = operator.get("/backups/").context["coverage"]
    assert [row.family.category for row in rows] == ["legacy", "settings"]
    generation_helpers.backup_of(estate, ONE, prefixes=["mastercache:"], status="verified", verified_at=Now())
    rows = operator.get("/backups/").context["coverage"]
    assert [row.family.category for row in rows] == ["legacy", "settings", "cache"]


def test_the_list_is_there_as_csv_with_nothing_a_spreadsheet_would_run(operator: Client, estate: make.Estate) -> None:
    made = generation_helpers.backup_of(estate, prefixes=["=1+1"])
    generation_helpers.backup_of(estate, namespace=estate.production)
    answer = operator.get("/backups/csv?environment=qa")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="backups.csv"'
    head, row, rest = b"".join(answer.streaming_content).decode().split("\r\n")  # type: ignore[attr-defined]
    assert head.startswith('\ufeff"id","environment","binding","prefixes",')
    assert row.startswith(f'"{made.pk}","qa","SETTINGS","\'=1+1","legacy","routine","complete",')
    assert rest == ""


def dump(estate: make.Estate) -> PlainDump:
    return PlainDump.objects.create(
        namespace=estate.qa,
        prefixes=["clinic:id:"],
        host="laptop",
        path="/home/mika/clinics.json",
        sha256="ab" * 32,
        keys=3,
        bytes=40,
        actor="cli:mika",
    )


def test_a_plain_file_is_a_to_do_until_its_place_is_recorded(operator: Client, estate: make.Estate) -> None:
    file = dump(estate)
    assert "laptop:/home/mika/clinics.json" in text(operator, "/backups/")
    operator.post(f"/backups/dumps/{file.pk}/kept", {"kept_at": "1Password: KV"})
    assert "laptop:/home/mika/clinics.json" not in text(operator, "/backups/")
    entry = Entry.objects.get(action="dump.kept")
    assert (entry.subject, entry.details, entry.digest) == (f"dump:{file.pk}", {"kept_at": "1Password: KV"}, "ab" * 32)


def test_a_recorded_place_stays(operator: Client, estate: make.Estate) -> None:
    file = dump(estate)
    for place in ("first", "second"):
        operator.post(f"/backups/dumps/{file.pk}/kept", {"kept_at": place})
    file.refresh_from_db()
    assert (file.kept_at, file.kept_by) == ("first", "Operator <operator@example.com>")
    assert Entry.objects.get(action="refused").subject == f"dump:{file.pk}"


def test_a_place_must_be_said(operator: Client, estate: make.Estate) -> None:
    file = dump(estate)
    answer = operator.post(f"/backups/dumps/{file.pk}/kept", {"kept_at": " "}, follow=True)
    assert "Name the encrypted place of the file" in answer.content.decode()
    assert PlainDump.objects.get().kept_at == ""


def test_a_new_backup_shows_first_what_it_covers(operator: Client, estate: make.Estate) -> None:
    filled(estate, "master:1", "master:2", "mastercache:1", "master", "system-root")
    scanned(estate)
    answer = operator.get("/backups/new/?env=qa&binding=SETTINGS&prefix=master:1&prefix=mastercache:")
    rows = [(row.name, row.keys, row.more) for row in answer.context["rows"]]
    assert sorted(rows) == [("master:*", 1, False), ("mastercache:*", 1, False)]
    assert answer.context["secret"] == 0
    assert not Generation.objects.exists()


def test_keys_that_need_encryption_are_counted_and_nothing_can_be_started(
    operator: Client, estate: make.Estate
) -> None:
    filled(estate, "master:1", "master", "system-root", "mastermind")
    scanned(estate)
    page = text(operator, "/backups/new/?namespace=qa/SETTINGS&prefix=master")
    assert "2 keys under these prefixes must be backed up encrypted." in page
    assert "KVOPS_AGE_RECIPIENTS" in page
    assert "Some of the keys need encryption." in page
    assert 'method="post" action="/backups/new/"' not in page


def test_many_keys_under_a_prefix_are_not_counted_to_the_end(
    estate: make.Estate, operator: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.generations.contents.CAP", 2)
    filled(estate, *(f"master:a:{n}" for n in range(5)))
    scanned(estate)
    (within,) = operator.get("/backups/new/?namespace=qa/SETTINGS&prefix=master:a").context["rows"]
    (whole,) = operator.get("/backups/new/?namespace=qa/SETTINGS&prefix=master:").context["rows"]
    assert (within.keys, within.more, whole.keys, whole.more) == (2, True, 5, False)


def test_a_backup_is_started_by_an_operator_and_watched_on_its_page(
    operator: Client, estate: make.Estate, people: make.People
) -> None:
    filled(estate)
    answer = operator.post("/backups/new/", {"namespace": "qa/SETTINGS", "prefix": "master:\r\n\r\nmastercache:"})
    made = Generation.objects.get()
    assert answer.headers["Location"] == f"/backups/{made.pk}/"
    assert (made.prefixes, made.made_by) == (["master:", "mastercache:"], people.operator)
    assert f'hx-get="/backups/{made.pk}/live"' in text(operator, f"/backups/{made.pk}/")


def test_a_prefix_with_a_line_break_stays_one_prefix(operator: Client, estate: make.Estate) -> None:
    estate.put(estate.qa, "master:a\nb")
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    form = operator.get("/backups/new/?env=qa&binding=SETTINGS&prefix=master:a%0A").context["form"]
    answer = operator.post("/backups/new/", {"namespace": "qa/SETTINGS", "prefix": form["prefix"].value()})
    assert answer.status_code == 302
    assert Generation.objects.get().prefixes == ["master:a\n"]


def test_each_line_of_the_form_is_a_prefix(operator: Client, estate: make.Estate) -> None:
    filled(estate)
    form = {"namespace": "qa/SETTINGS", "prefix": "master:\r\nother:\r\n"}
    answer = operator.get("/backups/new/", form)
    assert answer.context["form"].cleaned_data["prefix"] == ["master:", "other:"]
    assert "[U+000D]" not in answer.text
    operator.post("/backups/new/", {**form, "prefix": answer.context["form"]["prefix"].value()})
    assert Generation.objects.get().prefixes == ["master:", "other:"]


def test_a_refused_backup_stays_on_the_form_and_is_recorded(operator: Client, estate: make.Estate) -> None:
    answer = operator.post("/backups/new/", {"namespace": "qa/SETTINGS", "prefix": "nothing:"})
    assert answer.status_code == 422
    assert "Keys of SETTINGS under nothing: must be backed up encrypted." in answer.content.decode()
    assert "nothing:</textarea>" in answer.content.decode()
    assert Entry.objects.get(action="refused").subject == f"namespace:{estate.qa.pk}"


def test_the_same_backup_is_not_started_twice(operator: Client, estate: make.Estate) -> None:
    for status in (302, 422):
        answer = operator.post("/backups/new/", {"namespace": "qa/SETTINGS", "prefix": "master:"})
        assert answer.status_code == status
    assert Generation.objects.count() == 1


@pytest.mark.parametrize(
    ("namespace", "prefix", "sentence"),
    [
        ("qa/NOTHING", "master:", "Select a valid choice"),
        ("qa/SETTINGS", "", "This field is required"),
        ("qa/SETTINGS", "\r\n", "Name at least one prefix"),
        ("qa/SETTINGS", "\r\n".join("abcdefghijklmnopqrstu"), "At most 20 prefixes"),
        ("qa/SETTINGS", "あ" * 171, "at most 512 bytes"),
    ],
)
def test_what_cannot_be_a_backup_is_said_at_its_field(
    operator: Client, estate: make.Estate, namespace: str, prefix: str, sentence: str
) -> None:
    answer = operator.post("/backups/new/", {"namespace": namespace, "prefix": prefix})
    assert answer.status_code == 422
    assert sentence in answer.content.decode()


def test_a_backup_says_all_that_is_known_of_it(operator: Client, estate: make.Estate) -> None:
    filled(estate)
    made = backed_up(estate)
    page = text(operator, f"/backups/{made.pk}/")
    part = made.parts.get()
    for fact in (
        made.manifest_key,
        made.manifest_sha256,
        made.digest_root,
        part.object_key,
        part.sha256,
        "qa-settings",
    ):
        assert fact in page
    assert f'/audit/?subject=generation:{made.pk}&amp;tree=on"' in page
    assert "hx-get" not in page


def test_the_moving_part_stays_the_same_while_nothing_moves_and_reloads_the_page_at_the_end(
    operator: Client, estate: make.Estate
) -> None:
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    first, second = (operator.get(f"/backups/{made.pk}/live") for _ in range(2))
    assert first.content == second.content
    assert "HX-Refresh" not in first.headers
    assert operator.get(f"/backups/{made.pk}/live", headers={"If-None-Match": first["ETag"]}).status_code == 304
    make.work()
    assert operator.get(f"/backups/{made.pk}/live")["HX-Refresh"] == "true"


def test_the_steps_to_restore_are_those_in_the_bucket(operator: Client, estate: make.Estate) -> None:
    filled(estate)
    made = backed_up(estate)
    steps = operator.get(f"/backups/{made.pk}/restore")
    assert b"".join(steps.streaming_content) == estate.s3.objects[f"{made.stem}.RESTORE.md"]  # type: ignore[attr-defined]
    page = text(operator, f"/backups/{made.pk}/")
    assert "--remote" in page
    assert [section.title for section in operator.get(f"/backups/{made.pk}/").context["sections"]][1:] == [
        "Fetch the objects and check them / オブジェクトを取得して確認する",
        "Write the keys / キーを書き込む",
        "Look at the result / 結果を確認する",
    ]


def test_entries_are_paged_by_name_and_filtered(
    operator: Client, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("backups.generations.views.PAGE", 2)
    names = ["master:a", "master:a b&c", "master:b", "master:日本"]
    filled(estate, *names)
    vanishing(estate, "master:b")
    made = backed_up(estate, verify=False)

    def shown(query: str = "") -> list[str]:
        return [entry.name for entry in operator.get(f"/backups/{made.pk}/{query}").context["entries"]]

    assert shown() == names[:2]
    assert "?after=master%3Aa+b%26c" in text(operator, f"/backups/{made.pk}/")
    assert shown("?after=master%3Aa+b%26c") == names[2:]
    assert shown("?prefix=master:日") == ["master:日本"]
    assert shown("?outcome=vanished") == ["master:b"]
    assert shown("?outcome=x") == []


def value_of(client: Client, generation: Generation, name: str) -> str:
    index = generation.entries.get(name=name).index
    return client.post(f"/backups/{generation.pk}/entries/{index}/value", follow=True).content.decode()


def test_a_value_is_shown_from_the_backup_on_request_recorded_and_not_stored(
    operator: Client, estate: make.Estate
) -> None:
    filled(estate)
    made = backed_up(estate)
    estate.put(estate.qa, "master:city:1", b"newer")
    assert "東京" not in text(operator, f"/backups/{made.pk}/")
    answer = operator.post(f"/backups/{made.pk}/entries/0/value")
    assert "東京" in answer.content.decode()
    assert "no-store" in answer["Cache-Control"]
    entry = Entry.objects.get(action="value.viewed")
    assert (entry.subject, entry.details["key"]) == (f"generation:{made.pk}", "master:city:1")


def test_a_value_that_needs_masking_by_now_is_not_shown(operator: Client, estate: make.Estate) -> None:
    filled(estate)
    made = backed_up(estate)
    make.family("master:city:", Category.SETTINGS)
    page = value_of(operator, made, "master:city:1")
    assert "東京" not in page
    assert "settings or unclassified now" in page
    assert not Entry.objects.filter(action="value.viewed").exists()


def test_a_value_that_is_not_what_was_written_is_not_shown(operator: Client, estate: make.Estate) -> None:
    filled(estate)
    made = backed_up(estate)
    estate.s3.objects[made.parts.get().object_key] = b"[]"
    assert "do not hold" in value_of(operator, made, "master:city:1")


@pytest.mark.usefixtures("not_read_back")
def test_a_backup_is_read_back_again_from_its_page(operator: Client, estate: make.Estate) -> None:
    filled(estate)
    made = backed_up(estate, verify=False)
    operator.post(f"/backups/{made.pk}/verify")
    make.work()
    assert "Verified" in text(operator, f"/backups/{made.pk}/")
    run = Run.objects.get(kind="verify")
    assert run.actor == "Operator <operator@example.com>"


def test_a_backup_in_writing_cannot_be_read_back(operator: Client, estate: make.Estate) -> None:
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    page = operator.post(f"/backups/{made.pk}/verify", follow=True).content.decode()
    assert "Only a complete backup can be verified" in page
    assert Entry.objects.get(action="refused").subject == f"generation:{made.pk}"


@pytest.mark.parametrize("status", ["partial", "damaged"])
def test_a_backup_that_proves_nothing_says_what_to_do(operator: Client, estate: make.Estate, status: str) -> None:
    made = generation_helpers.backup_of(estate, status=status, problem="Something is missing.")
    page = text(operator, f"/backups/{made.pk}/")
    assert "Something is missing." in page
    assert f"This backup is {status}" in page
    assert "?env=qa&amp;binding=SETTINGS&amp;prefix=master%3A" in page
    assert (f'action="/backups/{made.pk}/verify"' in page) == (status == "damaged")


def test_the_verification_that_found_the_damage_says_so(operator: Client, estate: make.Estate) -> None:
    filled(estate)
    made = backed_up(estate)
    estate.s3.objects.clear()
    generation_start.start_verification(made, actor=make.SETUP)
    make.work()
    page = text(operator, f"/backups/{made.pk}/")
    assert "This verification ran to its end and found the backup damaged." in page
    assert "Succeeded" not in page


def test_damage_found_outside_a_verification_is_not_laid_on_it(operator: Client, estate: make.Estate) -> None:
    filled(estate)
    made = backed_up(estate)
    Generation.objects.filter(pk=made.pk).update(status="damaged", problem="Something is missing.")
    assert "This verification found nothing wrong." in text(operator, f"/backups/{made.pk}/")


def test_a_backup_elsewhere_says_so_and_is_not_verified(operator: Client, estate: make.Estate) -> None:
    filled(estate)
    made = backed_up(estate)
    Environment.objects.filter(slug="qa").update(r2_endpoint="https://typo.example.com")
    page = operator.get(f"/backups/{made.pk}/").content.decode()
    assert page.count("The backup is in a bucket that the environment no longer uses.") >= 2
    assert (estate.s3.endpoint in page, f'action="/backups/{made.pk}/verify"' in page) == (True, False)
    assert re.findall(r"<button[^>]* disabled[^>]*>(Restore…|Compare…)<", page) == ["Restore…", "Compare…"]
    assert re.findall(r"</svg>(Restore…|Compare…)", page) == []


def test_a_backup_whose_run_failed_says_what_to_do(operator: Client, estate: make.Estate) -> None:
    made = generation_start.start_backup(estate.qa, prefixes=["master:"], actor=make.SETUP)
    Run.objects.update(state="running")
    Run.objects.update(state="failed", error_code="store", error="R2 said no.", finished_at=Now())
    page = text(operator, f"/backups/{made.pk}/")
    assert "R2 said no." in page
    assert "Open the run to try again" in page


def test_a_backup_is_checked_against_d1_from_its_page(operator: Client, estate: make.Estate) -> None:
    filled(estate)
    generation_helpers.dataset()
    made = backed_up(estate)
    answer = operator.post(f"/backups/{made.pk}/check")
    assert answer.headers["Location"] == f"/integrity/{made.checks.get().pk}/"
    make.work()
    assert "2 differences" in text(operator, f"/backups/{made.pk}/")


def test_a_backup_without_a_dataset_says_why_it_cannot_be_checked(operator: Client, estate: make.Estate) -> None:
    made = generation_helpers.backup_of(estate)
    page = text(operator, f"/backups/{made.pk}/")
    assert "No single dataset covers master:*" in page
    assert f'action="/backups/{made.pk}/check"' not in page
    operator.post(f"/backups/{made.pk}/check")
    assert Entry.objects.get(action="refused").subject == f"generation:{made.pk}"


def test_a_backup_names_the_clean_up_that_relies_on_it(
    operator: Client, estate: make.Estate, people: make.People
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    page = text(operator, f"/backups/{stage.generation_id}/")
    assert f'href="/cleanup/stages/{stage.pk}/"' in page
    assert numbers(operator, "?purpose=cleanup") == [stage.generation_id]
