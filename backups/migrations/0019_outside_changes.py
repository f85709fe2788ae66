"""Settings that changed outside KVOps: searches in backups, the keys they found, and single comparisons.

What a search found is never deleted or edited. A person explains it once.
"""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

GUARD = """
CREATE FUNCTION backups_older_key_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'what a finished backup is of cannot be edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER older_key_guard BEFORE UPDATE ON backups_generation
  FOR EACH ROW WHEN (OLD.status <> 'writing' AND NEW.older_digest_key IS DISTINCT FROM OLD.older_digest_key)
  EXECUTE FUNCTION backups_older_key_guard();

CREATE FUNCTION backups_outsidesearch_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'a search for changes outside KVOps is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.id, NEW.generation_id, NEW.earlier_id, NEW.namespace_id, NEW.outcome, NEW.reason, NEW.at, NEW.changed,
      NEW.new, NEW.gone, NEW.explained, NEW.listed)
     IS DISTINCT FROM (OLD.id, OLD.generation_id, OLD.earlier_id, OLD.namespace_id, OLD.outcome, OLD.reason, OLD.at,
      OLD.changed, OLD.new, OLD.gone, OLD.explained, OLD.listed)
     OR OLD.acknowledged_at IS NOT NULL THEN
    RAISE EXCEPTION 'the result of a search for changes outside KVOps cannot be edited'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER outsidesearch_guard BEFORE UPDATE OR DELETE ON backups_outsidesearch
  FOR EACH ROW EXECUTE FUNCTION backups_outsidesearch_guard();
CREATE TRIGGER outsidesearch_guard_truncate BEFORE TRUNCATE ON backups_outsidesearch
  FOR EACH STATEMENT EXECUTE FUNCTION backups_outsidesearch_guard();

CREATE FUNCTION backups_outsidechange_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a key that changed outside KVOps is never deleted or edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER outsidechange_guard BEFORE UPDATE OR DELETE ON backups_outsidechange
  FOR EACH ROW EXECUTE FUNCTION backups_outsidechange_guard();
CREATE TRIGGER outsidechange_guard_truncate BEFORE TRUNCATE ON backups_outsidechange
  FOR EACH STATEMENT EXECUTE FUNCTION backups_outsidechange_guard();
"""
UNDO = """
DROP FUNCTION backups_outsidechange_guard() CASCADE;
DROP FUNCTION backups_outsidesearch_guard() CASCADE;
DROP FUNCTION backups_older_key_guard() CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0018_bulk_guards"),
        ("kvops", "0020_past_kvops"),
    ]

    operations = [
        migrations.AddField(
            model_name="generation",
            name="older_digest_key",
            field=models.CharField(blank=True, db_default="", default="", max_length=16),
        ),
        migrations.AddField(
            model_name="generationentry",
            name="older_digest",
            field=models.BinaryField(blank=True, null=True),
        ),
        migrations.CreateModel(
            name="OutsideSearch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "outcome",
                    models.CharField(
                        choices=[
                            ("first", "first backup of these keys"),
                            ("compared", "compared"),
                            ("not_comparable", "not comparable"),
                        ],
                        max_length=20,
                    ),
                ),
                (
                    "reason",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "comparable"),
                            ("digest_key", "the digests were made with different keys"),
                            ("partial", "the backup is partial"),
                        ],
                        max_length=20,
                    ),
                ),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("changed", models.BigIntegerField(default=0)),
                ("new", models.BigIntegerField(default=0)),
                ("gone", models.BigIntegerField(default=0)),
                ("explained", models.BigIntegerField(default=0)),
                ("listed", models.BigIntegerField(default=0)),
                ("acknowledged_at", models.DateTimeField(blank=True, null=True)),
                ("acknowledged_note", models.TextField(blank=True)),
                (
                    "acknowledged_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.person",
                    ),
                ),
                (
                    "earlier",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="backups.generation",
                    ),
                ),
                (
                    "generation",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="outside_search",
                        to="backups.generation",
                    ),
                ),
                ("namespace", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="kvops.namespace")),
            ],
            options={
                "verbose_name_plural": "outside searches",
            },
        ),
        migrations.CreateModel(
            name="OutsideChange",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField(db_collation="C")),
                (
                    "kind",
                    models.CharField(choices=[("changed", "changed"), ("new", "new"), ("gone", "gone")], max_length=10),
                ),
                (
                    "category",
                    models.CharField(
                        choices=[
                            ("settings", "settings"),
                            ("cache", "cache"),
                            ("legacy", "legacy master"),
                            ("unclassified", "unclassified"),
                        ],
                        max_length=20,
                    ),
                ),
                ("own_too", models.BooleanField(default=False)),
                (
                    "search",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="changes",
                        to="backups.outsidesearch",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="SettingComparison",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.TextField(db_collation="C")),
                ("asked_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "result",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "not compared yet"),
                            ("same", "same as in the last backup"),
                            ("put_back", "same as in the last backup, but KVOps changed it since: someone put it back"),
                            ("different", "differs from the last backup"),
                            ("not_in_backup", "not in the last backup"),
                            ("gone", "in the last backup, and no longer in KV"),
                            ("nowhere", "neither in the last backup nor in KV"),
                        ],
                        max_length=20,
                    ),
                ),
                ("explained", models.BooleanField(default=False)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                (
                    "asked_by",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.person"),
                ),
                (
                    "generation",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="setting_comparisons",
                        to="backups.generation",
                    ),
                ),
                ("namespace", models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, to="kvops.namespace")),
                (
                    "run",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT, related_name="setting_comparison", to="kvops.run"
                    ),
                ),
            ],
        ),
        migrations.AddIndex(
            model_name="outsidesearch",
            index=models.Index(
                condition=models.Q(
                    ("changed__gt", 0), ("new__gt", 0), ("gone__gt", 0), ("outcome", "not_comparable"), _connector="OR"
                ),
                fields=["-id"],
                name="outside_shown",
            ),
        ),
        migrations.AddConstraint(
            model_name="outsidesearch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("outcome", "compared"), _negated=True), ("earlier__isnull", False), _connector="OR"
                ),
                name="outside_compared_with_an_earlier_backup",
            ),
        ),
        migrations.AddConstraint(
            model_name="outsidesearch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("outcome", "not_comparable"), models.Q(("reason", ""), _negated=True)),
                    models.Q(models.Q(("outcome", "not_comparable"), _negated=True), ("reason", "")),
                    _connector="OR",
                ),
                name="outside_not_comparable_says_why",
            ),
        ),
        migrations.AddConstraint(
            model_name="outsidesearch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("outcome", "compared"),
                    models.Q(("changed", 0), ("explained", 0), ("gone", 0), ("listed", 0), ("new", 0)),
                    _connector="OR",
                ),
                name="outside_found_by_comparing",
            ),
        ),
        migrations.AddConstraint(
            model_name="outsidesearch",
            constraint=models.CheckConstraint(
                condition=models.Q(("earlier", models.F("generation")), _negated=True), name="outside_not_with_itself"
            ),
        ),
        migrations.AddConstraint(
            model_name="outsidesearch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("acknowledged_at__isnull", True), ("acknowledged_by__isnull", True), ("acknowledged_note", "")
                    ),
                    models.Q(
                        models.Q(("acknowledged_note", ""), _negated=True),
                        ("acknowledged_at__isnull", False),
                        ("acknowledged_by__isnull", False),
                    ),
                    _connector="OR",
                ),
                name="outside_acknowledged_with_a_note",
            ),
        ),
        migrations.AddIndex(
            model_name="outsidechange",
            index=models.Index(fields=["name", "search"], name="outside_change_by_name"),
        ),
        migrations.AddConstraint(
            model_name="outsidechange",
            constraint=models.UniqueConstraint(fields=("search", "name"), name="outside_change_once_per_search"),
        ),
        migrations.AddIndex(
            model_name="settingcomparison",
            index=models.Index(fields=["namespace", "name", "-id"], name="settingcomparison_by_name"),
        ),
        migrations.AddConstraint(
            model_name="settingcomparison",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("finished_at__isnull", True), ("result", "")),
                    models.Q(models.Q(("result", ""), _negated=True), ("finished_at__isnull", False)),
                    _connector="OR",
                ),
                name="settingcomparison_finished_has_a_result",
            ),
        ),
        migrations.AddConstraint(
            model_name="settingcomparison",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("explained", False), ("result__in", ["different", "not_in_backup", "gone"]), _connector="OR"
                ),
                name="settingcomparison_explains_a_difference",
            ),
        ),
        migrations.RunSQL(GUARD, UNDO),
    ]
