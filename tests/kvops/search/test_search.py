"""The search over everything that has a page: what it finds, for whom, and with how few queries."""

import re
from html import unescape

import pytest
from django.test import Client
from django.utils.translation import override
from pytest_django import DjangoAssertNumQueries

from audit import log
from kvops.models import Category, Key, Namespace, Person, Run
from kvops.operations.registry import SUBJECTS
from kvops.runs import driver as run_driver
from kvops.search import keys, matching
from kvops.site.pages import OTHERS
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import signed_in


@pytest.fixture
def operator(people: make.People) -> Client:
    return signed_in(people.operator)


def know(namespace: Namespace, *names: str) -> None:
    """The inventory has keys of these names."""
    Key.objects.bulk_create(Key(namespace=namespace, name=name, first_seen_id=0) for name in names)


def found(client: Client, text: str, address: str = "/search/") -> dict[str, list[tuple[str, str]]]:
    """The titles and addresses of the results, by group."""
    groups = client.get(address, {"q": text}).context["groups"]
    return {str(group.title): [(item.title, item.url) for item in group.items] for group in groups}


def titles(client: Client, text: str, group: str) -> list[str]:
    return [title for title, _url in found(client, text).get(group, [])]


def names(namespace: Namespace, text: str, most: int = 8) -> list[str]:
    return [one.name for one in keys.find([namespace], matching.read(text), most)]


def run(label: str, number: int = 0) -> Run:
    with log.transaction():
        return run_driver.create(Run.Kind.VERIFY, subject=f"generation:{number}", label=label, actor=make.SETUP)


def test_the_key_of_this_name_comes_first_then_its_beginnings_then_its_parts(estate: make.Estate) -> None:
    know(estate.qa, "a:mail:smtp", "mail", "mail:bounce", "zmail", "other")
    assert names(estate.qa, "mail") == ["mail", "mail:bounce", "a:mail:smtp", "zmail"]


def test_a_part_is_found_behind_the_first_names_by_the_index_of_parts(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "WINDOW", 2)
    know(estate.qa, "a", "b", "c:needle:1", "d:needle:2")
    assert names(estate.qa, "needle") == ["c:needle:1", "d:needle:2"]


def test_a_part_that_the_index_cannot_look_up_is_found_among_the_first_names_only(
    estate: make.Estate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "WINDOW", 2)
    know(estate.qa, "a:::1", "b", "c:::2")
    assert names(estate.qa, ":::") == ["a:::1"]


def test_two_characters_find_only_the_key_of_this_very_name(estate: make.Estate) -> None:
    know(estate.qa, "ab", "abc")
    assert names(estate.qa, "ab") == ["ab"]


@pytest.mark.parametrize("text", ["50%", "a_b", "a\\b", "施設:", "line[U+000A]break"])
def test_a_name_is_found_as_it_is_typed(estate: make.Estate, text: str) -> None:
    know(estate.qa, "50%", "a_b", "a\\b", "施設:東京", "line\nbreak", "500", "axb")
    assert len(names(estate.qa, text)) == 1


def test_a_key_is_found_in_each_environment_and_leads_to_its_page(estate: make.Estate, operator: Client) -> None:
    know(estate.qa, "mail:a&b")
    know(estate.production, "mail:a&b")
    assert found(operator, "mail:a")["Keys"] == [
        ("mail:a&b", "/key/qa/SETTINGS/?name=mail%3Aa%26b"),
        ("mail:a&b", "/key/production/SETTINGS/?name=mail%3Aa%26b"),
    ]


def test_a_family_leads_to_its_keys(estate: make.Estate, operator: Client) -> None:
    make.family("mail:", Category.SETTINGS)
    for text in ("mail", "mail:*"):
        assert ("mail:*", "/keys/production/SETTINGS/?prefix=mail%3A") in found(operator, text)["Families"]


def test_the_families_of_a_person_come_after_the_person(
    estate: make.Estate, people: make.People, operator: Client
) -> None:
    make.family("mail:", Category.SETTINGS, owner="Reviewer")
    make.family("reviewer:", Category.SETTINGS, owner="Reviewer")
    groups = found(operator, "reviewer")
    assert list(groups)[-2:] == ["People", "Families by their owner"]
    assert {title for title, _url in groups["Families"]} == {"reviewer:*"}
    assert {title for title, _url in groups["Families by their owner"]} == {"mail:*"}


