"""The tree of subjects: one link of the audit log shows every step of a clean-up, and of what came of it."""

import pytest
from django.apps import apps
from pytest_django import DjangoAssertNumQueries

from audit.models import Entry
from backups.cleanup import completion, preparation
from backups.models import CleanupStage, Restore
from backups.restores import undo as stage_undo
from kvops.models import ApprovalRequest, Run
from kvops.operations.registry import SUBJECTS
from kvops.subjects import tree as subject_tree
from tests import make
from tests.backups.changes import helpers as change_helpers
from tests.backups.cleanup import helpers as cleanup_helpers
from tests.backups.restores import helpers as restore_helpers
from tests.backups.retention import requesting
from tests.signing import signed_in

pytestmark = pytest.mark.django_db


NO_HISTORY = {
    *("backups.CheckRow.name", "backups.ComparisonEntry.name", "backups.Difference.name"),
    *("backups.CleanupException.name", "backups.OtherName.name", "backups.Reappearance.name"),
    *("backups.GenerationEntry.name", "backups.SettingComparison.name", "kvops.Key.name", "kvops.StagedKey.name"),
}
"""Columns of keys' names that say what is stored or was compared, and not what happened to a key."""


def undone(estate: make.Estate, people: make.People) -> CleanupStage:
    """QA, cleaned, and its deletion undone."""
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.confirmed(cleanup_helpers.asked(people), people)
    stage_undo.start_undo(stage, by=people.operator2)
    make.work()
    return stage


def test_every_lookup_of_a_kind_is_a_query_of_its_rows() -> None:
    for kind, one in SUBJECTS.items():
        assert subject_tree.under(f"{kind}:1").subjects == subject_tree.above([f"{kind}:1"]) == [f"{kind}:1"]
        for lookup in one.holds:
            assert list(subject_tree._rows(kind).filter(**{lookup: "x"})) == []
        assert subject_tree.titles([f"{kind}:1"]) == {}


