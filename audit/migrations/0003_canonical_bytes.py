"""An entry's canonical bytes must parse to its columns (`audit.chain`): a page shows the entry that was hashed."""

from django.db import migrations

CANONICAL_BYTES = """
CREATE FUNCTION audit_entry_bytes_are_columns() RETURNS trigger LANGUAGE plpgsql
    SET search_path = public, pg_temp AS $$
DECLARE
    field text;
    expected bytea := '';
    details bytea;
BEGIN
    FOREACH field IN ARRAY ARRAY[
        'kvops-audit-1', NEW.seq::text, to_char(NEW.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'),
        NEW.action, coalesce(NEW.actor_id::text, ''), NEW.actor, NEW.environment, NEW.subject, NEW.subject_label,
        NEW.digest
    ] LOOP
        expected := expected || int4send(octet_length(convert_to(field, 'UTF8'))) || convert_to(field, 'UTF8');
    END LOOP;
    details := substring(NEW.canonical FROM length(expected) + 5);
    IF substring(NEW.canonical FOR length(expected) + 4) IS DISTINCT FROM expected || int4send(length(details))
       OR convert_from(details, 'UTF8')::jsonb IS DISTINCT FROM NEW.details THEN
        RAISE EXCEPTION 'Audit entry %: the canonical bytes do not parse to the columns.', NEW.seq
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_entry_is_its_bytes AFTER INSERT ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_entry_bytes_are_columns();
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0002_guards")]

    operations = [migrations.RunSQL(CANONICAL_BYTES, "DROP FUNCTION audit_entry_bytes_are_columns CASCADE;")]
