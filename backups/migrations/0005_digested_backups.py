from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    dependencies = [("backups", "0004_backups_by_end")]

    operations = [
        migrations.AddIndex(
            model_name="generation",
            index=models.Index(fields=["namespace"], condition=~Q(digest_key=""), name="generation_digested"),
        ),
        migrations.AddIndex(
            model_name="generation",
            index=models.Index(fields=["namespace"], condition=~Q(older_digest_key=""), name="generation_redigested"),
        ),
    ]
