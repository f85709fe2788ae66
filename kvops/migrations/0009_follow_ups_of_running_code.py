"""A follow-up is closed only by a search of code that runs, and while no other search of that code has its place."""

from importlib import import_module

from django.db import migrations

# The first two functions are no triggers: the guard asks them. A search counts if it is the newest of its code, of the
# same commit as a newest one, or of code that runs.
CLOSED_BY_RUNNING_CODE = """
CREATE FUNCTION kvops_code_searched(search kvops_referencesearch, code kvops_deployedcode)
RETURNS boolean LANGUAGE sql STABLE AS $$
  SELECT search.environment_id = code.environment_id AND (
    search.commit <> '' AND search.commit = code.commit AND NOT code.dirty
    OR code.kind = 'worker' AND (search.worker, search.version, search.etag) = (code.name, code.version, code.etag))
$$;

CREATE FUNCTION kvops_counted_searches() RETURNS SETOF kvops_referencesearch LANGUAGE sql STABLE AS $$
  SELECT one.* FROM kvops_referencesearch one
  WHERE EXISTS (
    SELECT FROM kvops_newest_searches() newest WHERE newest.id = one.id
      OR one.commit <> '' AND (newest.environment_id, newest.commit) = (one.environment_id, one.commit)
  ) OR EXISTS (SELECT FROM kvops_deployedcode code WHERE kvops_code_searched(one, code))
$$;

CREATE OR REPLACE FUNCTION kvops_answer_guard() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  place kvops_referencehit;
  earlier kvops_referencesearch;
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
  SELECT * INTO place FROM kvops_referencehit WHERE id = NEW.hit_id;
  SELECT * INTO earlier FROM kvops_referencesearch WHERE id = place.search_id;
  IF NOT EXISTS (
    SELECT FROM kvops_referencesearch later JOIN kvops_deployedcode code ON kvops_code_searched(later, code)
    WHERE later.id = NEW.closed_by_id AND later.searched_at > earlier.searched_at
      AND (later.environment_id, later.worker) = (earlier.environment_id, earlier.worker)
  ) THEN
    RAISE EXCEPTION 'only a later search of the same code that runs closes a follow-up'
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF EXISTS (
    SELECT FROM kvops_referencesearch later JOIN kvops_referencesearch larger ON larger.id = later.fewer_than_id
    WHERE later.id = NEW.closed_by_id AND larger.files > later.files
  ) THEN
    RAISE EXCEPTION 'a file with fewer files than the search before it closes no follow-up'
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF NOT EXISTS (
    SELECT FROM kvops_deployedlook WHERE environment_id = earlier.environment_id AND problem = ''
      AND at >= statement_timestamp() - interval '2 hours'
  ) OR EXISTS (
    SELECT FROM kvops_family family JOIN kvops_namespace bound ON bound.binding = family.binding
      JOIN kvops_deployedcode code USING (environment_id)
    WHERE family.id = NEW.family_id AND code.environment_id = earlier.environment_id
      AND EXISTS (SELECT FROM jsonb_each_text(code.bindings) one WHERE one.value = bound.namespace_id)
      AND NOT EXISTS (SELECT FROM kvops_referencesearch one WHERE kvops_code_searched(one, code))
  ) THEN
    RAISE EXCEPTION 'no follow-up is closed while it is not known that all code that runs was searched'
      USING ERRCODE = 'restrict_violation';
  END IF;
  IF EXISTS (
    SELECT FROM kvops_counted_searches() counted WHERE counted.worker = earlier.worker AND counted.unparsed ? place.file
      OR EXISTS (
        SELECT FROM kvops_referencehit later WHERE later.search_id = counted.id AND (
          later.fingerprint = NEW.fingerprint
          OR counted.worker = earlier.worker
             AND (later.family, later.file, later.text) = (place.family, place.file, place.text)))
  ) THEN
    RAISE EXCEPTION 'no follow-up is closed while a search that counts has such a hit'
      USING ERRCODE = 'restrict_violation';
  END IF;
  RETURN NEW;
END $$;
"""
_GUARD = "FUNCTION kvops_answer_guard()"
_TRIGGERS = import_module("kvops.migrations.0002_triggers")
_BEFORE = _TRIGGERS.ANSWERS.split(f"CREATE {_GUARD}")[1].split("CREATE TRIGGER")[0]
CLOSED_BY_TYPED_COMMITS = f"""
CREATE OR REPLACE {_GUARD}{_BEFORE}
DROP FUNCTION kvops_counted_searches();
DROP FUNCTION kvops_code_searched(kvops_referencesearch, kvops_deployedcode);
"""


class Migration(migrations.Migration):
    dependencies = [
        ("kvops", "0008_recorded_grants"),
    ]

    operations = [migrations.RunSQL(CLOSED_BY_RUNNING_CODE, CLOSED_BY_TYPED_COMMITS)]
