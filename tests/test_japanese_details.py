"""Pages in Japanese show no English detail: problems, reasons and errors with their facts, by families of pages."""

from datetime import timedelta

import pytest
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from audit import log
from backups.cleanup import preparation, requests as cleanup_requests
from backups.drills import requests as drill_requests
from backups.generations import start as generation_start
from backups.models import Generation
from kvops import clock, timing
from kvops.approvals import gate as approval_gate
from kvops.cloudflare import ConfigurationError
from kvops.cloudflare._http import checked_id
from kvops.models import ApprovalRequest, Environment, Notification, NotificationEvent, Run, Schedule
from kvops.notifications import outbox
from kvops.schedules import jobs as schedule_jobs
from kvops.schedules.jobs import Begun
from kvops.wording import reason_of, say
from tests import make
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.integrity.differing import failed, only
from tests.backups.restores import helpers as restore_helpers
from tests.backups.retention.requesting import expired, started
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


def test_a_partial_backup_says_so_in_japanese(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.stage_of(cleanup_helpers.asked(people))
    preparation.freeze_stage(stage, by=people.operator)
    estate.cloudflare.namespace(estate.qa.namespace_id).delete(cleanup_helpers.NAMES[0])
    preparation.prepare_stage(stage, by=people.operator)
    make.work()
    made = Generation.objects.get(stages=stage)
    assert made.status == "partial"
    for address in (f"/backups/{made.pk}/", "/backups/"):
        assert "一覧にあった 1\xa0件のキーがバックアップにありません。" in page(people, address)
        assert "listed keys" not in page(people, address)


def test_a_drill_says_in_japanese_why_a_backup_failed(estate: make.Estate, people: make.People) -> None:
    scratch = make.scratch(estate)
    estate.put(estate.qa, "master:text", b"x", metadata="[1]")
    restore_helpers.verified_backup(estate.qa)
    request = drill_requests.ask(scratch.environment, days=30, cap=1000, by=people.operator)
    approval_gate.approve(request, by=people.reviewer, shown=request.digest)
    drill = drill_requests.start(scratch.environment, by=people.operator)
    key = drill.backups.get().generation.parts.get().api_only_key
    estate.s3.objects[key] = estate.s3.objects[key].replace(b"master:text", b"master:tex_")
    make.work()
    backup = drill.backups.get()
    assert "does not hold" in backup.problem
    shown = page(people, f"/drills/{drill.pk}/")
    assert "does not hold" not in shown
    assert backup.problem not in shown


def test_a_prune_request_says_in_japanese_why_a_backup_is_kept(estate: make.Estate, people: make.People) -> None:
    (old,) = expired(estate, 40)
    prune, newer = started(estate, people), Generation.objects.exclude(pk=old.pk).get()
    del estate.s3.objects[f"{newer.stem}.json"]
    make.work()
    assert prune.entries.get().because.endswith("is gone.")
    shown = page(people, f"/retention/prunes/{prune.pk}/")
    assert (
        f"代わりとなるバックアップ {newer.pk} が、バケットに書き込み時の状態で残っていません：{newer.stem}.json"
        in shown
    )
    assert "which replaces it" not in shown


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


def test_a_stage_says_in_japanese_why_it_came_back(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.prepared(cleanup_helpers.asked(people), people)
    del estate.s3.objects[Generation.objects.get(stages=stage).object_keys()[0]]
    generation_start.start_verification(Generation.objects.get(stages=stage), actor=make.SETUP)
    make.work()
    stage.refresh_from_db()
    assert "found no object" in stage.returned_because
    for address in (f"/cleanup/stages/{stage.pk}/", f"/cleanup/{stage.request_id}/", "/"):
        shown = page(people, address)
        assert GONE in shown
        assert "found no object" not in shown


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


def test_the_page_of_a_key_says_in_japanese_what_cloudflare_refused(estate: make.Estate, people: make.People) -> None:
    estate.put(estate.qa, "master:1")
    cleanup_helpers.scan(estate.qa)
    estate.cloudflare.fault("value", "redirect", times=9, seconds=60)
    shown = posted(people, VALUE)
    assert "仕様どおりではありません：リダイレクトが返されましたが、リダイレクトはたどりません（リクエスト ID" in shown
    assert "is not as documented" not in shown


def test_a_token_that_is_not_there_is_told_in_japanese(estate: make.Estate, people: make.People) -> None:
    estate.put(estate.qa, "master:1")
    cleanup_helpers.scan(estate.qa)
    Environment.objects.filter(slug="qa").update(read_token="env:NOT_THERE")
    shown = posted(people, VALUE)
    said = "qa の読み取りトークンがありません。env:NOT_THERE：このプロセスに変数 NOT_THERE が設定されていません。"
    assert said in shown
    assert "is not set in this process" not in shown


def test_a_notification_says_in_japanese_why_it_failed(estate: make.Estate, people: make.People) -> None:
    Environment.objects.filter(slug="qa").update(slack="env:NOT_THERE")
    with log.transaction():
        outbox.post(
            NotificationEvent.BACKUP_FOR_DELETION,
            subject="generation:1",
            title="made",
            environment=Environment.objects.get(slug="qa"),
        )
    outbox.deliver(Notification.objects.get().pk)
    shown = page(people, "/notifications/")
    assert "env:NOT_THERE：このプロセスに変数 NOT_THERE が設定されていません。" in shown
    assert "is not set in this process" not in shown


def test_a_due_time_says_in_japanese_why_nothing_started(people: make.People, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule_jobs.provide()
    schedule, now = Schedule.objects.order_by("pk")[0], clock.now()
    _taken, firing = schedule_jobs._take(schedule.pk, schedule.next_at + timedelta(seconds=1))
    assert firing
    with log.transaction():
        refused = [say(_("%(key)s is gone."), key="a"), say(_("Only an operator can do this."))]
        schedule_jobs._settle(schedule, firing, Begun(refused=[*refused]), now)
    firing.refresh_from_db()
    assert firing.reason == "a is gone. Only an operator can do this."
    assert "a がありません。" in page(people, f"/schedules/{schedule.pk}/")


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


def test_the_least_date_of_a_backup_is_nowhere_called_the_day_it_can_go(
    estate: make.Estate, people: make.People
) -> None:
    estate.put(estate.qa, "master:a")
    restore_helpers.verified_backup(estate.qa)
    for address in ("/retention/", "/backups/?prefix=master:", "/key/qa/SETTINGS/?name=master%3Aa"):
        shown = page(people, address)
        assert "最低保持期限" in shown, address
        assert "削除可能になる日" not in shown


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