def test_a_subject_that_is_not_there_counts_nothing(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.stage_of(cleanup_helpers.asked(people))
    assert [number for _title, number in subject_tree.under(f"stage:{stage.pk}").counts] == [1]
    for missing in ("stage:999999", "object:1"):
        assert subject_tree.under(missing).counts == []


def test_every_subject_that_can_have_a_page_has_one() -> None:
    # A recovery stands on the page of all people.
    assert {kind for kind in SUBJECTS if not subject_tree.address(f"{kind}:1")} == {"recovery"}
    assert [subject_tree.address(odd) for odd in ("tea:12", "run:x", "")] == ["", "", ""]


def test_a_clean_up_shows_the_steps_of_all_its_parts(estate: make.Estate, people: make.People) -> None:
    stage = undone(estate, people)
    restore = Restore.objects.get(stage=stage)
    runs = Run.objects.exclude(kind=Run.Kind.SCAN)
    wanted = {f"cleanup:{stage.request_id}", f"stage:{stage.pk}", f"restore:{restore.pk}"}
    wanted |= {f"approval:{stage.approval_id}", f"generation:{stage.generation_id}", f"check:{stage.check_passed_id}"}
    wanted |= {f"run:{pk}" for pk in runs.values_list("pk", flat=True)}
    found = subject_tree.under(f"cleanup:{stage.request_id}")
    assert wanted <= set(found.subjects)
    page = signed_in(people.auditor).get(f"/cleanup/{stage.request_id}/").content.decode()
    address = f"/audit/?subject=cleanup:{stage.request_id}&amp;tree=on"
    assert address in page
    shown = signed_in(people.auditor).get(address.replace("&amp;", "&")).context["entries"]
    scans = {f"run:{pk}" for pk in Run.objects.filter(kind=Run.Kind.SCAN).values_list("pk", flat=True)}
    missed = {entry.subject for entry in Entry.objects.all()} - {entry.subject for entry in shown}
    assert missed - scans == {"environment:qa"}  # the protection of the bucket


def test_a_restore_shows_the_steps_of_its_run_and_its_approval(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    backup = restore_helpers.verified_backup(estate.qa)
    restore_helpers.wipe(estate, estate.qa, cleanup_helpers.NAMES[0])
    restore = restore_helpers.done(backup, people)
    found = subject_tree.under(f"restore:{restore.pk}").subjects
    assert {f"restore:{restore.pk}", f"run:{restore.run_id}", f"approval:{restore.approval_id}"} <= set(found)
    page = signed_in(people.auditor).get(f"/restores/{restore.pk}/").text
    assert f"/audit/?subject=restore:{restore.pk}&amp;tree=on" in page


def test_a_backup_of_a_list_that_was_fixed_again_belongs_to_its_stage(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    stage = cleanup_helpers.prepared(cleanup_helpers.asked(people), people)
    earlier = stage.generation_id
    preparation.freeze_stage(stage, by=people.operator)
    assert cleanup_helpers.stage_of(stage.request).generation_id is None
    assert f"generation:{earlier}" in subject_tree.under(f"stage:{stage.pk}").subjects


def test_another_clean_up_is_not_in_the_tree(estate: make.Estate, people: make.People) -> None:
    cleanup_helpers.estate_with_masters(estate)
    first = cleanup_helpers.prepared(cleanup_helpers.asked(people), people)
    completion.end(first.request, reason="not right now", by=people.operator)
    second = cleanup_helpers.prepared(cleanup_helpers.asked(people), people)
    trees = [set(subject_tree.under(f"cleanup:{one.request_id}").subjects) for one in (first, second)]
    assert trees[0] & trees[1] == set()


def test_a_prune_request_shows_its_approval_its_run_and_its_backups(estate: make.Estate, people: make.People) -> None:
    old = requesting.expired(estate, 40)
    prune = requesting.started(estate, people)
    make.work()
    found = subject_tree.under(f"prune:{prune.pk}").subjects
    approval = ApprovalRequest.objects.get(prune=prune)
    assert {f"approval:{approval.pk}", f"run:{prune.run_id}", f"generation:{old[0].pk}"} <= set(found)


@pytest.mark.usefixtures("encrypting")
def test_the_log_of_a_key_shows_the_changes_of_its_value(estate: make.Estate, people: make.People) -> None:
    change_helpers.ready(estate)
    change = change_helpers.proposed(estate.qa, people)
    assert f"keychange:{change.pk}" in subject_tree.of_key(change_helpers.KEY).subjects
    assert f"keychange:{change.pk}" not in subject_tree.of_key("mail:other").subjects
    shown = signed_in(people.auditor).get("/audit/", {"key": change_helpers.KEY}).context["entries"]
    assert f"keychange:{change.pk}" in {entry.subject for entry in shown}


def test_the_log_of_a_key_knows_every_table_of_what_happened_to_keys() -> None:
    holding = {_holder(kind, lookup) for kind, one in SUBJECTS.items() for lookup in one.holds}
    named = {
        f"{model._meta.label}.{column.name}"
        for model in apps.get_models()
        for column in model._meta.get_fields()
        if column.name in {"name", "names"} and getattr(column, "db_collation", None) == "C"
    }
    assert named - holding == NO_HISTORY
    assert holding - named == {"kvops.StatedOperation.names"}


def _holder(kind: str, lookup: str) -> str:
    """The column that a lookup from the rows of a kind ends at."""
    model, parts = apps.get_model(SUBJECTS[kind].model), lookup.removesuffix("__contains").split("__")
    for part in parts[:-1]:
        related = model._meta.get_field(part).related_model
        assert isinstance(related, type)
        model = related
    return f"{model._meta.label}.{parts[-1]}"


def test_a_large_tree_is_cut_and_says_so(
    estate: make.Estate, people: make.People, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = undone(estate, people)
    monkeypatch.setattr(subject_tree, "MOST", 5)
    found = subject_tree.under(f"cleanup:{stage.request_id}")
    assert (len(found.subjects), found.more) == (5, True)
    address = f"/audit/?subject=cleanup:{stage.request_id}&tree=on"
    assert "There is more under it" in signed_in(people.auditor).get(address).content.decode()


def test_a_tree_takes_one_query(
    estate: make.Estate, people: make.People, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    stage = undone(estate, people)
    with django_assert_num_queries(1):
        subject_tree.under(f"cleanup:{stage.request_id}")


def test_the_entries_about_a_tree_take_one_query(
    estate: make.Estate, people: make.People, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    subject = f"cleanup:{undone(estate, people).request_id}"
    with django_assert_num_queries(1):
        found = list(subject_tree.entries_under(subject))
    assert found == list(Entry.objects.about(subject_tree.under(subject).subjects))
    assert found


@pytest.mark.parametrize("subject", ["person:1", "cleanup:" + "9" * 40, "cleanup:x", "cleanup:１", "", "tea:1"])
def test_a_subject_without_rows_is_a_tree_of_its_own(subject: str) -> None:
    assert subject_tree.under(subject).subjects == [subject]
    assert not subject_tree.entries_under(subject)


def test_the_audit_log_names_a_subject_in_the_language_of_its_reader(estate: make.Estate, people: make.People) -> None:
    stage = undone(estate, people)
    client = signed_in(people.auditor)
    client.cookies["django_language"] = "ja"
    entry = Entry.objects.filter(subject=f"approval:{stage.approval_id}").latest("seq")
    for address in (f"/audit/?subject=approval:{stage.approval_id}", entry.get_absolute_url()):
        page = client.get(address).content.decode()
        assert "から master:* のキー 3\xa0件を削除" in page, address
    assert f"記録上の表記： {entry.subject_label}" in page
    restore = Restore.objects.get(stage=stage)
    assert " を復元" in client.get(f"/audit/?subject=restore:{restore.pk}").content.decode()


def test_a_page_of_the_audit_log_asks_once_for_the_titles_of_a_kind(
    estate: make.Estate, people: make.People, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    undone(estate, people)
    asked = list(Entry.objects.values_list("subject", flat=True))
    with django_assert_num_queries(len({one.partition(":")[0] for one in asked} & {"approval", "check", "restore"})):
        titles = subject_tree.titles([*asked, "approval:999", "person:1", "run:x", "tea:1", ""])
    assert titles.keys() < set(asked)
    assert all(titles.values())
