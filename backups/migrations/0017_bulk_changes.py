"""Bulk changes of caches: their rows, and the column that says that a restore is one."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0016_clearing_rounds"),
        ("kvops", "0019_bulk_changes"),
    ]

    operations = [
        migrations.CreateModel(
            name="BulkChange",
            fields=[
                (
                    "restore",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        primary_key=True,
                        related_name="bulk",
                        serialize=False,
                        to="backups.restore",
                    ),
                ),
                (
                    "operation",
                    models.CharField(
                        choices=[("expiration", "another expiration"), ("mark", "a mark for regeneration")],
                        max_length=10,
                    ),
                ),
                (
                    "scope",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "all keys"),
                            ("none", "only keys without an expiration"),
                            ("lacking", "only keys that lack the expiry of the family"),
                        ],
                        max_length=10,
                    ),
                ),
                ("chosen_names", models.BigIntegerField()),
                ("chosen_sha256", models.CharField(max_length=64)),
                ("lifetime", models.PositiveIntegerField(blank=True, null=True)),
                ("until", models.BigIntegerField(blank=True, null=True)),
                ("member", models.CharField(blank=True, max_length=80)),
                ("value", models.CharField(blank=True, max_length=100)),
                ("expiration", models.BigIntegerField(blank=True, null=True)),
                ("accepted_at", models.DateTimeField(blank=True, null=True)),
                ("accepted_note", models.TextField(blank=True)),
            ],
        ),
        migrations.AddField(
            model_name="restore",
            name="operation",
            field=models.CharField(
                blank=True,
                choices=[
                    ("", "the entry as it is in the backup"),
                    ("expiration", "another expiration"),
                    ("mark", "a mark for regeneration"),
                ],
                db_default="",
                default="",
                max_length=10,
            ),
        ),
        migrations.AlterField(
            model_name="restoreentry",
            name="outcome",
            field=models.CharField(
                choices=[
                    ("planned", "not dealt with yet"),
                    ("sent", "sent, not compared yet"),
                    ("again", "not in KV after sending, to be sent again"),
                    ("written", "restored"),
                    ("equal", "already in KV, equal"),
                    ("value", "in KV with another value, left as it is"),
                    ("metadata", "in KV with other metadata, left as it is"),
                    ("expiration", "in KV with another expiration, left as it is"),
                    ("sensitive", "in KV and different, left as it is: cannot be backed up first without encryption"),
                    ("changed", "changed since the comparison, left as it is"),
                    ("expired", "past its expiration"),
                    ("soon", "less than a minute left, not written: decide by hand"),
                    ("different", "different in the comparison after the write"),
                    ("failed", "not in KV after three attempts"),
                    ("stopped", "left as it is: the run was ended early"),
                    ("unreadable", "cannot be read: Cloudflare refuses its name"),
                    ("gone", "not in KV any more, not written"),
                    ("lost", "sent, but not in KV when it was read back"),
                    ("unmarked", "its metadata takes no mark: no JSON object, or longer than 1,024 bytes"),
                ],
                default="planned",
                max_length=10,
            ),
        ),
        migrations.AddConstraint(
            model_name="restore",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("operation", ""),
                    models.Q(
                        ("listed", False),
                        ("on_conflict", "overwrite"),
                        ("safety__isnull", True),
                        ("stage__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="restore_bulk_overwrites_its_own_backup",
            ),
        ),
        migrations.AddField(
            model_name="bulkchange",
            name="accepted_by",
            field=models.ForeignKey(
                blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.person"
            ),
        ),
        migrations.AddField(
            model_name="bulkchange",
            name="family",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT, related_name="bulk_changes", to="kvops.family"
            ),
        ),
        migrations.AddField(
            model_name="bulkchange",
            name="repeats",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="repeated_by",
                to="backups.bulkchange",
            ),
        ),
        migrations.AddConstraint(
            model_name="bulkchange",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("member", ""),
                        ("operation", "expiration"),
                        ("value", ""),
                        models.Q(
                            models.Q(("lifetime__isnull", False), ("until__isnull", True)),
                            models.Q(("lifetime__isnull", True), ("until__isnull", False)),
                            _connector="OR",
                        ),
                    ),
                    models.Q(
                        ("expiration__isnull", True),
                        ("lifetime__isnull", True),
                        ("operation", "mark"),
                        ("until__isnull", True),
                        models.Q(("member", ""), _negated=True),
                        models.Q(("value", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="bulk_sets_one_thing",
            ),
        ),
        migrations.AddConstraint(
            model_name="bulkchange",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("lifetime__isnull", True),
                    models.Q(("lifetime__gte", 3600), ("lifetime__lte", 31622400)),
                    _connector="OR",
                ),
                name="bulk_lifetime_is_usable",
            ),
        ),
        migrations.AddConstraint(
            model_name="bulkchange",
            constraint=models.CheckConstraint(
                condition=models.Q(("chosen_names__gte", 1), ("chosen_names__lte", 100000)),
                name="bulk_is_of_a_countable_list",
            ),
        ),
        migrations.AddConstraint(
            model_name="bulkchange",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("accepted_at__isnull", True), ("accepted_by__isnull", True), ("accepted_note", "")),
                    models.Q(
                        ("accepted_at__isnull", False),
                        ("accepted_by__isnull", False),
                        models.Q(("accepted_note", ""), _negated=True),
                    ),
                    _connector="OR",
                ),
                name="bulk_accepted_by_whom_and_why",
            ),
        ),
    ]
