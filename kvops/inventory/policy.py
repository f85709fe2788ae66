"""The digest of the policy in force, for evidence."""

from kvops.models import PolicyVersion


def newest() -> PolicyVersion:
    """The newest policy. Raises PolicyVersion.DoesNotExist on an estate without one."""
    return PolicyVersion.objects.latest("number")
