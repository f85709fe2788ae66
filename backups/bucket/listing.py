"""From a listing of the bucket to the rows of its objects: COPY in, then set-based differences.

Unchanged rows are not written again, so the listing of a million unchanged objects only reads.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from django.db import connection
from django.db.models import Count

from audit import log
from backups.bucket.store import ObjectInfo, Upload
from backups.models import StagedObject, StoredObject, UnfinishedUpload
from kvops import clock
from kvops.models import Environment, Run
from kvops.refusals import Sentence as _

type _Params = Mapping[str, int | str | datetime | None]

# Backups in the current bucket of the environment: see Generation.is_here.
_HERE = """g.environment_id = %(environment)s AND g.bucket = %(bucket)s
     AND (g.endpoint = '' OR (g.endpoint, g.account_id) = (%(endpoint)s, %(account)s))"""

# A backup in writing: the parts that it committed are expected; the recovery steps and the manifest are written at its
# end. A backup that is being deleted: its objects are expected, but not missed. If its run is over, none of its objects
# is expected; the remaining ones are listed, and expected again if a person resumes the run.
_EXPECTED = f"""
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
   WHERE {_HERE}
     AND g.status <> 'deleted' AND (g.status <> 'writing' OR r.state IN ('queued', 'running')))
"""  # noqa: S608  (constants of this module)

# The stem of a backup is the common beginning of its objects' names: see backups.archive.names.
_STEM = r"^(.*/[0-9]{8}(?:T[0-9]{6}\.[0-9]{6}Z|-[0-9]{6})?)\."

# The listed objects, compared with the backups and, for a known object, with its row as it was put. A listing never
# sets the ETag that an object was written with: another object may have its name.
_FOUND = f"""
WITH {_EXPECTED},
found AS (
  SELECT s.key, s.size, s.etag, s.modified_at, coalesce(e.generation, g.id) AS generation_id,
         CASE WHEN e.size <> s.size THEN 'changed'
              WHEN e.key IS NOT NULL OR (g.status = 'writing' AND r.state IN ('queued', 'running'))
                   OR g.deleted_at > %(begun)s THEN 'known'
              ELSE 'unknown' END AS status,
         coalesce(e.size, s.size) AS written_size
    FROM backups_stagedobject s
    LEFT JOIN expected e ON e.key = s.key
    LEFT JOIN backups_generation g ON e.key IS NULL AND {_HERE} AND g.stem = substring(s.key FROM %(stem)s)
    LEFT JOIN kvops_run r ON r.id = g.run_id
   WHERE s.run_id = %(run)s)
"""  # noqa: S608  (constants of this module)

_SEEN = f"""{_FOUND},
judged AS (
  SELECT o.id, f.key, f.size, f.etag, f.modified_at, f.generation_id,
         CASE WHEN f.status = 'known' AND o.written_etag <> ''
                   AND (o.written_size, o.written_etag) IS DISTINCT FROM (f.size, f.etag)
              THEN 'changed' ELSE f.status END AS status,
         CASE WHEN o.written_etag <> '' THEN o.written_size ELSE f.written_size END AS written_size
    FROM found f JOIN backups_storedobject o ON o.environment_id = %(environment)s AND o.key = f.key)
UPDATE backups_storedobject o SET
  size = j.size, etag = j.etag, modified_at = j.modified_at, generation_id = j.generation_id,
  seen_at = %(now)s::timestamptz,
  status = j.status, status_at = CASE WHEN o.status = j.status THEN o.status_at ELSE %(now)s::timestamptz END,
  written_size = j.written_size,
  note = CASE WHEN (o.status, o.etag) = (j.status, j.etag) THEN o.note ELSE '' END,
  noted_by_id = CASE WHEN (o.status, o.etag) = (j.status, j.etag) THEN o.noted_by_id END,
  noted_at = CASE WHEN (o.status, o.etag) = (j.status, j.etag) THEN o.noted_at END
  FROM judged j
 WHERE o.id = j.id
   AND (o.size, o.etag, o.modified_at, o.generation_id, o.status, o.written_size)
       IS DISTINCT FROM (j.size, j.etag, j.modified_at, j.generation_id, j.status, j.written_size)
"""  # noqa: S608

_NEW = f"""{_FOUND}
INSERT INTO backups_storedobject (environment_id, key, size, etag, modified_at, seen_at, generation_id, status,
                                  status_at, written_size, written_etag, note)
SELECT %(environment)s, key, size, etag, modified_at, %(now)s::timestamptz, generation_id, status,
       %(now)s::timestamptz, written_size, '', ''
  FROM found f
 WHERE NOT EXISTS (SELECT FROM backups_storedobject o WHERE o.environment_id = %(environment)s AND o.key = f.key)
"""  # noqa: S608

_NOT_SEEN = f"""
WITH {_EXPECTED}
INSERT INTO backups_storedobject AS known (environment_id, key, size, etag, generation_id, status, status_at,
                                           written_size, written_etag, note)
SELECT %(environment)s, e.key, e.size, '', e.generation, 'missing', %(now)s::timestamptz, e.size, '', ''
  FROM expected e
 WHERE e.finished_at < %(begun)s
   AND NOT EXISTS (SELECT FROM backups_stagedobject s WHERE s.run_id = %(run)s AND s.key = e.key)
ON CONFLICT (environment_id, key) DO UPDATE SET
  generation_id = EXCLUDED.generation_id, status = 'missing', status_at = %(now)s::timestamptz,
  seen_at = greatest(known.seen_at, CASE WHEN known.seen_at IS NOT NULL THEN %(before)s::timestamptz END),
  note = '', noted_by_id = NULL, noted_at = NULL
  WHERE known.status <> 'missing'
