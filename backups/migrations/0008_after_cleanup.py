"""A confirmed stage knows the checks against D1 that ran after its deletion (policy 6a); fields of a request."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("backups", "0007_references")]

    operations = [
        migrations.AddField(
            "cleanupstage",
            "check_after",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="backups.check",
            ),
        ),
        migrations.AddField(
            "cleanupstage",
            "dataset_check_after",
            models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="datasets_of_stages",
                to="backups.check",
            ),
        ),
        migrations.AddField(
            "cleanupstage", "after_refused", models.CharField(blank=True, db_default="", default="", max_length=1000)
        ),
        migrations.AddConstraint(
            "cleanupstage",
            models.CheckConstraint(
                name="stage_checked_again_after_its_proof",
                condition=Q(state__in=["confirmed", "accepted"])
                | Q(check_after__isnull=True, dataset_check_after__isnull=True, after_refused=""),
            ),
        ),
        migrations.AddField(
            "cleanuprequest", "ticket", models.CharField(blank=True, db_default="", default="", max_length=500)
        ),
        migrations.AddField("cleanuprequest", "frozen_until", models.DateTimeField(blank=True, null=True)),
        migrations.AddField(
            "cleanuprequest", "frozen_by", models.CharField(blank=True, db_default="", default="", max_length=200)
        ),
        migrations.AddConstraint(
            "cleanuprequest",
            models.CheckConstraint(
                name="cleanup_ticket_is_an_address", condition=Q(ticket="") | Q(ticket__regex=r"^https?://[^\s]+$")
            ),
        ),
        migrations.AddConstraint(
            "cleanuprequest",
            models.CheckConstraint(
                name="cleanup_writers_are_frozen_by_somebody",
                condition=Q(frozen_until__isnull=True, frozen_by="") | Q(frozen_until__isnull=False) & ~Q(frozen_by=""),
            ),
        ),
    ]
