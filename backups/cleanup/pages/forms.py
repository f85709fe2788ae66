"""The forms of presses that take several steps."""

from django import forms
from django.http import QueryDict
from django.utils.translation import ngettext

from backups.cleanup.forms import ShareForm
from backups.models import BackupShare, CleanupStage, Generation
from kvops.wording import spelled


class ShareAndSubmitForm(ShareForm):
    """The submit; also the place where the backup was shared, while none is recorded.

    The place that was recorded in the environment before stands there already, to be corrected. Answers that production
    has from another environment are ticked, all with one tick.
    """

    ticked = forms.BooleanField(required=False)

    def __init__(self, data: QueryDict | None = None, *, stage: CleanupStage, from_elsewhere: int = 0) -> None:
        shares = BackupShare.objects.filter(generation__stages__request=stage.request_id, by__isnull=False)
        place = shares.order_by("-pk").values_list("place", flat=True).first() or ""
        super().__init__(data, initial={"place": place})
        backup = stage.generation
        self.asks = backup is not None and not BackupShare.objects.filter(generation=backup).exists()
        is_verified = backup is not None and backup.status == Generation.Status.VERIFIED
        self.fields["place"].required = self.asks and is_verified
        self.from_elsewhere, tick = from_elsewhere, self.fields["ticked"]
        tick.required = bool(from_elsewhere)
        label = ngettext(
            "The %(n)s answer carried over from another environment holds in %(name)s, too: I have checked it.",
            "The %(n)s answers carried over from another environment hold in %(name)s, too: I have checked them.",
            from_elsewhere,
        )
        tick.label = label % {"n": spelled(from_elsewhere), "name": stage.environment.name}