"""  # noqa: S608

# Objects that belong to no backup (any more) and are not listed any more: they were deleted outside KVOps. A person's
# note on them stays. Rows that were written during the listing stay unchanged, and the objects of a backup elsewhere.
_GONE = f"""
WITH {_EXPECTED}
UPDATE backups_storedobject o SET
  status = 'gone', status_at = %(now)s::timestamptz, seen_at = greatest(o.seen_at, %(before)s::timestamptz)
 WHERE o.environment_id = %(environment)s AND o.status <> 'gone' AND o.seen_at < %(begun)s
   AND NOT EXISTS (SELECT FROM backups_stagedobject s WHERE s.run_id = %(run)s AND s.key = o.key)
   AND NOT EXISTS (SELECT FROM expected e WHERE e.key = o.key)
   AND NOT EXISTS (SELECT FROM backups_generation g
                    WHERE g.id = o.generation_id AND g.status <> 'deleted' AND NOT ({_HERE}))
"""  # noqa: S608

# Objects that were never listed and are not expected any more, and the objects of a backup that KVOps deleted.
_FORGOTTEN = f"""
WITH {_EXPECTED}
DELETE FROM backups_storedobject o
 WHERE o.environment_id = %(environment)s AND (o.seen_at IS NULL OR o.seen_at < %(begun)s)
   AND (o.seen_at IS NULL OR o.status IN ('known', 'missing') AND EXISTS (
          SELECT FROM backups_generation g WHERE g.id = o.generation_id AND g.status = 'deleted'))
   AND NOT EXISTS (SELECT FROM backups_stagedobject s WHERE s.run_id = %(run)s AND s.key = o.key)
   AND NOT EXISTS (SELECT FROM expected e WHERE e.key = o.key)
"""  # noqa: S608


class ListingMismatch(Exception):
    """The stage and the listing differ, so the listing proves nothing."""


def stage_objects(run: Run, objects: Sequence[ObjectInfo]) -> None:
    """Add listed objects to the stage, within the caller's transaction."""
    columns = "run_id, key, size, etag, modified_at"
    with connection.cursor() as cursor, cursor.copy(f"COPY backups_stagedobject ({columns}) FROM STDIN") as rows_in:
        for found in objects:
            rows_in.write_row((run.pk, found.key, found.size, found.etag, found.last_modified))


def clear_objects(environment: int) -> None:
    """Empty the stage of an environment; an environment has one listing in progress at a time."""
    StagedObject.objects.filter(run__environment=environment).delete()


def analyze() -> None:
    """Update the planner's statistics of the stage."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT backups_analyze_stage()")


def settle(run: Run, *, bucket: str, staged: int, before: datetime | None) -> dict[str, int]:
    """Update the rows of an environment's objects from the stage, within the caller's transaction.

    `before` is the beginning of the previous listing: an object that is absent now was listed then. Returns the number
    of objects by status. Raises ListingMismatch.
    """
    log.insist()
    if run.environment is None:
        raise ListingMismatch(_("Run %(run)s has no environment.", run=run.pk))
    environment, place = run.environment.pk, run.environment
    params: _Params = {
        "run": run.pk,
        "environment": environment,
        "bucket": bucket,
        "endpoint": place.r2_endpoint,
        "account": place.account_id,
        "begun": run.created_at,
        "stem": _STEM,
        "before": before,
        "now": clock.now(),
    }
    found = StagedObject.objects.filter(run=run).count()
    if found != staged:
        raise ListingMismatch(
            _("Objects that were listed: %(staged)s, on the stage: %(found)s.", staged=staged, found=found)
        )
    with connection.cursor() as cursor:
        for statement in (_SEEN, _NEW, _NOT_SEEN, _FORGOTTEN, _GONE):
            cursor.execute(statement, params)
    clear_objects(environment)
    rows = StoredObject.objects.filter(environment=environment).values_list("status").annotate(Count("pk"))
    return dict.fromkeys(StoredObject.Status.values, 0) | dict(rows)


def keep_uploads(environment: Environment, uploads: Collection[Upload]) -> None:
    """Replace the rows of unfinished uploads by the store's answer, within the caller's transaction."""
    UnfinishedUpload.objects.filter(environment=environment).delete()
    UnfinishedUpload.objects.bulk_create(
        UnfinishedUpload(environment=environment, key=one.key, upload_id=one.upload_id, begun_at=one.begun_at)
        for one in uploads
    )


def found_since(run: Run, moment: datetime, limit: int) -> list[StoredObject]:
    """The first objects with a wrong status since that moment, in the order of their names."""
    mine = StoredObject.objects.needing_a_look().filter(environment=run.environment, status_at__gte=moment)
    return list(mine.order_by("key")[:limit])


def roots(environment: int, bucket: str) -> Collection[str]:
    """The prefixes of an environment's backups in this bucket, for all its key templates."""
    with connection.cursor() as cursor:
        cursor.execute(
            r"SELECT DISTINCT regexp_replace(stem, '(/kv/[^/]+|/masters)/[^/]+$', '/') FROM backups_generation"
            " WHERE environment_id = %s AND bucket = %s",
            [environment, bucket],
        )
        return [root for (root,) in cursor.fetchall()]


def settled(environment: int, bucket: str, *, keep: int) -> dict[str, str]:
    """By folder of backups, the stem at which a listing may begin, because all earlier backups are long known.

    Names grow with time, but a change of time zone can set a date back by one day. So the `keep` newest backups that
    were finished more than two days ago are listed again, and all younger ones.
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
