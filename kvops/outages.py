"""The exceptions that Django raises while the database is away. All of them may pass, so work is tried again."""

from django.db import InterfaceError, InternalError, OperationalError

AWAY = (OperationalError, InterfaceError, InternalError)
"""InternalError: the server ended the connection, because this process was paused within a transaction."""
