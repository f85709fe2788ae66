"""Requests and runs of bulk changes. Such a run needs an approval of its own kind."""

from django.db import migrations, models

# The functions are edited as they are, whatever lists of kinds other migrations gave them.
EDIT = """
DO $do$
DECLARE body text;
BEGIN
  body := pg_get_functiondef('{function}()'::regprocedure);
  IF position($${old}$$ IN body) = 0 THEN
    RAISE EXCEPTION '{function} has changed';
  END IF;
  EXECUTE replace(body, $${old}$$, $${new}$$);
END $do$;
"""


def edited(function: str, old: str, new: str) -> migrations.RunSQL:
    """The function with another text at one place."""
    there = EDIT.format(function=function, old=old, new=new)
    return migrations.RunSQL(there, EDIT.format(function=function, old=new, new=old))


RUN_BULK_CHANGES = """
CREATE FUNCTION kvops_run_guard_bulk_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF NOT EXISTS (
      SELECT FROM kvops_approvalrequest a
      WHERE a.id = NEW.approval_id AND a.kind = 'bulk_change' AND a.environment_id = NEW.environment_id) THEN
    RAISE EXCEPTION 'a bulk change needs an approval to change many keys of its environment'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER run_guard_bulk_changes BEFORE INSERT ON kvops_run
  FOR EACH ROW WHEN (NEW.kind = 'bulk_change') EXECUTE FUNCTION kvops_run_guard_bulk_changes();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0018_expiry"),
    ]

    operations = [
        migrations.RemoveConstraint(
            model_name="run",
            name="run_destructive_is_approved",
        ),
        migrations.RemoveConstraint(
            model_name="run",
            name="run_destructive_in_a_worker",
        ),
        migrations.AlterField(
            model_name="approvalrequest",
            name="kind",
            field=models.CharField(
                choices=[
                    ("delete_keys", "delete keys"),
                    ("environment", "change environments"),
                    ("policy", "change the policy"),
                    ("family", "register a key family"),
                    ("release_stop", "release an emergency stop"),
                    ("restore", "restore keys"),
                    ("delete_generations", "prune backups"),
                    ("drill", "restore drills"),
                    ("investigation", "prune an investigation backup"),
                    ("put_key", "change a key"),
                    ("clearing", "scheduled clearing of a cache"),
                    ("bulk_change", "change many cache keys"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="preparedchange",
            name="kind",
            field=models.CharField(
                choices=[
                    ("delete_keys", "delete keys"),
                    ("environment", "change environments"),
                    ("policy", "change the policy"),
                    ("family", "register a key family"),
                    ("release_stop", "release an emergency stop"),
                    ("restore", "restore keys"),
                    ("delete_generations", "prune backups"),
                    ("drill", "restore drills"),
                    ("investigation", "prune an investigation backup"),
                    ("put_key", "change a key"),
                    ("clearing", "scheduled clearing of a cache"),
                    ("bulk_change", "change many cache keys"),
                ],
                max_length=20,
            ),
        ),
        migrations.AlterField(
            model_name="run",
            name="kind",
            field=models.CharField(
                choices=[
                    ("scan", "scan"),
                    ("backup", "backup"),
                    ("masters", "backup of master data"),
                    ("verify", "verification"),
                    ("check", "integrity check"),
                    ("delete", "deletion"),
                    ("confirm", "proof of absence"),
                    ("reconcile", "listing of the bucket"),
                    ("late_check", "late check"),
                    ("preview", "preview of a restore"),
                    ("restore", "restore"),
                    ("undo", "undoing of a deletion"),
                    ("prune", "prune run"),
                    ("comparison", "comparison of a backup"),
                    ("drill", "restore drill"),
                    ("prune_investigation", "prune of an investigation backup"),
                    ("look", "look at the deployed code"),
                    ("search", "search of a deployed script"),
                    ("change", "change of a key"),
                    ("reverse_change", "preparation of a reverse change"),
                    ("erase_proposal", "erasure of a proposal"),
                    ("clear", "scheduled clearing"),
                    ("bulk_change", "bulk change of a cache"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        (
                            "kind__in",
                            [
                                "delete",
                                "restore",
                                "undo",
                                "prune",
                                "change",
                                "bulk_change",
                                "drill",
                                "prune_investigation",
                                "clear",
                            ],
                        ),
                        _negated=True,
                    ),
                    models.Q(("approval__isnull", False), models.Q(("approval_digest", ""), _negated=True)),
                    _connector="OR",
                ),
                name="run_destructive_is_approved",
            ),
        ),
        migrations.AddConstraint(
            model_name="run",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        (
                            "kind__in",
                            [
                                "delete",
                                "restore",
                                "undo",
                                "prune",
                                "change",
                                "bulk_change",
                                "drill",
                                "prune_investigation",
                                "clear",
                            ],
                        ),
                        _negated=True,
                    ),
                    ("foreground", False),
                    _connector="OR",
                ),
                name="run_destructive_in_a_worker",
            ),
        ),
        edited("kvops_run_guard_restores", "'clear', 'change'", "'clear', 'change', 'bulk_change'"),
        migrations.RunSQL(RUN_BULK_CHANGES, "DROP FUNCTION kvops_run_guard_bulk_changes CASCADE;"),
    ]
