"""Every page in Japanese: its language, its title, and no sentence left in English."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import pytest
from django.urls import reverse
from django.utils import translation

from audit.models import Entry
from backups.restores import undo as stage_undo
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.models import ApprovalRequest
from kvops.runs.lease import Lease
from kvops.wording import actor, english, said, say, sentence_of, spoken
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.signing import signed_in
from tests.test_doors import DOORS, VISITORS, DoorsWorld, world
from tests.translations import CATALOGUE, messages

__all__ = ["world"]

JAPANESE = re.compile(r"[ぁ-んァ-ヶ一-龠]")
SENTENCES = [
    msgid for _context, msgid in messages(CATALOGUE.read_text("utf-8")) if re.fullmatch(r"[^%\\]+ .+\.", msgid)
]


@pytest.fixture(autouse=True)
def english_for_the_others() -> Iterator[None]:
    """The language of the last answer stays with the thread."""
    with translation.override("en"):
        yield


@pytest.fixture
def pages(world: DoorsWorld, people: make.People) -> dict[str, str]:
    """Every page that an operator can read, by its name."""
    browser = signed_in(people.operator)
    browser.cookies["django_language"] = "ja"
    readable = {name: door for name, door in DOORS.items() if door.get[VISITORS.index("operator")] == 200}
    answers = {name: browser.get(reverse(name, args=door.at(world)) + door.query) for name, door in readable.items()}
    return {
        name: unescape(answer.content.decode())
        for name, answer in answers.items()
        if not answer.streaming and answer.headers["Content-Type"].startswith("text/html")
    }


def test_a_heading_says_the_meaning_that_it_has(world: DoorsWorld, people: make.People) -> None:
    browser = signed_in(people.operator)
    browser.cookies["django_language"] = "ja"
    heads = {}
    for page in ("/schedules/", "/backups/history/", "/notifications/"):
        text = browser.get(page).content.decode()
        heads[page] = {one.strip() for one in re.findall(r"<(?:th|label)\b[^>]*>([^<]*)", text)}
    assert heads["/schedules/"] & {"次回", "次へ", "次の操作"} == {"次回"}
    assert heads["/backups/history/"] & {"出来事", "通知内容"} == {"出来事"}
    assert heads["/notifications/"] & {"出来事", "通知内容"} == {"通知内容"}


def test_every_page_is_in_japanese_and_has_no_sentence_of_the_catalogue_in_english(pages: dict[str, str]) -> None:
    whole = {name: page for name, page in pages.items() if "<html" in page}
    assert len(whole) > 20
    assert [name for name, page in whole.items() if '<html lang="ja"' not in page] == []
    titles = {name: re.findall(r"<title>(.*?)</title>", page, re.DOTALL)[0] for name, page in whole.items()}
    # These are titled by the names they show.
    assert [name for name, title in titles.items() if not JAPANESE.search(title)] == ["key", "keys", "person"]
    assert len(SENTENCES) > 200
    assert [(name, text) for name, page in pages.items() for text in SENTENCES if text in page] == []


def test_a_refusal_is_said_in_japanese_and_recorded_in_english(world: DoorsWorld, people: make.People) -> None:
    browser = signed_in(people.operator)
    browser.cookies["django_language"] = "ja"
    ApprovalRequest.objects.filter(pk=world.approval.pk).update(state="withdrawn")
    answer = browser.post(reverse("approval-withdraw", args=[world.approval.pk]), follow=True)
    assert "依頼は終了しているため、取り下げるものがありません。" in answer.content.decode()
    assert Entry.objects.latest("seq").details == {"reason": "The request is over; there is nothing to withdraw."}


def test_a_stored_sentence_is_read_in_the_readers_language() -> None:
    with translation.override("ja"):
        assert said("Second listing.") == "2\xa0回目の一覧です。"
        assert said("in no catalogue") == "in no catalogue"
        assert said("") == ""


def test_a_sentence_with_facts_waits_for_its_reader() -> None:
    refused = approval_gate.ApprovalRefused(say("Run %(pk)s", pk=7))
    with translation.override("ja"):
        assert str(say(translation.gettext_lazy("Run %(pk)s"), pk=7)) == "実行 7"
        assert english(say(translation.gettext_lazy("Run %(pk)s"), pk=7)) == "Run 7"
    assert str(refused) == "Run 7"


def test_a_mail_names_a_part_of_the_product_in_the_language_of_its_reader() -> None:
    line = sentence_of(say(translation.gettext_lazy("Started by %(who)s."), who=actor("system:schedule")))
    assert str(line) == "Started by KVOps: schedules."
    with translation.override("ja"):
        assert spoken(line) == "開始者：KVOps：スケジュール"
        assert actor("system:of an older release") == "system:of an older release"


def test_the_notes_of_runs_count_without_a_plural_and_are_said_in_japanese(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes: list[str] = []
    renew = Lease.renew

    def noted(lease: Lease, **values: Any) -> None:
        notes.append(values.get("note", ""))
        renew(lease, **values)

    monkeypatch.setattr(Lease, "renew", noted)
    monkeypatch.setattr(timing, "SETTLE", 0.02)
    cleanup_helpers.estate_with_masters(estate, ["master:a:1"])
    stage = cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
    stage_undo.start_undo(stage, by=people.operator2)
    make.work()
    counted = {"Keys listed: 1.", "Keys backed up: 1 of 1.", "Names dealt with: 1 of 1.", "Part 1 is as written."}
    assert counted - set(notes) == set()
    with translation.override("ja"):
        assert {note for note in notes if note and not JAPANESE.search(said(note))} == set()
        assert said("Keys backed up: 1,000 of 2,000.") == "バックアップしたキー：2,000\xa0件中 1,000\xa0件"
        assert [said(odd) for odd in ("", "Tea: 1 of 2.", "1 2 3 and 100%")] == ["", "Tea: 1 of 2.", "1 2 3 and 100%"]
