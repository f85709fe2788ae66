"""The work of `manage.py migrate` besides Django's own.

`history` refuses a database that the migration files do not continue, before anything is changed, and removes the
remains of an interrupted concurrent build. `locks` names the transaction that a migration waits for.
"""
