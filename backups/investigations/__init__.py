"""Investigations: a cache is backed up for one question, until a date at most 30 days away (policy 3.3).

`requests` makes the backup at once, under `investigations/<environment>/`. R2 does not lock that prefix; a lifecycle
rule of the bucket deletes its objects within 30 days even while KVOps is down. Without such a rule no backup is made.
In the same transaction a reviewer is asked for a standing approval of exactly this backup's end.

Closing the investigation, or its end date, creates the run that deletes the backup under that approval (`run`). A job
checks every five minutes. If the approval has expired before the backup is gone, a new approval gets a run of its own.
Retention ignores these backups. They cannot be pinned, they prove nothing, and they cover no family.
"""
