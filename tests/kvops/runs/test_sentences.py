"""Errors and notes of runs: read in the reader's language with their facts, stored and recorded in English."""

import ast
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from django.utils import translation
from django.utils.translation import gettext_lazy as _

from audit.models import Entry
from backups.models import Generation
from kvops.models import Run
from kvops.runs import driver as run_driver
from kvops.runs.lease import take
from kvops.runs.outcomes import Again, RunError, TryLater
from kvops.wording import english, say, sentence_of, spoken
from tests import make
from tests.backups.deletion.test_presence import approved, deleted
from tests.kvops.runs.test_pages import create
from tests.signing import signed_in

ROOT = Path(__file__).parent.parent.parent.parent
PLACE = {"RunError": 1, "TryLater": 0}
"""The place of the sentence among the arguments."""
UNTRANSLATABLE = {"str", "repr", "english", "format", "join", "replace"}
"""Calls that give a text without its template."""


def page(people: make.People, address: str) -> str:
    browser = signed_in(people.operator)
    browser.cookies["django_language"] = "ja"
    answer = browser.get(address).content.decode()
    translation.activate("en")  # the language of the answer stays with the thread
    return unescape(answer)


def failed_of(people: make.People, error: Exception) -> Run:
    """A run that ended with this error."""
    run = create(people)
    lease = take(run.pk, foreground=False)
    assert lease
    run_driver._pause_or_fail(lease, error)
    run.refresh_from_db()
    return run


@pytest.fixture
def lost(estate: make.Estate, people: make.People) -> Generation:
    """The backup of an approved clean-up of caches. Its objects are gone from the bucket."""
    stage = approved(estate, people, "cache")
    backup = Generation.objects.get(stages=stage)
    for key in backup.object_keys():
        del estate.s3.objects[key]
    deleted(stage, people)
    return backup


@pytest.mark.django_db
def test_pages_show_the_error_of_a_deletion_with_its_facts_in_japanese(lost: Generation, people: make.People) -> None:
    stage = lost.stages.get()
    said = (
        f"バックアップ {lost.pk} は、バケットに書き込み時の状態で残っていません。{lost.stem}.json がありません。"
        "削除されたものはありません。"
    )
    for address in (f"/runs/{stage.run_id}/", "/runs/", f"/cleanup/stages/{stage.pk}/"):
        shown = page(people, address)
        assert said[:60] in shown
        assert "is not in its bucket" not in shown
    assert said in page(people, f"/runs/{stage.run_id}/")


@pytest.mark.django_db
def test_the_error_is_stored_and_recorded_in_english(lost: Generation) -> None:
    run = Run.objects.get(kind=Run.Kind.DELETE)
    assert run.error == (
        f"Backup {lost.pk} is not in its bucket as it was written: {lost.stem}.json is gone. Nothing was deleted. Find"
        " out who changed the bucket. If the objects can be put back, verify the backup and try again."
    )
    entry = Entry.objects.get(action="run.failed", subject=f"run:{run.pk}")
    assert entry.details == {"code": "backup_gone", "error": run.error}


@pytest.mark.django_db
def test_a_worker_in_another_language_stores_english(people: make.People) -> None:
    with translation.override("ja"):
        run = failed_of(people, RunError("x", say(_("Run %(pk)s"), pk=say(_("%(key)s is gone."), key="a"))))
        assert (run.error, run.shown_error) == ("Run a is gone.", "実行 a がありません。")


@pytest.mark.django_db
def test_a_note_and_the_error_after_the_last_try_are_in_japanese(people: make.People) -> None:
    run = failed_of(people, TryLater(say(_("%(key)s is gone."), key="a")))
    assert run.note == "Waiting to try again: a is gone."
    assert "再試行を待っています: a がありません。" in page(people, f"/runs/{run.pk}/")
    Run.objects.filter(pk=run.pk).update(tries=run_driver.MAX_TRIES, wake_at=None)
    lease = take(run.pk, foreground=False)
    assert lease
    run_driver._pause_or_fail(lease, TryLater(say(_("%(key)s is gone."), key="a")))
    run.refresh_from_db()
    assert run.error == "Tried 20 times without getting any further. a is gone."
    assert "20 回試しましたが、処理が進みませんでした。a がありません。" in page(people, f"/runs/{run.pk}/")


