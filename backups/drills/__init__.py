"""Restore drills: whether the newest backups can be restored is tried, not assumed.

`requests` asks for the standing approval and creates a drill. `run` writes backup after backup into the scratch
namespace of the environment and reads it back. It compares the entries with the digests taken when the backup was
made, and removes them again. A scratch namespace is a row of its own (`Scratch`), so no scan, backup, clean-up or
restore can reach it. A trigger refuses one that is also bound as a namespace.

A drill works under a standing approval (`kvops.approvals.standing`) of its rule: target, keys of a backup at most,
end. Before each run the rule is derived again. Before each call the rights of both people, the time and the emergency
stop are checked.
"""
