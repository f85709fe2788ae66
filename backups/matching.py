"""From a listing of the bucket to what is known of its objects: COPY in, then one set-based difference."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from django.db import connection
from django.db.models import Count

from audit import log
from backups.models import StagedObject, StoredObject
from backups.r2 import ObjectInfo
from kvops.models import Run

type _Params = Mapping[str, int | str | datetime]

# Of a copy in writing the parts are expected that it committed; the recovery steps and the manifest come with its end.
# Of a copy that is being deleted some may be gone: they are expected, but not missed.
# When its run is over, nothing of it is: what it left is listed, and expected again once somebody lets the run go on.
_EXPECTED = """
expected AS (
  SELECT g.id AS generation, CASE WHEN g.status <> 'deleting' THEN g.finished_at END AS finished_at, o.key, o.size
    FROM backups_generation g
    JOIN kvops_run r ON r.id = g.run_id
   CROSS JOIN LATERAL (
     SELECT part->>'key' AS key, (part->>'size')::bigint AS size
       FROM backups_generationpart p, jsonb_array_elements(p.stored) part WHERE p.generation_id = g.id
      UNION ALL
     SELECT part->>'digests_key', NULL
       FROM backups_generationpart p, jsonb_array_elements(p.stored) part WHERE p.generation_id = g.id
      UNION ALL
     SELECT unnest(ARRAY[g.stem || '.RESTORE.md', g.manifest_key]), NULL WHERE g.manifest_key <> '') o
   WHERE g.environment_id = %(environment)s AND g.bucket = %(bucket)s
     AND g.status <> 'deleted' AND (g.status <> 'writing' OR r.state IN ('queued', 'running')))
"""

# The stem of a copy is what its objects' names begin with: see backups.manifest.layout.
_STEM = r"^(.*/[0-9]{8}(?:T[0-9]{6}\.[0-9]{6}Z|-[0-9]{6})?)\."

_SEEN = f"""
WITH {_EXPECTED}
INSERT INTO backups_storedobject AS known
       (environment_id, key, size, etag, seen_at, generation_id, status, written_size, written_etag)
SELECT %(environment)s, s.key, s.size, s.etag, now(), coalesce(e.generation, g.id),
       CASE WHEN e.size <> s.size THEN 'changed'
            WHEN e.key IS NOT NULL OR (g.status = 'writing' AND r.state IN ('queued', 'running'))
                 OR g.deleted_at > %(begun)s THEN 'known'
            ELSE 'unknown' END,
       coalesce(e.size, s.size), CASE WHEN e.key IS NULL THEN '' ELSE s.etag END
  FROM backups_stagedobject s
  LEFT JOIN expected e ON e.key = s.key
  LEFT JOIN backups_generation g ON e.key IS NULL AND g.environment_id = %(environment)s
        AND g.bucket = %(bucket)s AND g.stem = substring(s.key FROM %(stem)s)
  LEFT JOIN kvops_run r ON r.id = g.run_id
 WHERE s.run_id = %(run)s
ON CONFLICT (environment_id, key) DO UPDATE SET
  size = EXCLUDED.size, etag = EXCLUDED.etag, seen_at = EXCLUDED.seen_at, generation_id = EXCLUDED.generation_id,
  status = CASE WHEN EXCLUDED.status = 'known' AND known.written_etag <> ''
                     AND (known.written_size, known.written_etag) IS DISTINCT FROM (EXCLUDED.size, EXCLUDED.etag)
                THEN 'changed' ELSE EXCLUDED.status END,
  written_size = CASE WHEN known.written_etag <> '' THEN known.written_size ELSE EXCLUDED.written_size END,
  written_etag = CASE WHEN known.written_etag <> '' THEN known.written_etag ELSE EXCLUDED.written_etag END
"""  # noqa: S608  (constants of this module)

_NOT_SEEN = f"""
WITH {_EXPECTED}
INSERT INTO backups_storedobject (environment_id, key, size, etag, generation_id, status, written_size, written_etag)
SELECT %(environment)s, e.key, e.size, '', e.generation, 'missing', e.size, ''
  FROM expected e
 WHERE e.finished_at < %(begun)s
   AND NOT EXISTS (SELECT FROM backups_stagedobject s WHERE s.run_id = %(run)s AND s.key = e.key)
