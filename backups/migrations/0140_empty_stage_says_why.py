from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("backups", "0150_guard_of_stopped_chunks")]

    operations = [
        migrations.AddConstraint(
            "cleanupstage",
            models.CheckConstraint(
                name="stage_empty_has_a_reason", condition=~Q(state="accepted", names=0) | ~Q(empty_reason="")
            ),
        ),
    ]
