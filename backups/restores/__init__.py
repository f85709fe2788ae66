"""Keys of a verified backup are restored into KV. Only this package and `changes` write values into an environment.

`selection` fixes the names as rows, `preview` compares each with KV, `requests` submits the restore, and another
person approves. `run` then writes chunk by chunk (`chunks`, `write`) and `verification` reads everything back after
the settle time.

Existing keys that differ are left as they are (`skip`), stop the restore before its first write (`stop`), or are
overwritten. A resumed `stop` compares every key again. Before anything is overwritten, `safety_backup` makes and
verifies a backup of exactly these keys. `cross_environment` limits restores of production's keys elsewhere. `undo`
restores the keys of one deletion under that deletion's own approval.
"""
