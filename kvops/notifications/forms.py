"""The filters of the notifications, as they stand in the address."""

from django import forms
from django.utils.translation import gettext_lazy as _

from kvops.models import Notification, NotificationEvent
from kvops.models.notifications import NotificationQuerySet
from kvops.web.fields import ChoiceFilter, EnvironmentFilter, PlaceField

UNDELIVERED = "undelivered"


class NotificationFilter(forms.Form):
    """The filters for notifications; every field may be empty."""

    state = ChoiceFilter(_("State"), _("All states"), (UNDELIVERED, _("all undelivered")), *Notification.State.choices)
    event = ChoiceFilter(_("Event"), _("All events"), *NotificationEvent.choices)
    environment = EnvironmentFilter()
    recipient = forms.CharField(label=_("Recipient"), required=False, max_length=200)
    subject = forms.CharField(required=False, max_length=100, widget=forms.HiddenInput)
    bundle = forms.CharField(required=False, max_length=100, widget=forms.HiddenInput)
    after = PlaceField()

    def notifications(self) -> NotificationQuerySet:
        """The notifications that match the filters, newest first. If a filter is invalid, no notifications."""
        if not self.is_valid():
            return Notification.objects.none()
        chosen = self.cleaned_data
        found = Notification.objects.newest_first()
        if chosen["state"] == UNDELIVERED:
            found = found.undelivered()
        elif chosen["state"]:
            found = found.filter(state=chosen["state"])
        if chosen["recipient"]:
            found = found.filter(person__email__icontains=chosen["recipient"])
        if chosen["after"]:
            found = found.filter(pk__lt=chosen["after"])
        same = {name: chosen[name] for name in ("event", "environment", "subject", "bundle") if chosen[name]}
        return found.filter(**same)
