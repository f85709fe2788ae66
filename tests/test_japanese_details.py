"""Pages in Japanese show no English detail: problems, reasons and errors with their facts, by families of pages."""

import pytest
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from backups.cleanup import requests as cleanup_requests
from backups.drills import requests as drill_requests
from backups.generations import start as generation_start
from backups.models import Generation
from kvops import timing
from kvops.approvals import gate as approval_gate
from kvops.cloudflare import ConfigurationError
from kvops.cloudflare._http import checked_id
from kvops.models import ApprovalRequest, Environment, Run
from kvops.wording import reason_of, say
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.integrity.differing import failed, only
from tests.backups.restores import helpers as restore_helpers
from tests.kvops.runs.test_sentences import page
from tests.signing import signed_in

pytestmark = pytest.mark.django_db
GONE = "オブジェクトがありません（404 NoSuchKey、リクエスト"
PREFIX = "mastercache:"
VALUE = "/key/qa/SETTINGS/value?name=master%3A1"


@pytest.fixture(autouse=True)
def settles_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "SETTLE", 0.02)


def posted(people: make.People, address: str, **typed: str) -> str:
    browser = signed_in(people.operator)
    browser.cookies["django_language"] = "ja"
    answer = browser.post(address, typed).content.decode()
    translation.activate("en")  # the language of the answer stays with the thread
    return answer


def damaged(estate: make.Estate) -> Generation:
    """A backup whose data object is gone from the bucket, as a verification found."""
    estate.put(estate.qa, "master:a")
    made = restore_helpers.verified_backup(estate.qa)
    del estate.s3.objects[made.object_keys()[0]]
    generation_start.start_verification(made, actor=make.SETUP)
    make.work()
    made.refresh_from_db()
    return made


def test_pages_of_a_damaged_backup_say_so_in_japanese(estate: make.Estate, people: make.People) -> None:
    made = damaged(estate)
    assert "found no object (404 NoSuchKey, request" in made.problem
    for address in (f"/backups/{made.pk}/", f"/runs/{made.verify_run_id}/", "/backups/history/", "/"):
        shown = page(people, address)
        assert GONE in shown
        assert "found no object" not in shown
    assert "found no object" not in page(people, "/backups/")


def test_chunks_show_an_answer_that_contradicts_itself_in_japanese(estate: make.Estate, people: make.People) -> None:
    for number in range(3):
        estate.put(estate.qa, f"{PREFIX}{number}")
    cleanup_helpers.scan(estate.qa, estate.production)
    stage = cleanup_helpers.approved(cleanup_helpers.asked(people, PREFIX), people)
    estate.cloudflare.fault("bulk_delete", "unknown_names", names=["never:sent"])
    cleanup_requests.start_deletion(stage, by=people.operator)
    make.work()
    assert "contradicts itself" in stage.chunks.get().answer["problem"]
    shown = page(people, f"/cleanup/stages/{stage.pk}/?show=chunks")
    assert "送信していないキーが含まれています：'never:sent'" in shown
    assert "contradicts itself" not in shown


def test_the_sides_of_a_difference_say_in_japanese_why_they_are_not_shown(
    estate: make.Estate, people: make.People
) -> None:
    check = failed(estate)
    estate.s3.objects.clear()
    estate.cloudflare.fault("query", "error", times=20)
    shown = posted(people, f"/integrity/{check.pk}/differences/{only(check, 'field').pk}/values")
    assert GONE in shown
    assert "Cloudflare の応答：500" in shown
    assert "found no object" not in shown
    assert "Cloudflare answered" not in shown


def test_a_token_that_is_not_there_is_told_in_japanese(estate: make.Estate, people: make.People) -> None:
    estate.put(estate.qa, "master:1")
    cleanup_helpers.scan(estate.qa)
    Environment.objects.filter(slug="qa").update(read_token="env:NOT_THERE")
    shown = posted(people, VALUE)
    said = "qa の読み取りトークンがありません。env:NOT_THERE：このプロセスに変数 NOT_THERE が設定されていません。"
    assert said in shown
    assert "is not set in this process" not in shown


@pytest.fixture
def asked(estate: make.Estate, people: make.People) -> ApprovalRequest:
    return drill_requests.ask(make.scratch(estate).environment, days=30, cap=1000, by=people.operator)


def test_a_withdrawal_by_kvops_gives_its_reason_in_japanese(asked: ApprovalRequest, people: make.People) -> None:
    sentence = _("The policy changed from version %(old)s to version %(new)s after the approval.")
    approval_gate.withdraw(asked, by=people.operator, reason=say(sentence, old=3, new=4))
    asked.refresh_from_db()
    assert asked.reason == "The policy changed from version 3 to version 4 after the approval."
    assert "The policy changed" not in page(people, f"/approvals/{asked.pk}/")


def test_a_reason_that_a_person_typed_stays_as_it_is(asked: ApprovalRequest, people: make.People) -> None:
    approval_gate.withdraw(asked, by=people.operator, reason="Second listing.")
    assert "Second listing." in page(people, f"/approvals/{asked.pk}/")


def test_a_row_without_a_stored_sentence_shows_its_text(estate: make.Estate, people: make.People) -> None:
    made = damaged(estate)
    Generation.objects.filter(pk=made.pk).update(problem_sentence={})
    assert made.problem in page(people, f"/backups/{made.pk}/")


def test_an_error_is_english_as_text_in_every_language() -> None:
    with translation.override("ja"), pytest.raises(ConfigurationError) as refused:
        checked_id("../x")
    with translation.override("ja"):
        assert str(refused.value) == "'../x' is not an identifier; correct the environment."
        assert reason_of(refused.value) == "'../x' は ID ではありません。環境の設定を修正してください。"


def test_runs_show_a_contradiction_only_as_its_sentence() -> None:
    run = Run(
        result={"problem": "a is gone.", "problem_sentence": {"template": "%(key)s is gone.", "facts": {"key": "a"}}}
    )
    with translation.override("ja"):
        assert run.shown_result == {"problem": "a がありません。"}


def test_a_run_without_a_problem_shows_none() -> None:
    assert Run(result={"status": "verified", "problem": "", "missing": 0}).shown_result == {
        "status": "verified",
        "missing": 0,
    }
