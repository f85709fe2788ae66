"""How each bucket is guarded, as Cloudflare said it last."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("backups", "0250_contrasts"),
        ("kvops", "0250_contrast_kind"),
    ]

    operations = [
        migrations.CreateModel(
            name="BucketProtection",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("of", models.CharField(max_length=500)),
                (
                    "lock",
                    models.CharField(
                        choices=[
                            ("held", "locked"),
                            ("short", "locked, but not long enough"),
                            ("narrow", "locked only in part"),
                            ("disabled", "lock disabled"),
                            ("missing", "not locked"),
                            ("unknown", "not known"),
                        ],
                        max_length=10,
                    ),
                ),
                ("rules", models.JSONField(blank=True, default=list)),
                ("wider", models.JSONField(blank=True, default=list)),
                ("public", models.JSONField(blank=True, default=list)),
                ("problem", models.CharField(blank=True, max_length=20)),
                ("read_at", models.DateTimeField(blank=True, null=True)),
                (
                    "environment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="protection", to="kvops.environment"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(
                            models.Q(("lock", "unknown"), models.Q(("problem", ""), _negated=True)),
                            models.Q(
                                ("lock__in", ["held", "short", "narrow", "disabled", "missing"]),
                                ("problem", ""),
                                ("read_at__isnull", False),
                            ),
                            _connector="OR",
                        ),
                        name="protection_is_known_or_says_why_not",
                    )
                ],
            },
        ),
    ]
