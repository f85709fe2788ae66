"""Searches for code references with their hits, people's answers, and the code that is deployed."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

RECORDS = """
CREATE FUNCTION kvops_reference_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'a search for references is never deleted or edited' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER reference_guard BEFORE UPDATE OR DELETE ON kvops_referencesearch
  FOR EACH ROW EXECUTE FUNCTION kvops_reference_guard();
CREATE TRIGGER reference_guard_truncate BEFORE TRUNCATE ON kvops_referencesearch
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_reference_guard();
CREATE TRIGGER reference_guard BEFORE UPDATE OR DELETE ON kvops_referencehit
  FOR EACH ROW EXECUTE FUNCTION kvops_reference_guard();
CREATE TRIGGER reference_guard_truncate BEFORE TRUNCATE ON kvops_referencehit
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_reference_guard();

CREATE FUNCTION kvops_answer_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.closed_by_id IS NOT NULL THEN
      RAISE EXCEPTION 'a follow-up begins open' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT EXISTS (SELECT FROM kvops_referencehit WHERE id = NEW.hit_id AND fingerprint = NEW.fingerprint) THEN
      RAISE EXCEPTION 'an answer has the fingerprint of its hit' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
  END IF;
  IF TG_OP IN ('DELETE', 'TRUNCATE') THEN
    RAISE EXCEPTION 'an answer is never deleted' USING ERRCODE = 'restrict_violation';
  END IF;
  IF (to_jsonb(OLD) - '{closed_by_id,closed_at}'::text[]) IS DISTINCT FROM
     (to_jsonb(NEW) - '{closed_by_id,closed_at}'::text[]) OR OLD.closed_by_id IS NOT NULL THEN
    RAISE EXCEPTION 'an answer is never edited; a later search closes a follow-up once'
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF NOT EXISTS (
    SELECT FROM kvops_referencehit hit JOIN kvops_referencesearch earlier ON earlier.id = hit.search_id
    JOIN kvops_referencesearch later USING (environment_id, worker)
    WHERE hit.id = NEW.hit_id AND later.id = NEW.closed_by_id AND later.searched_at > earlier.searched_at
  ) THEN
    RAISE EXCEPTION 'only a later search of the same code closes a follow-up' USING ERRCODE = 'restrict_violation';
  END IF;
  IF EXISTS (
    SELECT FROM kvops_referencehit hit JOIN kvops_referencehit later ON later.search_id = NEW.closed_by_id
    WHERE hit.id = NEW.hit_id AND (later.fingerprint = NEW.fingerprint
                                   OR (later.family, later.file, later.text) = (hit.family, hit.file, hit.text))
  ) OR EXISTS (
    SELECT FROM kvops_referencehit hit JOIN kvops_referencesearch later ON later.id = NEW.closed_by_id
    WHERE hit.id = NEW.hit_id AND later.unparsed ? hit.file
  ) THEN
    RAISE EXCEPTION 'a search with such a hit closes no follow-up' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER answer_guard BEFORE INSERT OR UPDATE OR DELETE ON kvops_referenceanswer
  FOR EACH ROW EXECUTE FUNCTION kvops_answer_guard();
CREATE TRIGGER answer_guard_truncate BEFORE TRUNCATE ON kvops_referenceanswer
  FOR EACH STATEMENT EXECUTE FUNCTION kvops_answer_guard();
