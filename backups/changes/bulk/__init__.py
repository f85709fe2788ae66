"""Bulk changes: many keys of one cache get an expiration, or a mark for regeneration, and nothing else changes.

`start` chooses the keys from the newest scan and backs up exactly these. The change is prepared when that backup is
verified. `requests` submits it, and another person approves. The evidence holds the names by their digest, the backup,
and the expiration or the mark (`evidence`). In production the change repeats an accepted one of an earlier environment,
of the same family and operation (`qa`).

`run` writes with the chunks of restores: a key that is gone, or differs from its entry in the backup, is listed and not
written. `entries` makes the entry to write: the bytes are those of the backup, and so is the metadata or the
expiration. The undo is a restore from the same backup.
"""
