"""The glossary has the words of the product and of its policy, in both languages."""

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.translation import override

from kvops import permissions
from kvops.help import words
from tests import make
from tests.signing import signed_in

WORDS = [word for _title, group in words.GROUPS for word in group]
POLICY = ("4眼原則", "世代", "退避", "整合性チェック", "運用ノート", "本番")


@pytest.fixture
def reader(people: make.People) -> Client:
    return signed_in(people.auditor)


def test_no_word_is_there_twice_and_each_is_one_sentence() -> None:
    assert len({word.code for word in WORDS}) == len(WORDS)
    assert len({str(word.word) for word in WORDS}) == len(WORDS)
    assert [word.code for word in WORDS if str(word.meaning).count(".") != 1] == []


@pytest.mark.parametrize("spoken", POLICY)
def test_the_words_of_the_policy_are_among_them(spoken: str) -> None:
    with override("ja"):
        assert [word.code for word in WORDS if spoken in str(word.word)] != []


def test_the_auditor_is_said_to_have_the_rights_of_the_role() -> None:
    rights = {right for right, roles in permissions.PERMISSIONS.items() if "auditor" in roles}
    assert rights == {"kvops.view", "audit.view_entry", "kvops.stop", "kvops.pin", "kvops.note"}
    [said] = [str(word.meaning) for word in WORDS if word.code == "auditor"]
    assert [word for word in ("every page", "no value", "stop", "pin", "note") if word not in said] == []


@pytest.mark.django_db
def test_a_word_is_shown_in_both_languages(reader: Client) -> None:
    page = reader.get(reverse("help-words")).content.decode()
    assert 'id="four-eyes"' in page
    assert '<span class="fw-normal text-secondary ms-1" lang="ja">4眼原則</span>' in page
    reader.cookies["django_language"] = "ja"
    assert 'lang="en">Four-eyes principle</span>' in reader.get(reverse("help-words")).content.decode()


@pytest.mark.django_db
def test_every_page_that_a_word_leads_to_exists(reader: Client) -> None:
    pages = {word.page for word in WORDS}
    assert {page: reader.get(reverse(page)).status_code for page in pages} == dict.fromkeys(pages, 200)


@pytest.mark.django_db
def test_each_page_leads_to_the_words(reader: Client) -> None:
    assert f'href="{reverse("help-words")}"' in reader.get(reverse("runs")).content.decode()
