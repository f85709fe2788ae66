"""Notes, stated operations and to-dos of the runbook, and the rules that keep them as they were written."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

# Notes and stated operations stay as they were written. A to-do keeps what it says, and is done once.
GUARDS = """
CREATE FUNCTION kvops_note_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a note of the runbook is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  RAISE EXCEPTION 'a note of the runbook is never edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER note_guard BEFORE UPDATE OR DELETE ON kvops_runbooknote
  FOR EACH ROW EXECUTE FUNCTION kvops_note_guard();
CREATE TRIGGER note_guard_truncate BEFORE TRUNCATE ON kvops_runbooknote
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_note_guard();

CREATE FUNCTION kvops_stated_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a stated operation is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  RAISE EXCEPTION 'a stated operation is never edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER stated_guard BEFORE UPDATE OR DELETE ON kvops_statedoperation
  FOR EACH ROW EXECUTE FUNCTION kvops_stated_guard();
CREATE TRIGGER stated_guard_truncate BEFORE TRUNCATE ON kvops_statedoperation
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_stated_guard();

CREATE FUNCTION kvops_todo_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a to-do of the runbook is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.entry, NEW.text, NEW.owner_id, NEW.due, NEW.created_by_id, NEW.created_at)
     IS DISTINCT FROM
     (OLD.id, OLD.entry, OLD.text, OLD.owner_id, OLD.due, OLD.created_by_id, OLD.created_at) THEN
    RAISE EXCEPTION 'a to-do of the runbook cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF OLD.done_at IS NOT NULL THEN
    RAISE EXCEPTION 'a to-do of the runbook is done once' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER todo_guard BEFORE UPDATE OR DELETE ON kvops_runbooktodo
  FOR EACH ROW EXECUTE FUNCTION kvops_todo_guard();
CREATE TRIGGER todo_guard_truncate BEFORE TRUNCATE ON kvops_runbooktodo
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_todo_guard();
"""
UNDO = """
DROP FUNCTION kvops_note_guard() CASCADE;
DROP FUNCTION kvops_stated_guard() CASCADE;
DROP FUNCTION kvops_todo_guard() CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0008_typed_statement"),
    ]

    operations = [
        migrations.CreateModel(
            name="RunbookNote",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("entry", models.BigIntegerField(db_index=True)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("text", models.TextField()),
                (
                    "author",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.person"),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("text", ""), _negated=True), name="note_says_something")
                ],
            },
        ),
        migrations.CreateModel(
            name="RunbookTodo",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("entry", models.BigIntegerField(db_index=True)),
                ("text", models.CharField(max_length=500)),
                ("due", models.DateField()),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("done_at", models.DateTimeField(blank=True, null=True)),
                (
                    "created_by",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.person"),
                ),
                (
                    "done_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.person",
                    ),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="todos", to="kvops.person"
                    ),
                ),
            ],
            options={
                "indexes": [
                    models.Index(condition=models.Q(("done_at__isnull", True)), fields=["due", "id"], name="todo_open")
                ],
                "constraints": [
                    models.CheckConstraint(condition=models.Q(("text", ""), _negated=True), name="todo_says_something"),
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("done_at__isnull", True), ("done_by__isnull", True)),
                            models.Q(("done_at__isnull", False), ("done_by__isnull", False)),
                            _connector="OR",
                        ),
                        name="todo_done_by_someone",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="StatedOperation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "verb",
                    models.CharField(
                        choices=[("get", "read (get)"), ("put", "written (put)"), ("delete", "deleted (delete)")],
                        max_length=10,
                    ),
                ),
                ("done_at", models.DateTimeField()),
                ("binding", models.CharField(max_length=100)),
                ("command", models.CharField(max_length=1000)),
                ("names", models.JSONField()),
                ("reason", models.CharField(max_length=1000)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("environment", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="kvops.environment")),
                (
                    "person",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.person"),
                ),
                (
                    "stated_by",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.person"),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("verb__in", ["get", "put", "delete"])), name="stated_verb_is_known"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("done_at__lte", models.F("at"))), name="stated_is_of_the_past"
                    ),
                    models.CheckConstraint(condition=models.Q(("names", []), _negated=True), name="stated_names_a_key"),
                    models.CheckConstraint(condition=models.Q(("reason", ""), _negated=True), name="stated_says_why"),
                ],
            },
        ),
        migrations.RunSQL(GUARDS, UNDO),
    ]
