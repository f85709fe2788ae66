from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0003_run_pace"),
    ]

    operations = [
        migrations.AddIndex(
            model_name="approvalrequest",
            index=models.Index(fields=["subject", "-id"], name="approval_by_subject"),
        ),
        migrations.AddIndex(
            model_name="scan",
            index=models.Index(
                condition=models.Q(
                    models.Q(("unexplained__gt", 0), ("unexpected__gt", 0), _connector="OR"),
                    ("acknowledged_at__isnull", True),
                ),
                fields=["-id"],
                name="scan_odd_unseen",
            ),
        ),
    ]
