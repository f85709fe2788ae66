"""Integrity checks: a backup, a dataset file or live KV against a table of D1.

`start` starts a check, `run` does its work. `backup_side` and the pages of D1 are staged as digests (`staging`) and
compared as sets. Values never reach Postgres, and the digests of fields are gone when the check is over. `overview`
tells the pages which backups agree with D1.

After a failed check, `values` reads both values of a difference for a person; `d1_rows` and `kept_values` find them.
`causes` works out the likely cause, and `loose` compares formats. `next_steps` has the advice, `cases` the person who
looks into it and the outcome, and `import_file` the SQL for D1.
"""
