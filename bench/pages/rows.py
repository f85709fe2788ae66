"""The rows of an installation, as SQL: keys with families, runs of every kind and state, backups, clean-ups.

`%(now)s` is the moment of the filling and `%(reader)s` the operator who reads the pages. The ids are the numbers.
"""

from collections.abc import Iterator

from bench.pages.estate import FAMILIES
from bench.pages.sizes import DAYS, Sizes

NAMES = {
    "clinic:id:": "lpad(i::text, 8, '0')",
    "clinic:summary:": "lpad((i * 400 / {n})::text, 4, '0') || ':' || lpad(i::text, 8, '0')",
    "facility-skills:": "lpad(i::text, 8, '0')",
    "facility:": "lpad(i::text, 8, '0')",
    "master:": "'type' || lpad((i * 40 / {n})::text, 2, '0') || ':' || lpad(i::text, 8, '0')",
    "staff:": "md5(i::text)",
}
"""The rest of the names of each family. Types and dates are groups of the tree of names."""
SHARES = {"qa": 40, "production": 60}
"""Keys of each environment in percent."""
KINDS = (
    *(["scan"] * 8),
    *(["backup"] * 2),
    *(["verify"] * 2),
    *(["reconcile"] * 3),
    *("check", "comparison", "late_check", "vault_check", "look"),
)
"""Kinds of 20 runs that follow each other."""
DELETED_EACH = 25
"""Names of a completed clean-up in one environment for each hundred thousandth of the keys; see `cleanups`."""
NAMES_OF_A_BACKUP = 20


def statements(sizes: Sizes) -> Iterator[tuple[str, str]]:
    """Each table, in the order of filling, with the statement that fills it."""
    yield "kvops_run", runs(sizes)
    yield "kvops_scan", scans(sizes)
    yield "kvops_scancount", counts()
    yield "kvops_unexplaineddeletion", unexplained()
    for statement in keys(sizes):
        yield "kvops_key", statement
    yield "backups_generation", generations(sizes)
    yield "backups_generationentry", generation_entries()
    yield "backups_generationpart", generation_parts()
    yield "backups_storedobject", stored_objects()
    yield "backups_pin", pins()
    yield "kvops_approvalrequest", approvals(sizes)
    yield "kvops_run", deletions(sizes)
    yield "backups_cleanuprequest", cleanups(sizes)
    yield "backups_cleanupstage", stages(sizes)
    yield "backups_cleanupentry", cleanup_entries(sizes)
    yield "backups_cleanupchunk", cleanup_chunks()
    yield "backups_prunerequest", prunes(sizes)


def runs(sizes: Sizes) -> str:
    """Runs of every kind: 2 % failed, few stopped, the others succeeded. Of the last month only scans fail."""
    n, kinds = sizes.runs, "ARRAY[" + ",".join(f"'{kind}'" for kind in KINDS) + "]"
    failed = f"(r %% 50 = 7 AND (r %% 20 = 7 OR r <= {n - sizes.today - sizes.month}))"
    state = f"CASE WHEN {failed} THEN 'failed' WHEN r %% 400 = 13 THEN 'stopped' ELSE 'succeeded' END"
    subject = """CASE WHEN r %% 20 < 8 THEN 'namespace:' || (CASE WHEN r %% 2 = 0 THEN %(qa)s ELSE %(production)s END)
        WHEN r %% 20 BETWEEN 12 AND 14 THEN 'environment:' || (1 + r %% 2)
        ELSE 'generation:' || ((r / 20) * 2 + r %% 2 + 1) END"""
    return f"""
INSERT INTO kvops_run (id, kind, subject, label, environment_id, approval_digest, started_by_id, actor, foreground,
    state, owner, epoch, task_sent_at, starts, tries, stop_requested_by, done, total, calls, note, cursor, result,
    error_code, error, created_at, updated_at, finished_at)
SELECT r + 1, ({kinds})[r %% 20 + 1], {subject}, 'SETTINGS', (SELECT id FROM kvops_environment WHERE "order" =
    1 + r %% 2), '', CASE WHEN r %% 7 = 0 THEN %(reader)s END,
    CASE WHEN r %% 7 = 0 THEN 'Operator <operator@example.com>' ELSE 'system:schedule' END, false,
    {state}, '', 1, moment, 1, 0, '', 1000, 1000, 12, '', '{{}}', '{{"keys": 1000}}',
    CASE WHEN {failed} THEN 'unreachable' ELSE '' END,
    CASE WHEN {failed} THEN 'Cloudflare did not answer.' ELSE '' END, moment, moment, moment + interval '40 seconds'
FROM (SELECT r, {sizes.at("r")} AS moment FROM generate_series(0, {n - 1}) AS r) AS numbered"""