@pytest.mark.django_db
def test_a_note_of_a_wait_keeps_its_facts(people: make.People) -> None:
    run = create(people)
    lease = take(run.pk, foreground=False)
    assert lease
    with lease.checkpoint(Again(5, say(_("Reading %(table)s"), table="staff"))):
        pass
    run.refresh_from_db()
    with translation.override("ja"):
        assert (run.note, run.shown_note) == ("Reading staff", "staff を読み取り中")


@pytest.mark.django_db
def test_the_english_text_counts_if_it_was_changed_alone(people: make.People) -> None:
    run = failed_of(people, RunError("x", say(_("Run %(pk)s"), pk=7)))
    Run.objects.filter(pk=run.pk).update(error="Second listing.")
    run.refresh_from_db()
    with translation.override("ja"):
        assert run.shown_error == "2 回目の一覧です。"


@pytest.mark.django_db
def test_a_resumed_run_shows_no_old_error(people: make.People) -> None:
    run = failed_of(people, RunError("x", say(_("Run %(pk)s"), pk=7)))
    run_driver.resume(run, actor=people.operator.actor)
    run.refresh_from_db()
    assert (run.shown_error, run.shown_note) == ("", "")


@pytest.mark.django_db
def test_facts_that_postgres_cannot_store_and_long_ones_are_shown(people: make.People) -> None:
    run = failed_of(people, RunError("x", say(_("%(key)s is gone."), key="a\0\ud800" + "b" * 2_000)))
    assert (run.error[:4], len(run.error)) == ("a\ufffd\ufffdb", 1_000)
    with translation.override("ja"):
        assert run.shown_error.endswith("b がありません。")


def test_a_text_with_a_percent_sign_is_left_as_it_is() -> None:
    assert str(sentence_of("100% of it, %(n)s")) == "100% of it, %(n)s" == spoken(sentence_of("100% of it, %(n)s"))
    assert english(say(_("%(key)s is gone."), key="100%")) == "100% is gone."


# Each sentence has its template


def sentences(tree: ast.Module) -> Iterator[ast.expr]:
    """The sentences that a module raises, with the values of the names that stand for them."""
    named: dict[str, list[ast.expr]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.NamedExpr):
            for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
                if isinstance(target, ast.Name):
                    named.setdefault(target.id, []).append(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            place = PLACE.get(getattr(node.func, "id", getattr(node.func, "attr", "")))
            if place is not None and len(node.args) > place:
                words = node.args[place]
                yield from named.get(words.id, []) if isinstance(words, ast.Name) else [words]


def untranslatable(words: ast.expr) -> bool:
    """Whether a sentence has no template in the catalogue, such as an f-string or a text that is not marked."""
    if isinstance(words, ast.IfExp):
        return untranslatable(words.body) or untranslatable(words.orelse)
    if isinstance(words, ast.Call):
        return getattr(words.func, "id", getattr(words.func, "attr", "")) in UNTRANSLATABLE
    return isinstance(words, ast.JoinedStr | ast.BinOp | ast.Constant)


def test_no_error_of_a_run_is_a_text_without_a_template() -> None:
    found, wrong = 0, []
    for path in sorted([*(ROOT / "backups").rglob("*.py"), *(ROOT / "kvops").rglob("*.py")]):
        for words in sentences(ast.parse(path.read_text("utf-8"))):
            found += 1
            if untranslatable(words):
                wrong.append(f"{path.relative_to(ROOT)}:{words.lineno}: {ast.unparse(words)}")
    assert found > 90
    assert wrong == []


@pytest.mark.parametrize(
    "wrong",
    [
        "RunError('x', f'{a} is gone.')",
        "RunError('x', 'It is gone.')",
        "TryLater(str(error))",
        "TryLater(' '.join(found))",
        "outcomes.TryLater('%s is gone.' % a)",
        "sentence = f'{a} is gone.'; RunError('x', sentence)",
        "RunError('x', _('It is gone.') if a else f'{a} is gone.')",
    ],
)
def test_such_a_text_would_be_found(wrong: str) -> None:
    assert [untranslatable(words) for words in sentences(ast.parse(wrong))] == [True]
