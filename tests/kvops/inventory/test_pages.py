"""The pages of keys: the list, the tree, the file of names, a scan on request."""

import json
from urllib.parse import quote

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from kvops.inventory import browse, scan as inventory_scan, views as inventory_views
from kvops.models import Key, Run, Scan
from tests import make

QA = "/keys/qa/SETTINGS/"
SCAN = "/keys/qa/SETTINGS/scan"
ODD = ["master:a/b", "master:a b", "master:?x=1&y#z", "master:<b>", "master:施設", "master:😀", "master:tab\there"]


@pytest.fixture
def operator(client: Client, people: make.People) -> Client:
    client.force_login(people.operator.logins.get())
    return client


def scanned(estate: make.Estate, *names: str, **more: object) -> None:
    for name in names:
        estate.put(estate.qa, name, b"{}", **more)
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()


def many(estate: make.Estate, number: int) -> None:
    """Keys of the inventory, past the scan."""
    scanned(estate, "master:x")
    first_seen = Scan.objects.get()
    rows = (Key(namespace=estate.qa, name=f"a:{at // 100}:{at:05}", first_seen=first_seen) for at in range(number))
    Key.objects.bulk_create(rows)


def page(client: Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200
    return answer.content.decode()


def shown(client: Client, address: str) -> list[str]:
    return [key.name for key in client.get(address).context["page"].keys]


def names(client: Client, address: str) -> str:
    answer = client.get(address)
    return b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]


def test_a_namespace_that_was_never_scanned_says_what_comes_next(operator: Client, estate: make.Estate) -> None:
    text = page(operator, QA)
    assert "Never scanned" in text
    assert f'action="{SCAN}"' in text


def test_the_address_above_the_namespaces_lists_them(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "master:a", "master:b")
    text = page(operator, "/keys/")
    rows = operator.get("/keys/").context["rows"]
    assert [(one.environment.slug, scan and scan.counted) for one, scan in rows] == [("qa", 2), ("production", None)]
    assert f'<a href="{QA}">SETTINGS</a>' in text
    assert "Never scanned" in text


def test_the_list_names_category_family_expiration_and_metadata(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "master:1", expiration=4_000_000_000, metadata='{"a": 1}')
    text = page(operator, QA)
    for part in ("Legacy master", "master:*", "2096-10-02", "with metadata"):
        assert part in text


def test_odd_names_lead_to_their_own_pages(operator: Client, estate: make.Estate) -> None:
    scanned(estate, *ODD)
    text = page(operator, QA)
    for name in ODD:
        address = f"/key/qa/SETTINGS/?name={quote(name, safe='')}"
        assert f'href="{address}"' in text
        assert operator.get(address).context["key"].name == name


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ("category=cache", ["mastercache:1"]),
        ("prefix=master:", ["master:1", "master:2"]),
        ("prefix=master&expiring=any", ["mastercache:1"]),
        ("expiring=none&category=unclassified", ["other"]),
        ("expiring=soon", []),
        ("after=master:1", ["master:2", "mastercache:1", "other"]),
        ("category=nonsense", []),
        ("family=0", []),
        ("prefix=%00", []),
    ],
)
def test_filters_stand_in_the_address(operator: Client, estate: make.Estate, filters: str, expected: list[str]) -> None:
    estate.put(estate.qa, "mastercache:1", expiration=4_000_000_000)
    scanned(estate, "master:1", "master:2", "other")
    assert shown(operator, f"{QA}?{filters}") == expected


def test_a_family_is_a_filter_and_offers_what_can_be_done_with_it(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "master:1", "mastercache:1")
    family = Key.objects.get(name="master:1").family
    assert family is not None
    text = page(operator, f"{QA}?family={family.pk}")
    assert shown(operator, f"{QA}?family={family.pk}") == ["master:1"]
    assert "/cleanup/new/?binding=SETTINGS&prefix=master%3A" in text.replace("&amp;", "&")
    assert "/backups/new/?env=qa&binding=SETTINGS&prefix=master%3A" in text.replace("&amp;", "&")


def test_no_clean_up_is_offered_for_settings(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "system-root")
    assert "/cleanup/new/" not in page(operator, f"{QA}?prefix=system-root")


def test_a_page_touches_few_keys_however_many_there_are(operator: Client, estate: make.Estate) -> None:
    many(estate, 10_000)
    with CaptureQueriesContext(connection) as queries:
        page(operator, f"{QA}?prefix=a:&expiring=none&after=a:50:05000")
    about_keys = [query["sql"] for query in queries if "kvops_key" in query["sql"]]
    assert len(queries) <= 25
    assert about_keys
    for sql in about_keys:
        assert "LIMIT" in sql
        assert "OFFSET" not in sql


