"""The forms of presses that take several steps."""

from django.http import QueryDict

from backups.cleanup.forms import ShareForm
from backups.models import BackupShare, CleanupStage, Generation


class ShareAndSubmitForm(ShareForm):
    """The submit; also the place where the backup was shared, while none is recorded.

    The place that was recorded in the environment before stands there already, to be corrected.
    """

    def __init__(self, data: QueryDict | None = None, *, stage: CleanupStage) -> None:
        shares = BackupShare.objects.filter(generation__stages__request=stage.request_id, by__isnull=False)
        place = shares.order_by("-pk").values_list("place", flat=True).first() or ""
        super().__init__(data, initial={"place": place})
        backup = stage.generation
        self.asks = backup is not None and not BackupShare.objects.filter(generation=backup).exists()
        is_verified = backup is not None and backup.status == Generation.Status.VERIFIED
        self.fields["place"].required = self.asks and is_verified
