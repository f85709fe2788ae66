"""The policy in force, for evidence."""

from kvops.models import PolicyVersion


def newest() -> PolicyVersion:
    """The newest policy. Raises PolicyVersion.DoesNotExist on an installation without one."""
    return PolicyVersion.objects.latest("number")


def shown() -> dict[str, object]:
    """The version and the digest of the newest policy. Raises PolicyVersion.DoesNotExist."""
    found = newest()
    return {"version": found.number, "digest": found.digest}
