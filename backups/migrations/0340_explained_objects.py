"""What people said of objects, since when they are as they are, and uploads nobody finished."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0330_single_keys"),
        ("kvops", "0321_guards_of_disposals"),
    ]

    operations = [
        migrations.CreateModel(
            name="UnfinishedUpload",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(db_collation="C", max_length=1024)),
                ("upload_id", models.CharField(max_length=1024)),
                ("begun_at", models.DateTimeField()),
            ],
        ),
        migrations.RemoveConstraint(
            model_name="storedobject",
            name="stored_object_of_a_backup_names_it",
        ),
        migrations.AddField(
            model_name="stagedobject",
            name="modified_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="storedobject",
            name="modified_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="storedobject",
            name="note",
            field=models.CharField(blank=True, db_default="", max_length=2000),
        ),
        migrations.AddField(
            model_name="storedobject",
            name="noted_at",
            field=models.DateTimeField(blank=True, null=True),
        ),
        migrations.AddField(
            model_name="storedobject",
            name="noted_by",
            field=models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, to="kvops.person"
            ),
        ),
        migrations.AddField(
            model_name="storedobject",
            name="status_at",
            field=models.DateTimeField(db_default=django.db.models.functions.datetime.Now()),
        ),
        migrations.AlterField(
            model_name="storedobject",
            name="status",
            field=models.CharField(
                choices=[
                    ("known", "part of a copy"),
                    ("unknown", "part of no copy"),
                    ("missing", "missing from the bucket"),
                    ("changed", "changed since it was written"),
                    ("gone", "part of no copy, and deleted"),
                ],
                max_length=10,
            ),
        ),
        migrations.AddIndex(
            model_name="storedobject",
            index=models.Index(
                condition=models.Q(models.Q(("status", "known"), _negated=True), ("noted_at", None)),
                fields=["key", "id"],
                name="stored_object_to_look_at",
            ),
        ),
        migrations.AddIndex(
            model_name="storedobject",
            index=models.Index(
                condition=models.Q(models.Q(("status", "known"), _negated=True), ("noted_at", None)),
                fields=["environment", "status"],
                name="stored_object_to_count",
            ),
        ),
        migrations.AddConstraint(
            model_name="storedobject",
            constraint=models.CheckConstraint(
                condition=models.Q(("status__in", ["unknown", "gone"]), ("generation__isnull", False), _connector="OR"),
                name="stored_object_of_a_backup_names_it",
            ),
        ),
        migrations.AddConstraint(
            model_name="storedobject",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("note", ""), ("noted_at__isnull", True), ("noted_by__isnull", True)),
                    models.Q(
                        models.Q(("note", ""), _negated=True), ("noted_at__isnull", False), ("noted_by__isnull", False)
                    ),
                    _connector="OR",
                ),
                name="stored_object_note_has_person_and_time",
            ),
        ),
        migrations.AddField(
            model_name="unfinishedupload",
            name="environment",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="unfinished_uploads", to="kvops.environment"
            ),
        ),
        migrations.AddConstraint(
            model_name="unfinishedupload",
            constraint=models.UniqueConstraint(
                fields=("environment", "key", "upload_id"), name="unfinished_upload_once"
            ),
        ),
    ]
