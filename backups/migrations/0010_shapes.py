"""Keys that hold many rows, type rules, and checks of KV as it is now."""

import django.db.models.deletion
from django.db import migrations, models

import backups.models.datasets


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0009_unreadable_names"),
        ("kvops", "0011_live"),
    ]

    operations = [
        migrations.AddField(
            model_name="check",
            name="kv_rows",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="check",
            name="namespace",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="kvops.namespace",
            ),
        ),
        migrations.AddField(
            model_name="check",
            name="rules",
            field=models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name="checkrow",
            name="by_rule",
            field=models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name="checkrow",
            name="row",
            field=models.TextField(db_collation="C", db_default="", default=""),
        ),
        migrations.AddField(
            model_name="dataset",
            name="beside",
            field=models.JSONField(blank=True, db_default=models.Value([], models.JSONField()), default=list),
        ),
        migrations.AddField(
            model_name="dataset",
            name="field_rules",
            field=models.JSONField(blank=True, db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name="dataset",
            name="holds",
            field=models.CharField(
                choices=[("row", "one row"), ("array", "an array of rows"), ("object", "an object of rows by id")],
                db_default="row",
                default="row",
                max_length=10,
            ),
        ),
        migrations.AddField(
            model_name="dataset",
            name="path",
            field=models.CharField(blank=True, db_default="", default="", max_length=300),
        ),
        migrations.AddField(
            model_name="dataset",
            name="row",
            field=models.CharField(blank=True, db_default="", default="", max_length=300),
        ),
        migrations.AddField(
            model_name="dataset",
            name="rules",
            field=models.JSONField(
                db_default=models.Value(["integer_boolean", "null_absent"], models.JSONField()),
                default=backups.models.datasets.default_rules,
            ),
        ),
        migrations.AddField(
            model_name="difference",
            name="row",
            field=models.TextField(blank=True, db_collation="C", db_default="", default=""),
        ),
        migrations.AlterField(
            model_name="checkrow",
            name="check_run",
            field=models.ForeignKey(
                db_constraint=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="staged",
                to="backups.check",
            ),
        ),
        migrations.AlterField(
            model_name="checkrow",
            name="side",
            field=models.CharField(
                choices=[("backup", "Backup"), ("d1", "D1"), ("unread", "Unreadable")], max_length=6
            ),
        ),
        migrations.AlterField(
            model_name="difference",
            name="kind",
            field=models.CharField(
                choices=[
                    ("missing_in_d1", "the key has no row in D1"),
                    ("only_in_d1", "the row has no key in KV"),
                    ("field", "the field differs"),
                    ("not_an_object", "the value is not a JSON object"),
                    ("unknown_field", "the field is not in the dataset"),
                    ("duplicate", "the key stands for several rows"),
                    ("no_rows", "the value holds no rows at the path"),
                    ("no_id", "the row has no id"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="check",
            constraint=models.CheckConstraint(
                condition=models.Q(("generation__isnull", True), ("namespace__isnull", True), _connector="OR"),
                name="check_reads_one_source",
            ),
        ),
        migrations.AddConstraint(
            model_name="dataset",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("holds", "row"), ("row", "")),
                    models.Q(models.Q(("holds", "row"), _negated=True), models.Q(("row", ""), _negated=True)),
                    _connector="OR",
                ),
                name="dataset_of_many_rows_names_each",
            ),
        ),
    ]
