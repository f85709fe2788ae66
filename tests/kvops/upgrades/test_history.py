"""`migrate` takes a database only if its migrations are the ones that have files, in name and in content."""

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder

from kvops.upgrades import history
from tests.audit import flush

pytestmark = pytest.mark.django_db

STAMPED = "SELECT obj_description('django_migrations'::regclass)"


def run(statement: str) -> None:
    """Do this to the database."""
    with connection.cursor() as cursor:
        cursor.execute(statement)


def told() -> str:
    """The comment of the table of migrations."""
    with connection.cursor() as cursor:
        cursor.execute(STAMPED)
        return str(cursor.fetchone()[0])


def refusal() -> str:
    """What `migrate` says; it changed neither the list of migrations nor the comment."""
    before, stamped = set(MigrationRecorder(connection).applied_migrations()), told()
    with pytest.raises(CommandError) as refused:
        call_command("migrate", verbosity=0)
    assert (set(MigrationRecorder(connection).applied_migrations()), told()) == (before, stamped)
    return str(refused.value)


def test_a_name_that_no_file_has_is_another_history() -> None:
    MigrationRecorder(connection).record_applied("kvops", "0003_alarms")
    said = refusal()
    assert "because no file has its migration kvops 0003_alarms; the oldest version" in said
    assert said.startswith("Nothing was changed: ")
    assert said.endswith("0.1.0.")


def test_after_the_flush_of_a_test_that_commits_a_migration_is_recorded_as_before() -> None:
    run(flush.RESTARTED)
    MigrationRecorder(connection).record_applied("kvops", "0003_alarms")


def test_a_database_of_before_features_went_is_another_history() -> None:
    MigrationRecorder(connection).record_applied("kvops", "0001_initial")
    assert "because no file has its migration kvops 0001_initial;" in refusal()


def test_the_others_are_counted() -> None:
    for name in ("0003_alarms", "0004_policy_versions", "0334_masters_kind"):
        MigrationRecorder(connection).record_applied("kvops", name)
    MigrationRecorder(connection).record_unapplied("kvops", "0007_heartbeat_worker")
    assert "kvops 0003_alarms (nor 2 others)" in refusal()


def test_after_a_step_back_a_newer_database_passes() -> None:
    MigrationRecorder(connection).record_applied("kvops", "0999_later")
    call_command("migrate", verbosity=0)


def test_a_newer_database_without_a_stamp_passes_and_is_never_stamped() -> None:
    run("COMMENT ON TABLE django_migrations IS NULL")
    MigrationRecorder(connection).record_applied("kvops", "0999_later")
    run("ALTER TABLE kvops_run ADD COLUMN later text")
    call_command("migrate", verbosity=0)
    assert told() == "None"


@pytest.mark.parametrize(
    ("change", "missing"),
    [
        ("ALTER TABLE kvops_heartbeat DROP COLUMN within", "kvops_heartbeat.within"),
        ("DROP INDEX key_by_category", "key_by_category of kvops_key"),
    ],
)
def test_a_newer_database_without_a_stamp_is_refused_by_what_is_missing(change: str, missing: str) -> None:
    run("COMMENT ON TABLE django_migrations IS NULL")
    MigrationRecorder(connection).record_applied("kvops", "0999_later")
    run(change)
    assert f"its migrations have the names of these, but {missing} is missing" in refusal()


def test_other_content_under_the_same_names_is_refused_by_its_stamp() -> None:
    ours = told()
    run(f"COMMENT ON TABLE django_migrations IS '{ours.replace('kvops ', 'kvops 0123456789ab was ')}'")
    assert "its kvops 0001_tables has the stamp 0123456789ab instead of" in refusal()


def test_a_migration_without_the_one_below_it_is_another_history() -> None:
    MigrationRecorder(connection).record_unapplied("kvops", "0003_run_pace")
    assert "it has a migration without the one below it (Migration kvops.0004" in refusal()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("ALTER TABLE kvops_run ADD COLUMN more text", "kvops_run.more is more than they make"),
        ("ALTER TABLE kvops_heartbeat DROP COLUMN within", "kvops_heartbeat.within is missing"),
        ("DROP INDEX key_by_category", "key_by_category of kvops_key is missing"),
        ("ALTER TABLE kvops_run DROP CONSTRAINT run_destructive_is_approved", "run_destructive_is_approved of"),
    ],
)
def test_other_content_without_a_stamp_is_refused_by_what_differs(change: str, told: str) -> None:
    run("COMMENT ON TABLE django_migrations IS NULL")
    run(change)
    assert f"its migrations have the names of these, but {told}" in refusal()


def test_a_database_of_before_the_stamps_is_taken_and_stamped() -> None:
    ours = told()
    run("COMMENT ON TABLE django_migrations IS NULL")
    call_command("migrate", verbosity=0)
    assert told() == ours
    assert all(f"{app} " in ours for app in history.APPS)
