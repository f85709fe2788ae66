"""Retention: the time until which each backup is kept, and its deletion from the bucket.

`decide` is the one pure function that decides; the page, its simulator, the notices and the deletion ask it through
`inputs`. `holds` derives the needs of clean-ups, restores and runs; `pins` are people's. `notices` are jobs of
schedules.

An expired backup leaves on a prune request: `requests` collects at most 50 backups; an environment has one open
request. It is submitted with every object, the replacing backups and a reason (`evidence`). Another person approves,
`run` goes from backup to backup, and `erasure` deletes the objects of one.
"""
