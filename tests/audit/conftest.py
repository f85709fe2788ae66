"""What the tests of the record share."""

from tests.audit.flush import flush_despite_triggers

__all__ = ["flush_despite_triggers"]
