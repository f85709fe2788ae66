"""Errors and notes of runs: read in the reader's language with their facts, stored and recorded in English."""

import ast
import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from django.apps import apps
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
PRODUCT = sorted([*(ROOT / "backups").rglob("*.py"), *(ROOT / "kvops").rglob("*.py")])
OF_PEOPLE = {"note", "reason"}
"""Columns of these names hold texts of people in other tables."""
PLACE = {
    **dict.fromkeys(("RunError", "BadDataset", "columns", "note_blocked", "unreadable"), 1),
    **dict.fromkeys(("TryLater", "NoDatabase", "ScanMismatch", "ListingMismatch", "NotAsWritten", "Malformed"), 0),
    **dict.fromkeys(("UnresolvedReference", "Unavailable", "SourceRefused", "ValueHidden", "_AnotherAccount"), 0),
    **dict.fromkeys(("CallRefused", "ConfigurationError", "InvalidKeyName", "StatementRefused", "RateLimited"), 0),
    **dict.fromkeys(("DailyLimitReached", "TransportError", "TooLate", "ApiError", "AuthError", "NotFound"), 0),
    **dict.fromkeys(("KeyNotFound", "TooLarge", "CursorRefused", "UnexpectedAnswer", "PageForbidden"), 0),
    **dict.fromkeys(("NameRefused", "StoreError", "ObjectMissing", "ObjectConflict", "AccessRefused"), 0),
    **dict.fromkeys(("ObjectLocked", "Elsewhere", "NotOffered", "StoreUnavailable", "ManifestError"), 0),
    **dict.fromkeys(("LayoutError", "BadEntry", "Damaged", "BadManifest", "BadFile", "BadTemplate", "BadPath"), 0),
    **dict.fromkeys(("BadRules", "MessageTryLater", "MessageRefused", "Unclear", "BackupRefused"), 0),
}
"""The place of the sentence among the arguments."""
KEYWORDS = {"send_back": "because", "withdraw": "reason"}
"""The name of the argument that has the sentence."""
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
    assert "再試行を待っています：a がありません。" in page(people, f"/runs/{run.pk}/")
    Run.objects.filter(pk=run.pk).update(tries=run_driver.MAX_TRIES, wake_at=None)
    lease = take(run.pk, foreground=False)
    assert lease
    run_driver._pause_or_fail(lease, TryLater(say(_("%(key)s is gone."), key="a")))
    run.refresh_from_db()
    assert run.error == "Tried 20 times without getting any further. a is gone."
    assert "20\xa0回試しましたが、処理が進みませんでした。a がありません。" in page(people, f"/runs/{run.pk}/")


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
        assert run.shown_error == "2\xa0回目の一覧です。"


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
            called = getattr(node.func, "id", getattr(node.func, "attr", ""))
            place = PLACE.get(called, len(node.args))
            by_name = [word.value for word in node.keywords if word.arg == KEYWORDS.get(called, "")]
            for words in [*node.args[place : place + 1], *by_name]:
                yield from named.get(words.id, []) if isinstance(words, ast.Name) else [words]


def untranslatable(words: ast.expr) -> bool:
    """Whether a sentence has no template in the catalogue, such as an f-string or a text that is not marked."""
    if isinstance(words, ast.IfExp):
        return untranslatable(words.body) or untranslatable(words.orelse)
    if isinstance(words, ast.Call):
        return getattr(words.func, "id", getattr(words.func, "attr", "")) in UNTRANSLATABLE
    return isinstance(words, ast.JoinedStr | ast.BinOp) or (isinstance(words, ast.Constant) and words.value != "")


def columns_with_sentences() -> set[str]:
    """The names of the columns that have a `…_sentence` beside them."""
    models = [model for app in ("kvops", "backups") for model in apps.get_app_config(app).get_models()]
    names = [field.name for model in models for field in model._meta.fields]
    return {name.removesuffix("_sentence") for name in names if name.endswith("_sentence")}


def written_alone(tree: ast.Module, names: set[str]) -> Iterator[ast.expr]:
    """The values that an update gives to such a column without its sentence."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "update":
            yield from (word.value for word in node.keywords if word.arg in names)


def test_columns_with_sentences_are_written_with_them() -> None:
    names = columns_with_sentences()
    assert names >= {
        "problem",
        "because",
        "ended_because",
        "returned_because",
        "after_refused",
        "error",
        "note",
        "reason",
    }
    trees = {path.relative_to(ROOT): ast.parse(path.read_text("utf-8")) for path in PRODUCT}
    alone = [
        f"{path}:{value.lineno}" for path, tree in trees.items() for value in written_alone(tree, names - OF_PEOPLE)
    ]
    assert alone == []
    assert list(written_alone(ast.parse("rows.update(problem=str(error), keys=1)"), names)) != []


IN_WORDS = {"action.because", "found.problem", "side.problem"}
"""Attributes of these names that are no columns: they are in the reader's language already."""


def test_templates_show_columns_in_the_readers_language() -> None:
    alone = re.compile(
        rf"(?:{{{{ |with because=)([\w.]*\.(?:{'|'.join(sorted(columns_with_sentences() - OF_PEOPLE))}))\b(?!\|said)"
    )
    templates = (ROOT / "templates").rglob("*.html")
    assert {shown for path in templates for shown in alone.findall(path.read_text("utf-8"))} == IN_WORDS
    assert alone.findall("{{ generation.problem|truncatechars:100 }}") == ["generation.problem"]


def test_no_error_of_a_run_is_a_text_without_a_template() -> None:
    found, wrong = 0, []
    for path in PRODUCT:
        for words in sentences(ast.parse(path.read_text("utf-8"))):
            found += 1
            if untranslatable(words):
                wrong.append(f"{path.relative_to(ROOT)}:{words.lineno}: {ast.unparse(words)}")
    assert found > 280
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
        "_json.Malformed('a string was expected')",
        "Damaged(f'An entry cannot be read: {reason}.')",
        "unreadable(answer, str(error))",
        "columns('problem', str(error))",
        "send_back(stage, actor=actor, because=f'The backup is damaged: {problem}')",
    ],
)
def test_such_a_text_would_be_found(wrong: str) -> None:
    assert [untranslatable(words) for words in sentences(ast.parse(wrong))] == [True]
