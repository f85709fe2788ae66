"""The policy in force: the newest version of the categories and key families."""

from kvops.models import PolicyVersion


def newest() -> PolicyVersion:
    """The newest policy. Raises PolicyVersion.DoesNotExist on an estate without one."""
    return PolicyVersion.objects.latest("number")
