"""Documents in 1Password: the backups that are kept in a vault too."""

import django.db.models.deletion
from django.db import migrations, models
from django.db.models import Q
from django.db.models.functions import Now

# A row is the proof that a backup was kept. A Document of a backup stays one of this backup and this vault.
GUARD = """
CREATE FUNCTION backups_document_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' THEN
    RAISE EXCEPTION 'documents in 1Password are never forgotten' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (NEW.generation_id, NEW.vault, NEW.asked_at) IS DISTINCT FROM (OLD.generation_id, OLD.vault, OLD.asked_at) THEN
    RAISE EXCEPTION 'what a document is of cannot be edited' USING ERRCODE = 'restrict_violation';
  END IF;
  IF NEW.state = 'waiting' AND OLD.state <> 'waiting' THEN
    RAISE EXCEPTION 'a document that was kept does not wait again' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER document_guard BEFORE UPDATE OR DELETE ON backups_vaultdocument
  FOR EACH ROW EXECUTE FUNCTION backups_document_guard();
CREATE TRIGGER document_guard_truncate BEFORE TRUNCATE ON backups_vaultdocument
  FOR EACH STATEMENT EXECUTE FUNCTION backups_refuse_truncate_backups();
"""
STATES = [
    ("waiting", "not in 1Password yet"),
    ("kept", "kept in 1Password"),
    ("gone", "missing from 1Password"),
    ("changed", "another content in 1Password"),
]


def _to(model: str, *, null: bool = True, related: str = "+") -> models.ForeignKey:
    return models.ForeignKey(
        model, blank=null, null=null, on_delete=django.db.models.deletion.PROTECT, related_name=related
    )


class Migration(migrations.Migration):
    dependencies = [("backups", "0019_outside_changes"), ("kvops", "0021_vault_and_rotation")]

    operations = [
        migrations.CreateModel(
            "VaultDocument",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("vault", models.CharField(max_length=100)),
                ("actor", models.CharField(max_length=200)),
                ("asked_at", models.DateTimeField(db_default=Now())),
                ("state", models.CharField(choices=STATES, default="waiting", max_length=10)),
                ("item", models.CharField(blank=True, max_length=64)),
                ("title", models.CharField(blank=True, max_length=1024)),
                ("sha256", models.CharField(blank=True, max_length=64)),
                ("size", models.BigIntegerField(default=0)),
                ("kept_at", models.DateTimeField(blank=True, null=True)),
                ("seen_at", models.DateTimeField(blank=True, null=True)),
                ("lost_at", models.DateTimeField(blank=True, null=True)),
                ("generation", _to("backups.generation", null=False, related="documents")),
                ("run", _to("kvops.run", related="documents")),
                ("person", _to("kvops.person")),
                ("supersedes", _to("backups.vaultdocument", related="superseded_by")),
            ],
            options={
                "indexes": [models.Index(fields=["vault", "-id"], name="document_newest")],
                "constraints": [
                    models.UniqueConstraint(fields=["generation", "vault"], name="document_once_per_vault"),
                    models.CheckConstraint(name="document_names_its_vault", condition=~Q(vault="")),
                    models.CheckConstraint(
                        name="document_state_is_known",
                        condition=Q(state__in=["waiting", "kept", "gone", "changed"]),
                    ),
                    models.CheckConstraint(
                        name="document_waiting_has_a_run", condition=~Q(state="waiting") | Q(run__isnull=False)
                    ),
                    models.CheckConstraint(
                        name="document_kept_is_known_by_its_item",
                        condition=Q(state="waiting", kept_at__isnull=True)
                        | (
                            ~Q(state="waiting")
                            & Q(kept_at__isnull=False, seen_at__isnull=False)
                            & ~(Q(item="") | Q(title="") | Q(sha256=""))
                        ),
                    ),
                    models.CheckConstraint(
                        name="document_lost_has_a_time",
                        condition=Q(state__in=["gone", "changed"], lost_at__isnull=False)
                        | (~Q(state__in=["gone", "changed"]) & Q(lost_at__isnull=True)),
                    ),
                ],
            },
        ),
        migrations.RunSQL(GUARD, "DROP FUNCTION backups_document_guard CASCADE;"),
    ]
