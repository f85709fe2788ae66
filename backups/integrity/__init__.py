"""Integrity checks: a backup, a dataset file or live KV against a table of D1.

`start` starts a check, `run` does its work. `backup_side` and the pages of D1 are staged as digests (`staging`) and
compared as sets. Values never reach Postgres, and the digests of fields are gone when the check is over. `overview`
tells the pages which backups agree with D1.
"""
