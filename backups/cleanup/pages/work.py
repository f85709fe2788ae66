"""The text to share the backup of a stage with."""

from django.conf import settings
from django.urls import reverse
from django.utils.translation import ngettext

from backups.models import CleanupStage
from kvops.wording import moment, spelled


def share_text(stage: CleanupStage) -> str:
    """A message to the team about the stage's verified backup, to paste; empty without a backup."""
    backup = stage.generation
    if backup is None or backup.finished_at is None:
        return ""
    return ngettext(
        "Backup %(pk)s for a deletion in %(name)s: %(n)s key under %(pattern)s of %(title)s, made %(time)s, verified. "
        "SHA-256 of its manifest: %(digest)s. %(link)s",
        "Backup %(pk)s for a deletion in %(name)s: %(n)s keys under %(pattern)s of %(title)s, made %(time)s, verified. "
        "SHA-256 of its manifest: %(digest)s. %(link)s",
        backup.keys,
    ) % {
        "pk": backup.pk,
        "name": stage.environment.name,
        "n": spelled(backup.keys),
        "pattern": stage.request.pattern,
        "title": stage.namespace.title,
        "time": moment(backup.finished_at),
        "digest": backup.manifest_sha256,
        "link": f"{settings.BASE_URL}{reverse('backups:generation', args=[backup.pk])}",
    }