def test_requests_are_found_by_their_prefix_and_worded_for_the_reader(
    estate: make.Estate, people: make.People, operator: Client
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    assert found(operator, "master:")["Requests"] == [
        ("Delete 3 keys master:* from QA qa-settings", f"/approvals/{stage.approval_id}/"),
        ("SETTINGS master:", f"/cleanup/{stage.request_id}/"),
    ]
    operator.cookies["django_language"] = "ja"
    assert "3" in titles(operator, "master:", "依頼")[0]
    assert "Delete" not in titles(operator, "master:", "依頼")[0]


def test_requests_are_found_by_the_words_the_reader_sees(
    estate: make.Estate, people: make.People, operator: Client
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    approval = f"/approvals/{stage.approval_id}/"
    operator.cookies["django_language"] = "ja"
    for text in ("削除", "削除 master:", "削除\u3000qa", "キーの削除"):
        assert approval in [url for _title, url in found(operator, text)["依頼"]], text
    for text in ("復元", "削除 mail:", "削除 master: mail:"):
        assert "依頼" not in found(operator, text), text
    assert f"/cleanup/{stage.request_id}/" in [url for _title, url in found(operator, "クリーンアップ master:")["依頼"]]


def test_a_word_is_of_a_label_from_its_beginning_and_in_japanese_as_a_part() -> None:
    assert matching.read("delete mail:").besides("delete keys") == ["mail:"]
    assert matching.read("lete mail:").besides("delete keys") is None
    assert matching.read("削除").besides("キーの削除") == []


def test_backups_and_runs_are_found_by_their_kind_and_family(operator: Client) -> None:
    for number, label in enumerate(("QA mail:*", "QA other:*")):
        run(label, number)
    for language, word, group in (("ja", "読み戻し検証", "実行"), ("en", "verif", "Runs")):
        operator.cookies["django_language"] = language
        assert titles(operator, f"{word} mail", group) == ["QA mail:*"]
        assert len(titles(operator, word, group)) == 2


def test_a_backup_is_found_by_its_number(estate: make.Estate, people: make.People, operator: Client) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.prepared(cleanup_helpers.asked(people), people)
    for text in (f"{stage.generation_id}", f"#{stage.generation_id}", f"backup {stage.generation_id}"):
        assert found(operator, text)["Backups"] == [("SETTINGS master:", f"/backups/{stage.generation_id}/")]


@pytest.mark.parametrize("language", ["en", "ja"])
def test_a_title_that_the_search_shows_with_a_number_names_that_number(language: str) -> None:
    with override(language):
        shown = [f"{one.title} 12" for kind, one in SUBJECTS.items() if one.searched]
        assert [title for title in shown if matching.read(title).number != 12] == []
    assert matching.read("clinic:id:0012").number is None


def test_runs_are_found_by_number_and_by_label(operator: Client) -> None:
    made = run("QA mail:*")
    assert found(operator, f"run {made.pk}")["Runs"] == [("QA mail:*", f"/runs/{made.pk}/")]
    assert found(operator, "MAIL:")["Runs"] == [("QA mail:*", f"/runs/{made.pk}/")]
    assert "Runs" not in found(operator, "nothing-like-this")


def test_a_deleted_key_is_found_until_it_is_there_again(
    estate: make.Estate, people: make.People, operator: Client
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
    assert ("master:a:1", "/key/qa/SETTINGS/?name=master%3Aa%3A1") in found(operator, "master:a")["Deleted keys"]
    assert "Deleted keys" not in found(operator, "master:z")
    know(estate.qa, "master:a:1")
    assert "master:a:1" not in titles(operator, "master:", "Deleted keys")


def test_a_key_that_a_deletion_left_is_not_among_the_deleted(
    estate: make.Estate, people: make.People, operator: Client
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    assert "Deleted keys" not in found(operator, "master:")


def test_people_are_found_by_name_and_address(people: make.People, operator: Client) -> None:
    assert titles(operator, "reviewer@", "People") == ["Reviewer"]
    assert found(operator, "AUDIT")["People"] == [("Auditor", f"/people/{people.auditor.pk}/")]


def test_pages_are_found_in_both_languages(operator: Client) -> None:
    assert found(operator, "categor")["Pages"] == [("Categories", "/categories/")]
    operator.cookies["django_language"] = "ja"
    assert [url for _title, url in found(operator, "categor")["ページ"]] == ["/categories/"]


@pytest.mark.parametrize("address", OTHERS)
def test_a_page_that_the_menu_lacks_is_found_by_its_name(people: make.People, operator: Client, address: str) -> None:
    assert f"/{address}" in [url for _title, url in found(operator, str(OTHERS[address]))["Pages"]]
    for person in (people.operator, people.auditor):
        assert signed_in(person).get(f"/{address}").status_code == 200


@pytest.mark.parametrize("spelled", ["cleanup", "Clean up", "clean-up"])
def test_a_page_is_found_however_its_words_are_joined(operator: Client, spelled: str) -> None:
    assert titles(operator, spelled, "Pages") == ["Clean-up"]
    assert "Pages" not in found(operator, "---")


def test_a_page_is_found_by_those_who_may_see_it(people: make.People, operator: Client) -> None:
    assert titles(operator, "doctor", "Pages") == ["Doctor"]
    assert found(signed_in(people.auditor), "doctor") == {}


def test_without_a_text_the_palette_has_the_first_pages(operator: Client) -> None:
    groups = found(operator, "", "/search/palette")
    assert list(groups) == ["Pages"]
    assert len(groups["Pages"]) == 8


def test_a_group_of_the_palette_is_short_and_leads_to_all_results(estate: make.Estate, operator: Client) -> None:
    know(estate.qa, *(f"mail:{number:02}" for number in range(20)))
    text = operator.get("/search/palette", {"q": "mail:"}).content.decode()
    assert text.count('role="option"') == 9
    assert 'href="/search/?q=mail%3A"' in text
    assert len(titles(operator, "mail:", "Keys")) == 20


def test_every_option_of_the_palette_has_an_id_of_its_own(people: make.People, operator: Client) -> None:
    text = operator.get("/search/palette", {"q": "er"}).content.decode()
    ids = re.findall(r'role="option"[^>]*id="([^"]+)"', unescape(text))
    assert len(ids) == len(set(ids)) > 1


def test_the_palette_asks_the_database_twelve_times_at_most(
    estate: make.Estate, people: make.People, operator: Client, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    cleanup_helpers.estate_with_masters(estate)
    cleanup_helpers.submitted(cleanup_helpers.asked(people), people)
    with django_assert_max_num_queries(12):
        assert len(found(operator, "master:", "/search/palette")) == 5


def test_a_title_that_a_person_typed_is_escaped(estate: make.Estate, people: make.People, operator: Client) -> None:
    Person.objects.filter(pk=people.auditor.pk).update(name="<script>x</script>")
    assert "<script>x" not in operator.get("/search/palette", {"q": "script"}).content.decode()
