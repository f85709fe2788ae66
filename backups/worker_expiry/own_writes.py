"""The keys that expired because a Worker gave them an expiration, as SQL for the inventory (named by strings).

A key counts from the earliest time at which its expiration can have passed: the beginning of its round and the
expiration. A key that the Worker may have written counts, too.
"""

_EXPIRED = """
SELECT k.name, k.expires_at AS at
  FROM backups_workerkey k
  JOIN backups_workerreport p ON p.id = k.report_id
  JOIN backups_workerround w ON w.id = p.round_id
  JOIN backups_workerrule u ON u.id = w.rule_id
 WHERE u.namespace_id = %(namespace)s AND k.expires_at >= %(since)s
   AND k.expires_at - (p.received_at - w.started_at) <= clock_timestamp()"""


def expired_by_worker() -> str:
    """SQL: each name of the namespace whose expiration by a Worker has passed, with the latest time of that."""
    return _EXPIRED