def scans(sizes: Sizes) -> str:
    """The scan of each run of a scan; one in 500 found changes that nobody explained, a person has noted them."""
    return f"""
INSERT INTO kvops_scan (id, namespace_id, run_id, prefix, created_at, completed_at, keys, added, changed, gone,
    unstorable, calls, unexplained, unexpected, acknowledged_by_id, acknowledged_at, acknowledged_note)
SELECT (r.id - 1) / 20 * 8 + (r.id - 1) %% 20 + 1, split_part(r.subject, ':', 2)::bigint, r.id, '', r.created_at,
    CASE WHEN r.state = 'succeeded' THEN r.finished_at END, {sizes.keys // 2}, 12, 3, 5, 0, 12,
    CASE WHEN odd THEN 20 ELSE 0 END, 0, CASE WHEN odd THEN %(reader)s::bigint END,
    CASE WHEN odd THEN r.finished_at END, CASE WHEN odd THEN 'A job of the team.' ELSE '' END
FROM (SELECT *, id %% 500 = 42 AS odd FROM kvops_run WHERE kind = 'scan') AS r"""


def counts() -> str:
    """The keys by family at the end of each scan."""
    return """
INSERT INTO kvops_scancount (scan_id, category, family_id, pattern, keys, without_expiration, lacking)
SELECT s.id, f.category, f.id, f.pattern, s.keys / 8 + s.id %% 97, s.keys / 16, CASE WHEN f.expiry = 'none' THEN 0
    ELSE 3 END
FROM kvops_scan AS s CROSS JOIN kvops_family AS f WHERE s.completed_at IS NOT NULL AND f.binding = 'SETTINGS'
UNION ALL SELECT s.id, 'unclassified', NULL, '', s.keys / 20, 0, 0 FROM kvops_scan AS s
    WHERE s.completed_at IS NOT NULL"""


def unexplained() -> str:
    """The names that the odd scans found gone."""
    return """
INSERT INTO kvops_unexplaineddeletion (scan_id, name, expiration, category)
SELECT s.id, 'staff:gone' || s.id || ':' || i, NULL, 'legacy' FROM kvops_scan AS s, generate_series(1, 20) AS i
WHERE s.unexplained > 0"""