def test_the_tree_counts_exactly_where_it_can(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "master:a:1", "master:a:2", "master:b:1", "other:1")
    tree = operator.get(QA).context["tree"]
    assert [(branch.label, branch.keys, branch.more, branch.percent) for branch in tree] == [
        ("master:", 3, False, 75.0),
        ("other:", 1, False, 25.0),
    ]
    assert [branch.label for branch in operator.get(f"{QA}?prefix=master:").context["tree"]] == ["a:", "b:"]


def test_the_scan_counts_a_family_the_tree_would_not_count_to_the_end(
    operator: Client, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(browse, "_COUNTED", 2)
    scanned(estate, *(f"master:{number}" for number in range(5)), *(f"other:{number}" for number in range(5)))
    tree = operator.get(QA).context["tree"]
    assert [(branch.label, branch.keys, branch.more) for branch in tree] == [
        ("master:", 5, False),
        ("other:", 1, True),
    ]


def test_a_prefix_shows_its_way_back(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "master:a:1")
    assert operator.get(f"{QA}?prefix=master:a:x").context["path"] == [
        ("master:", "master:"),
        ("master:a:", "a:"),
        ("master:a:x", "x"),
    ]


def test_a_prefix_without_a_key_leads_to_the_deleted_keys_that_begin_like_it(
    operator: Client, estate: make.Estate
) -> None:
    scanned(estate, "master:a")
    text = page(operator, f"{QA}?prefix=no+thing:")
    assert text.count('href="/keys/qa/SETTINGS/deleted/?prefix=no%20thing%3A"') == 2  # the tab, and the list's own way
    assert 'href="/keys/qa/SETTINGS/compare/production/?prefix=no%20thing%3A"' in text


@pytest.mark.parametrize(
    ("filters", "title"), [("prefix=nothing:", "No key begins like this"), ("category=cache", "Nothing matches")]
)
def test_an_empty_list_says_why(operator: Client, estate: make.Estate, filters: str, title: str) -> None:
    scanned(estate, "master:1")
    assert title in page(operator, f"{QA}?{filters}")


def test_names_that_cannot_be_held_are_counted_and_explained(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "master:1", "nul\0")
    assert "1 key is not shown here" in page(operator, QA)


def test_the_file_holds_the_names_of_this_view_as_they_are(operator: Client, estate: make.Estate) -> None:
    scanned(estate, *ODD, "other")
    lines = names(operator, f"{QA}names?prefix=master:&format=jsonl").splitlines()
    assert [json.loads(line)["name"] for line in lines] == sorted(ODD)


def test_no_name_becomes_a_formula(operator: Client, estate: make.Estate) -> None:
    scanned(estate, "=1+1", "@x", '"quoted"')
    assert names(operator, f"{QA}names?format=csv") == ('\ufeff"name"\r\n"""quoted"""\r\n"\'=1+1"\r\n"\'@x"\r\n')


def test_the_file_is_bounded(operator: Client, estate: make.Estate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inventory_views, "MOST", 7)
    monkeypatch.setattr(inventory_views, "_STRETCH", 3)
    many(estate, 20)
    assert len(names(operator, f"{QA}names").splitlines()) == 7


def test_an_operator_starts_a_scan_and_sees_it_run(operator: Client, estate: make.Estate, people: make.People) -> None:
    text = operator.post(SCAN, follow=True).content.decode()
    run = Run.objects.get(kind=Run.Kind.SCAN)
    assert run.started_by == people.operator
    assert "A scan is under way" in text
    assert f'hx-get="/runs/{run.pk}/live"' in text


def test_a_second_scan_leads_to_the_first(operator: Client, estate: make.Estate) -> None:
    operator.post(SCAN)
    text = operator.post(SCAN, follow=True).content.decode()
    assert "under way already" in text
    assert f'<a href="/runs/{Run.objects.get().pk}/">' in text


def test_a_scan_that_failed_is_said_and_changes_nothing(
    operator: Client, estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    scanned(estate, "master:1")
    monkeypatch.delenv("QA_READ")
    inventory_scan.start_scan(estate.qa, actor=make.SETUP)
    make.work()
    assert "The last scan failed" in page(operator, QA)
    assert shown(operator, QA) == ["master:1"]


def test_the_menu_leads_to_every_namespace(operator: Client, estate: make.Estate) -> None:
    text = page(operator, QA)
    assert f'href="{QA}" aria-current="page"' in " ".join(text.split())
    assert 'href="/keys/production/SETTINGS/"' in text