"""
UNDO = """
DROP FUNCTION kvops_reference_guard() CASCADE;
DROP FUNCTION kvops_answer_guard() CASCADE;
"""


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0006_unexpected_by_name"),
    ]

    operations = [
        migrations.CreateModel(
            name="DeployedLook",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("at", models.DateTimeField()),
                ("problem", models.TextField(blank=True)),
                (
                    "environment",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="deployed_look",
                        to="kvops.environment",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ReferenceSearch",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "source",
                    models.CharField(
                        choices=[
                            ("checkout", "checkout on this machine"),
                            ("file", "file of a search elsewhere"),
                            ("worker", "deployed script"),
                        ],
                        max_length=10,
                    ),
                ),
                ("commit", models.CharField(blank=True, max_length=100)),
                ("worker", models.CharField(blank=True, max_length=100)),
                ("version", models.CharField(blank=True, max_length=100)),
                ("etag", models.CharField(blank=True, max_length=200)),
                ("files", models.PositiveIntegerField()),
                ("hit_count", models.PositiveIntegerField()),
                ("unparsed", models.JSONField(default=list)),
                ("digest", models.CharField(max_length=64)),
                ("searched_at", models.DateTimeField()),
                ("made_by", models.CharField(max_length=200)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.person",
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="searches", to="kvops.environment"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ReferenceHit",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("file", models.TextField()),
                ("line", models.PositiveIntegerField()),
                ("column", models.PositiveIntegerField()),
                (
                    "certainty",
                    models.CharField(
                        choices=[("certain", "certain"), ("possible", "possible"), ("unknown", "cannot be told")],
                        max_length=10,
                    ),
                ),
                (
                    "access",
                    models.CharField(
                        choices=[
                            ("read", "reads"),
                            ("write", "writes"),
                            ("list", "lists"),
                            ("delete", "deletes"),
                            ("unknown", "cannot be told"),
                        ],
                        max_length=10,
                    ),
                ),
                ("family", models.TextField(db_collation="C")),
                ("text", models.TextField()),
                ("context", models.JSONField(default=list)),
                ("fingerprint", models.CharField(max_length=64)),
                (
                    "search",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="hits", to="kvops.referencesearch"
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="ReferenceAnswer",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("fingerprint", models.CharField(max_length=64)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("unrelated", "unrelated"),
                            ("falls_back", "falls back safely"),
                            ("follow_up", "follow-up"),
                        ],
                        max_length=20,
                    ),
                ),
                ("reason", models.TextField()),
                (
                    "follow_up",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("d1", "switch to D1"),
                            ("regeneration", "switch to regeneration"),
                            ("flag", "remove the flag or fallback"),
                        ],
                        max_length=20,
                    ),
                ),
                ("due", models.DateField(blank=True, null=True)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("closed_at", models.DateTimeField(blank=True, null=True)),
                (
                    "by",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.person"),
                ),
                (
                    "family",
                    models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.family"),
                ),
                (
                    "owner",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.person",
                    ),
                ),
                (
                    "hit",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="kvops.referencehit"
                    ),
                ),
                (
                    "closed_by",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="kvops.referencesearch",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="DeployedCode",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(choices=[("worker", "Worker"), ("pages", "Pages project")], max_length=10)),
                ("name", models.CharField(max_length=100)),
                ("deployment", models.CharField(blank=True, max_length=100)),
                ("version", models.CharField(blank=True, max_length=100)),
                ("etag", models.CharField(blank=True, max_length=200)),
                ("commit", models.CharField(blank=True, max_length=100)),
                ("dirty", models.BooleanField(default=False)),
                ("bindings", models.JSONField(default=dict)),
                ("traces", models.BooleanField(null=True)),
                ("deployed_at", models.DateTimeField(blank=True, null=True)),
                ("seen_at", models.DateTimeField()),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="deployed", to="kvops.environment"
                    ),
                ),
            ],
            options={
                "constraints": [
                    models.UniqueConstraint(fields=("environment", "kind", "name", "version"), name="deployed_once")
                ],
            },
        ),
        migrations.AddIndex(
            model_name="referencesearch",
            index=models.Index(fields=["environment", "-searched_at"], name="search_newest"),
        ),
        migrations.AddConstraint(
            model_name="referencesearch",
            constraint=models.UniqueConstraint(fields=("environment", "digest"), name="search_arrives_once"),
        ),
        migrations.AddConstraint(
            model_name="referencesearch",
            constraint=models.CheckConstraint(condition=models.Q(("files__gt", 0)), name="search_has_files"),
        ),
        migrations.AddConstraint(
            model_name="referencesearch",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("source", "worker"),
                        models.Q(("worker", ""), _negated=True),
                        models.Q(("version", ""), _negated=True),
                    ),
                    models.Q(
                        models.Q(("source", "worker"), _negated=True),
                        models.Q(("commit", ""), _negated=True),
                        ("etag", ""),
                        ("version", ""),
                        ("worker", ""),
                    ),
                    _connector="OR",
                ),
                name="search_names_its_code",
            ),
        ),
        migrations.AddIndex(
            model_name="referencehit",
            index=models.Index(fields=["search", "family"], name="hit_of_family"),
        ),
        migrations.AddIndex(
            model_name="referenceanswer",
            index=models.Index(fields=["family", "fingerprint", "-id"], name="answer_newest"),
        ),
        migrations.AddConstraint(
            model_name="referenceanswer",
            constraint=models.CheckConstraint(
                condition=models.Q(("reason", ""), _negated=True), name="answer_has_a_reason"
            ),
        ),
        migrations.AddConstraint(
            model_name="referenceanswer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(
                        ("due__isnull", False),
                        ("kind", "follow_up"),
                        ("owner__isnull", False),
                        models.Q(("follow_up", ""), _negated=True),
                    ),
                    models.Q(
                        models.Q(("kind", "follow_up"), _negated=True),
                        ("due__isnull", True),
                        ("follow_up", ""),
                        ("owner__isnull", True),
                    ),
                    _connector="OR",
                ),
                name="follow_up_has_an_owner_and_a_date",
            ),
        ),
        migrations.AddConstraint(
            model_name="referenceanswer",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("closed_at__isnull", True), ("closed_by__isnull", True)),
                    models.Q(("closed_at__isnull", False), ("closed_by__isnull", False), ("kind", "follow_up")),
                    _connector="OR",
                ),
                name="only_a_search_closes_a_follow_up",
            ),
        ),
        migrations.RunSQL(RECORDS, UNDO),
    ]