ON CONFLICT (environment_id, key) DO UPDATE SET generation_id = EXCLUDED.generation_id, status = 'missing'
"""  # noqa: S608

# What belonged to no copy and is not there any more; a row that was written during the listing stays.
_GONE = f"""
WITH {_EXPECTED}
DELETE FROM backups_storedobject o
 WHERE o.environment_id = %(environment)s AND (o.seen_at IS NULL OR o.seen_at < %(begun)s)
   AND NOT EXISTS (SELECT FROM backups_stagedobject s WHERE s.run_id = %(run)s AND s.key = o.key)
   AND NOT EXISTS (SELECT FROM expected e WHERE e.key = o.key)
"""  # noqa: S608


class StageMismatch(Exception):
    """The stage does not hold what was listed, so nothing may be concluded from it."""


def stage(run: Run, objects: Sequence[ObjectInfo]) -> None:
    """Add listed objects to the stage, within the caller's transaction."""
    columns = "run_id, key, size, etag"
    with connection.cursor() as cursor, cursor.copy(f"COPY backups_stagedobject ({columns}) FROM STDIN") as copy:
        for found in objects:
            copy.write_row((run.pk, found.key, found.size, found.etag))


def clear(environment: int) -> None:
    """Empty the stage of an environment: one listing of it is under way at a time."""
    StagedObject.objects.filter(run__environment=environment).delete()


def analyze() -> None:
    """Let the planner know what the stage holds."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT backups_analyze_stage()")


def settle(run: Run, *, bucket: str, staged: int) -> dict[str, int]:
    """Make what is known of an environment's objects what the stage says, within the caller's transaction.

    Returns how many objects have each status. Raises StageMismatch.
    """
    log.insist()
    if run.environment is None:
        raise StageMismatch(f"Run {run.pk} has no environment.")
    environment = run.environment.pk
    params: _Params = {
        "run": run.pk,
        "environment": environment,
        "bucket": bucket,
        "begun": run.created_at,
        "stem": _STEM,
    }
    found = StagedObject.objects.filter(run=run).count()
    if found != staged:
        raise StageMismatch(f"{staged} objects were listed, but {found} are on the stage.")
    with connection.cursor() as cursor:
        for statement in (_SEEN, _NOT_SEEN, _GONE):
            cursor.execute(statement, params)
    clear(environment)
    rows = StoredObject.objects.filter(environment=environment).values_list("status").annotate(Count("pk"))
    return dict.fromkeys(StoredObject.Status.values, 0) | dict(rows)


def roots(environment: int, bucket: str) -> Collection[str]:
    """The prefixes under which the copies of an environment lie in this bucket, under whichever key template."""
    with connection.cursor() as cursor:
        cursor.execute(
            r"SELECT DISTINCT regexp_replace(stem, '(/kv/[^/]+|/masters)/[^/]+$', '/') FROM backups_generation"
            " WHERE environment_id = %s AND bucket = %s",
            [environment, bucket],
        )
        return [root for (root,) in cursor.fetchall()]


def settled(environment: int, bucket: str, *, keep: int) -> dict[str, str]:
    """For each folder of copies the stem from which on it must be listed: what comes before has long been known.

    Names grow with time, but a change of time zone can set a date back by one: the `keep` newest copies that were
    finished more than two days ago, and all younger ones, come after it.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            r"""
            SELECT folder, min(stem) FROM (
              SELECT regexp_replace(stem, '[^/]+$', '') AS folder, stem COLLATE "C" AS stem,
                     row_number() OVER (
                       PARTITION BY regexp_replace(stem, '[^/]+$', '') ORDER BY stem COLLATE "C" DESC) AS place
                FROM backups_generation
               WHERE environment_id = %s AND bucket = %s AND finished_at < now() - interval '2 days') known
             WHERE place <= %s GROUP BY folder
            """,
            [environment, bucket, keep],
        )
        return dict(cursor.fetchall())
