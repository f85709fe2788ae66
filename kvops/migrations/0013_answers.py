"""Answers to code references: who may give one, for which hit, and which searches close a follow-up.

A follow-up is closed once the newest search of its own code is later than its hit, and no newest search of any
environment has such a hit.
"""

from django.db import migrations

HELPERS = """
CREATE FUNCTION kvops_newest_searches() RETURNS SETOF kvops_referencesearch LANGUAGE sql STABLE AS $$
  SELECT DISTINCT ON (environment_id, worker) * FROM kvops_referencesearch
  ORDER BY environment_id, worker, searched_at DESC, id DESC
$$;

CREATE FUNCTION kvops_hit_concerns(hit_id bigint, family_id bigint) RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT EXISTS (
    SELECT FROM (
      SELECT family.*, search.environment_id, hit.family AS whole, split_part(hit.family, ' ', 1) AS name,
        regexp_replace(substr(hit.family, strpos(hit.family, ' ') + 1), '[*]$', '') AS stem,
        hit.family LIKE '%*' AS open
      FROM kvops_referencehit hit JOIN kvops_referencesearch search ON search.id = hit.search_id, kvops_family family
      WHERE hit.id = $1 AND family.id = $2
    ) one
    WHERE whole = '*' OR (
      (name = binding OR EXISTS (
        SELECT FROM kvops_deployedcode code JOIN kvops_namespace bound USING (environment_id)
        WHERE code.environment_id = one.environment_id AND bound.binding = one.binding
          AND code.bindings ->> one.name = bound.namespace_id))
      AND (open AND starts_with(pattern, stem)
           OR NOT exact AND starts_with(stem, pattern)
           OR NOT open AND exact AND stem = pattern))
  )
$$;
"""
GUARD = """
CREATE OR REPLACE FUNCTION kvops_answer_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'INSERT' THEN
    IF NEW.closed_by_id IS NOT NULL THEN
      RAISE EXCEPTION 'a follow-up begins open' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT EXISTS (SELECT FROM kvops_referencehit WHERE id = NEW.hit_id AND fingerprint = NEW.fingerprint) THEN
      RAISE EXCEPTION 'an answer has the fingerprint of its hit' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT EXISTS (
      SELECT FROM kvops_rolegrant held JOIN kvops_user login USING (person_id)
      WHERE held.person_id = NEW.by_id AND held.role = 'operator' AND held.revoked_at IS NULL AND login.is_active
    ) THEN
      RAISE EXCEPTION 'an answer is given by an operator with an active login' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.reason <> '' AND btrim(NEW.reason, E' \\t\\r\\n') = '' THEN
      RAISE EXCEPTION 'an answer has a reason that can be read' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NEW.at <> statement_timestamp() THEN
      RAISE EXCEPTION 'an answer is of now' USING ERRCODE = 'restrict_violation';
    END IF;
    IF NOT kvops_hit_concerns(NEW.hit_id, NEW.family_id) THEN
      RAISE EXCEPTION 'an answer is for a family that its hit may use' USING ERRCODE = 'restrict_violation';
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
    JOIN kvops_newest_searches() newest USING (environment_id, worker)
    WHERE hit.id = NEW.hit_id AND newest.searched_at > earlier.searched_at
  ) OR NOT EXISTS (
    SELECT FROM kvops_newest_searches() newest WHERE newest.id = NEW.closed_by_id
  ) THEN
    RAISE EXCEPTION 'only a later search of the same code closes a follow-up' USING ERRCODE = 'restrict_violation';
  END IF;
  IF EXISTS (
    SELECT FROM kvops_referencehit hit JOIN kvops_referencesearch earlier ON earlier.id = hit.search_id,
      kvops_newest_searches() newest
    WHERE hit.id = NEW.hit_id AND (
      newest.worker = earlier.worker AND newest.unparsed ? hit.file
      OR EXISTS (
        SELECT FROM kvops_referencehit later WHERE later.search_id = newest.id AND (
          later.fingerprint = NEW.fingerprint
          OR newest.worker = earlier.worker
             AND (later.family, later.file, later.text) = (hit.family, hit.file, hit.text))))
  ) THEN
    RAISE EXCEPTION 'no follow-up is closed while a newest search has such a hit' USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
"""
BEFORE = """
CREATE OR REPLACE FUNCTION kvops_answer_guard() RETURNS trigger LANGUAGE plpgsql AS $$
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
DROP FUNCTION kvops_hit_concerns(bigint, bigint);
DROP FUNCTION kvops_newest_searches();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0012_wrangler"),
    ]

    operations = [
        migrations.RunSQL([HELPERS, GUARD], BEFORE),
    ]
