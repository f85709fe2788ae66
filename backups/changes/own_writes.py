"""The keys that changes wrote, as SQL for the inventory, which must not know changes (named by a string)."""

_CHANGED = """
SELECT c.name, c.intended_at AS at FROM backups_keychange c
 WHERE c.namespace_id = %(namespace)s AND c.attempt > 0 AND c.intended_at >= %(since)s"""


def changed_by_us() -> str:
    """SQL: each name of the namespace that a change wrote or may have written since then, with the time."""
    return _CHANGED