def keys(sizes: Sizes) -> Iterator[str]:
    """The keys of each namespace in the order of their names."""
    for slug, share in SHARES.items():
        of = sizes.keys * share // 100
        for pattern, (category, _expiry, percent) in FAMILIES.items():
            n = of * percent // 100
            yield _keys(slug, pattern, category, n, rest=NAMES[pattern].format(n=n), scans=sizes.scans)
        yield _keys(slug, "", "unclassified", of * 5 // 100, rest="'tmp:' || lpad(i::text, 8, '0')", scans=sizes.scans)
        for pattern in "api-key:", "mail:":
            yield _keys(slug, pattern, "settings", 20, rest="'service' || i", scans=sizes.scans)


def _keys(slug: str, pattern: str, category: str, n: int, *, rest: str, scans: int) -> str:
    # Caches expire within 30 days, but for one key in five; half of the keys are as old as the first scan.
    expires = "i %% 5 > 0" if category == "cache" else "false"
    marked = pattern == "facility-skills:"
    return f"""
INSERT INTO kvops_key (namespace_id, name, expiration, metadata, family_id, category, first_seen_id)
SELECT %({slug})s, '{pattern}' || {rest},
    CASE WHEN {expires} THEN extract(epoch FROM %(now)s)::bigint + (i::bigint * 7919) %% 2592000 END,
    CASE WHEN {str(marked).lower()} AND i %% 10 > 0 THEN '{{"regenerate":true}}' END,
    (SELECT id FROM kvops_family WHERE binding = 'SETTINGS' AND pattern = '{pattern}'), '{category}',
    CASE WHEN i %% 2 = 0 THEN 1 ELSE (i::bigint * 7919) %% {scans} + 1 END
FROM generate_series(0, {n} - 1) AS i"""


def generations(sizes: Sizes) -> str:
    """Backups of one family each. Those of 60 days exist, of one family those of a year; the others were deleted."""
    families = "ARRAY[" + ",".join(f"'{pattern}'" for pattern in FAMILIES) + "]"
    b = sizes.backups
    kept = "CASE WHEN f.pattern = 'staff:' THEN interval '365 days' ELSE interval '60 days' END"
    gone = f"r.created_at < %(now)s::timestamptz - {kept}"
    lately = f"g.id > {b - 48}"
    return f"""
INSERT INTO backups_generation (id, environment_id, namespace_id, prefixes, category, patterns, exact, purpose, read,
    run_id, verify_run_id, made_by_id, actor, status, recipients, digest_key, bucket, endpoint, account_id, stem,
    manifest_key, manifest_sha256, digest_root, keys, bytes, expired, vanished, calls, started_at, finished_at,
    verified_at, problem, retain_until, deleted_at)
SELECT g.id, e.id, CASE WHEN e."order" = 1 THEN %(qa)s ELSE %(production)s END, jsonb_build_array(f.pattern),
    f.category, '[]', false,
    CASE WHEN g.id %% 23 = 5 AND NOT {lately} THEN 'restore' ELSE 'routine' END, 'bulk', r.id, v.id, NULL,
    r.actor, CASE WHEN {gone} THEN 'deleted' WHEN {lately} THEN 'verified' WHEN g.id %% 29 = 3 THEN 'complete'
        WHEN g.id %% 97 = 4 THEN 'damaged' ELSE 'verified' END,
    '[]', '', e.r2_bucket, e.r2_endpoint, e.account_id, e.slug || '/backups/' || lpad(g.id::text, 8, '0'),
    e.slug || '/backups/' || lpad(g.id::text, 8, '0') || '.manifest.json', repeat('a', 64), repeat('b', 64), 20,
    20480, 0, 0, 5, r.created_at, r.finished_at, v.finished_at, '', r.created_at + interval '30 days',
    CASE WHEN {gone} THEN r.created_at + {kept} END
FROM generate_series(1, {b}) AS g (id)
JOIN kvops_run AS r ON r.id = (g.id - 1) / 2 * 20 + 9 + (g.id - 1) %% 2
JOIN kvops_run AS v ON v.id = r.id + 2
JOIN kvops_environment AS e ON e."order" = 1 + g.id %% 2
JOIN kvops_family AS f ON f.binding = 'SETTINGS' AND f.pattern = ({families})[(g.id / 2) %% {len(FAMILIES)} + 1]"""


def generation_entries() -> str:
    """The first names of its family in each backup, so that some keys are in thousands of backups."""
    return f"""
INSERT INTO backups_generationentry (generation_id, index, name, expiration, outcome, digest, size)
SELECT g.id, i, (g.prefixes->>0) || lpad(i::text, 8, '0'), NULL, 'kept', sha256(i::text::bytea), 1024
FROM backups_generation AS g, generate_series(0, {NAMES_OF_A_BACKUP - 1}) AS i"""


def generation_parts() -> str:
    """One part of each backup."""
    return """
INSERT INTO backups_generationpart (generation_id, number, object_key, sha256, size, keys, digest_root, digests_key,
    digests_sha256, api_only_key, api_only_sha256, api_only_keys, first_index, last_index, stored)
SELECT g.id, 1, g.stem || '.1.ndjson', repeat('c', 64), 20480, 20, repeat('d', 64), g.stem || '.1.digests',
    repeat('e', 64), '', '', 0, 0, 19, jsonb_build_array(jsonb_build_object('key', g.stem || '.1.ndjson',
    'digests_key', g.stem || '.1.digests')) FROM backups_generation AS g"""


def stored_objects() -> str:
    """The three objects of each backup that exists."""
    return """
INSERT INTO backups_storedobject (environment_id, key, size, etag, modified_at, seen_at, generation_id, status,
    status_at, written_size, written_etag, note)
SELECT g.environment_id, g.stem || ending, 2048, 'e', g.finished_at, g.finished_at, g.id, 'known', g.finished_at,
    2048, 'e', '' FROM backups_generation AS g,
    unnest(ARRAY['.1.ndjson', '.1.digests', '.manifest.json']) AS ending WHERE g.status <> 'deleted'"""


def pins() -> str:
    """One backup in fifty is pinned by a person."""
    return """
INSERT INTO backups_pin (generation_id, person_id, reason, at, removed_because)
SELECT id, %(reader)s, 'Kept for the audit.', finished_at, '' FROM backups_generation
WHERE status <> 'deleted' AND id %% 50 = 0"""


def approvals(sizes: Sizes) -> str:
    """Decided requests about clean-ups, most of them used."""
    n = sizes.approvals
    return f"""
INSERT INTO kvops_approvalrequest (id, kind, subject, title, environment_id, evidence, digest, requester_id,
    created_at, decide_by, state, approver_id, decided_at, reason, accepted, use_by, starter_id, used_at)
SELECT a, 'delete_keys', 'stage:' || a, 'Delete keys of SETTINGS', 1 + a %% 2, '{{}}',
    encode(sha256('{{}}'), 'hex'), %(reader)s, moment, moment + interval '7 days',
    CASE WHEN a %% 10 = 9 THEN 'rejected' ELSE 'used' END, %(reviewer)s, moment + interval '1 hour', 'Seen.', '[]',
    CASE WHEN a %% 10 < 9 THEN moment + interval '2 days' END, CASE WHEN a %% 10 < 9 THEN %(reader)s::bigint END,
    CASE WHEN a %% 10 < 9 THEN moment + interval '2 hours' END
FROM (SELECT a, %(now)s::timestamptz - interval '{DAYS} days' * ({n} + 5 - a) / {n} AS moment
    FROM generate_series(1, {n}) AS a) AS numbered"""


def deletions(sizes: Sizes) -> str:
    """The run of the deletion of each stage."""
    return f"""
INSERT INTO kvops_run (id, kind, subject, label, environment_id, approval_id, approval_digest, started_by_id, actor,
    foreground, state, owner, epoch, task_sent_at, starts, tries, stop_requested_by, done, total, calls, note, cursor,
    result, error_code, error, created_at, updated_at, finished_at)
SELECT {sizes.runs} + a.id, 'delete', a.subject, a.title, a.environment_id, a.id, a.digest, a.requester_id,
    'Operator <operator@example.com>', false, 'succeeded', '', 1, a.decided_at, 1, 0, '', 25, 25, 3, '', '{{}}', '{{}}',
    '', '', a.decided_at, a.decided_at, a.decided_at + interval '5 minutes'
FROM kvops_approvalrequest AS a WHERE a.id <= {2 * sizes.cleanups}"""


def cleanups(sizes: Sizes) -> str:
    """Completed clean-ups."""
    return f"""
INSERT INTO backups_cleanuprequest (id, binding, prefix, exact, "only", family_id, category, reason, requested_by_id,
    asked_by, ticket, frozen_by, created_at, ended_by, completed_at)
SELECT c, 'SETTINGS', 'staff:old' || c, false, '{{}}', (SELECT id FROM kvops_family WHERE pattern = 'staff:'), 'legacy',
    'Migrated to D1.', %(reader)s, '', '', '', a.created_at, '', a.decided_at + interval '3 days'
FROM generate_series(1, {sizes.cleanups}) AS c JOIN kvops_approvalrequest AS a ON a.id = 2 * c"""


def stages(sizes: Sizes) -> str:
    """The accepted stages of each clean-up; each has as many names as the ratio of keys allows."""
    return f"""
INSERT INTO backups_cleanupstage (id, request_id, environment_id, namespace_id, "order", state, frozen_at, names,
    names_sha256, scope_digest, generation_id, approval_id, run_id, deleted, skipped, first_listing_at,
    second_listing_at, empty_reason, leftovers_note, accepted_note, accepted_by_id, accepted_at, returned_because)
SELECT s, (s + 1) / 2, e.id, CASE WHEN e."order" = 1 THEN %(qa)s ELSE %(production)s END, e."order", 'accepted',
    r.created_at, {names_of_a_stage(sizes)}, repeat('a', 64), repeat('b', 64), s %% {sizes.backups} + 1, NULL, r.id,
    {names_of_a_stage(sizes)}, 0, r.finished_at, r.finished_at + interval '3 minutes', '', '', 'Works.', %(reader)s,
    r.finished_at + interval '1 day', ''
FROM generate_series(1, {2 * sizes.cleanups}) AS s JOIN kvops_run AS r ON r.id = {sizes.runs} + s
JOIN kvops_environment AS e ON e."order" = 2 - s %% 2"""


def names_of_a_stage(sizes: Sizes) -> int:
    """Deleted keys of a stage, so that a twentieth of the keys was deleted in all."""
    return max(5, sizes.keys // 20 // (2 * sizes.cleanups))


def cleanup_entries(sizes: Sizes) -> str:
    """The names of each deletion."""
    return f"""
INSERT INTO backups_cleanupentry (stage_id, index, name)
SELECT s.id, i, 'staff:old' || s.request_id || ':' || lpad(i::text, 6, '0')
FROM backups_cleanupstage AS s, generate_series(0, {names_of_a_stage(sizes)} - 1) AS i"""


def cleanup_chunks() -> str:
    """One chunk for each deletion."""
    return """
INSERT INTO backups_cleanupchunk (stage_id, number, attempt, first_index, last_index, state, epoch, names,
    names_sha256, read_at, intended_at, sent_at, settled_at, gap_ms, answer)
SELECT id, 1, 1, 0, names - 1, 'settled', 1, names, repeat('a', 64), frozen_at, frozen_at, frozen_at, frozen_at, 90,
    '{}' FROM backups_cleanupstage"""


def prunes(sizes: Sizes) -> str:
    """Prune requests that were given up; those that were carried out have their entries in the audit log."""
    return f"""
INSERT INTO backups_prunerequest (environment_id, state, reason, generations, objects_total, objects_sha256,
    requested_by_id, created_at, deleted, kept, finished_at, ended_because)
SELECT 1 + p %% 2, 'ended', 'Old.', 3, 9, repeat('a', 64), %(reader)s, moment, 0, 0, moment, 'Given up.'
FROM (SELECT p, %(now)s::timestamptz - interval '1 hour' * p AS moment
    FROM generate_series(1, {sizes.cleanups}) AS p) AS numbered"""
