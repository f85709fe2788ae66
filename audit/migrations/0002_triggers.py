"""The rules of the database for the audit log: entries are only added, each continues the head of the chain.

The application can neither change an entry, nor choose a sequence number, nor fork the chain, nor date an entry ahead
of the database's clock. The owner of the tables could switch the triggers off: the verification of the log finds that.
Dropping a function with CASCADE drops its triggers.
"""

from django.db import migrations

# The head before the first entry. Triggers keep it from now on, so it is written first and removed last.
HEAD = """
INSERT INTO audit_head (id, seq, hash, at)
VALUES (1, 0, decode(repeat('00', 32), 'hex'), to_timestamp(0));
"""

# An entry is never changed or removed, and the head is never added, removed or emptied.
APPEND_ONLY = """
CREATE FUNCTION audit_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit log is append-only: % on % is refused.', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_entry_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entry
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
CREATE TRIGGER audit_head_stays BEFORE INSERT OR DELETE OR TRUNCATE ON audit_head
    FOR EACH STATEMENT EXECUTE FUNCTION audit_refuse();
"""

# An entry moves the head with the rights of the tables' owner, so the application needs no right to move it.
# It fires after the insert: a row that is not stored (ON CONFLICT DO NOTHING) cannot move the head.
ENTRIES = """
CREATE FUNCTION audit_entry_continues_head() RETURNS trigger LANGUAGE plpgsql
    SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF NEW.row_hash <> sha256(NEW.prev_hash || NEW.canonical) THEN
        RAISE EXCEPTION 'Audit entry %: row_hash is not the hash of its bytes.', NEW.seq
            USING ERRCODE = 'restrict_violation';
    END IF;
    UPDATE audit_head SET seq = NEW.seq, hash = NEW.row_hash, at = NEW.at
     WHERE seq = NEW.seq - 1 AND hash = NEW.prev_hash
       AND NEW.at BETWEEN at AND greatest(at, clock_timestamp());
    IF NOT FOUND THEN
        RAISE EXCEPTION 'Audit entry % does not continue the head of the chain.', NEW.seq
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER audit_entry_continues_head AFTER INSERT ON audit_entry
    FOR EACH ROW EXECUTE FUNCTION audit_entry_continues_head();
"""

# An entry's canonical bytes must parse to its columns (`audit.chain`): a page shows the entry that was hashed.
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

# The head moves by one entry at a time, to that entry.
HEAD_MOVES = """
CREATE FUNCTION audit_head_follows_entry() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id = OLD.id AND NEW.seq = OLD.seq + 1 AND EXISTS (
        SELECT FROM audit_entry
         WHERE seq = NEW.seq AND prev_hash = OLD.hash AND row_hash = NEW.hash AND at = NEW.at
    ) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'The head of the audit chain moves only with a new entry.'
        USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER audit_head_follows_entry BEFORE UPDATE ON audit_head
    FOR EACH ROW EXECUTE FUNCTION audit_head_follows_entry();
"""

# The entries about a view and a reveal of a key's value are found by the key's name.
# The indexes are hashes, because an entry must never fail for its index: a B-tree refuses long texts.
FOUND_BY_KEY = """
CREATE INDEX audit_entry_key ON audit_entry USING hash ((details -> 'key')) WHERE action = 'value.viewed';
CREATE INDEX audit_entry_revealed ON audit_entry USING hash ((details -> 'key')) WHERE action = 'value.revealed';
"""


class Migration(migrations.Migration):
    dependencies = [("audit", "0001_tables")]

    operations = [
        migrations.RunSQL(HEAD, "DELETE FROM audit_head;"),
        migrations.RunSQL(APPEND_ONLY, "DROP FUNCTION audit_refuse CASCADE;"),
        migrations.RunSQL(ENTRIES, "DROP FUNCTION audit_entry_continues_head CASCADE;"),
        migrations.RunSQL(CANONICAL_BYTES, "DROP FUNCTION audit_entry_bytes_are_columns CASCADE;"),
        migrations.RunSQL(HEAD_MOVES, "DROP FUNCTION audit_head_follows_entry CASCADE;"),
        migrations.RunSQL(FOUND_BY_KEY, "DROP INDEX audit_entry_key, audit_entry_revealed;"),
    ]
