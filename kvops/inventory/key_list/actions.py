"""The pages on which all matching keys, or the ticked ones, become a clean-up, a backup or a change of expirations.

Each of these takes the beginning of names. If the filters say anything else, the page says the reason instead.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import TextChoices
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.http import urlencode
from django.utils.translation import gettext_lazy as _

from kvops.inventory import families as key_families
from kvops.inventory.forms import KeyFilter
from kvops.models import Category, Namespace
from kvops.names import typeable
from kvops.refusals import Refused
from kvops.wording import say

MOST_PREFIXES = 20
"""Prefixes. The form of a new backup takes this many."""


class TickedRefused(Refused):
    """The ticked keys do not fit the chosen page; the message gives the reason."""


class KeyAction(TextChoices):
    """What becomes of chosen keys."""

    CLEANUP = "cleanup", _("Request a clean-up")
    BACKUP = "backup", _("Back up this prefix")
    EXPIRATION = "expiration", _("Set an expiration")


@dataclass(frozen=True)
class ListOffer:
    """A page that takes all matching keys, or the reason why it does not."""

    action: KeyAction
    icon: str
    url: str = ""
    why_not: str | Promise = ""


def for_matches(form: KeyFilter) -> list[ListOffer]:
    """What can be done with all keys that match the filters, through a page that takes exactly these."""
    why = _why_no_prefix(form)
    return [_cleanup(form, why), _backup(form, why), _expiration(form)]


def _why_no_prefix(form: KeyFilter) -> str | Promise:
    if not form.is_valid():
        return _("Correct the marked filter first.")
    if not form.scope:
        return _("It takes a prefix or a family: choose one on this page.")
    if form.cleaned_data["part"]:
        return _("It takes the beginning of names, not a part of them: leave out “Name contains”.")
    if form.cleaned_data["expiring"]:
        return _("It takes all keys of a prefix: leave out the filter “Expiration”.")
    family, category = form.chosen_family, form.cleaned_data["category"]
    owner = form.owner
    if (family and family != owner) or (category and (owner is None or category != owner.category)):
        return _("Other families have keys under this prefix: leave out the family or the category.")
    return ""


def _cleanup(form: KeyFilter, why: str | Promise) -> ListOffer:
    offer = KeyAction.CLEANUP, "eraser"
    if why:
        return ListOffer(*offer, why_not=why)
    if form.owner is None or Category(form.owner.category).sensitive:
        return ListOffer(*offer, why_not=_("Settings are deleted one key at a time, and unclassified keys never."))
    return ListOffer(*offer, url=_cleanup_url(form.namespace, form.scope))


def _backup(form: KeyFilter, why: str | Promise) -> ListOffer:
    if why:
        return ListOffer(KeyAction.BACKUP, "archive", why_not=why)
    return ListOffer(KeyAction.BACKUP, "archive", url=_backup_url(form.namespace, [form.scope]))


def _expiration(form: KeyFilter) -> ListOffer:
    scope = form.changeable_scope
    if scope is None:
        why = _("It is for the keys of one cache: choose a prefix or a family of a cache, and no part of a name.")
        return ListOffer(KeyAction.EXPIRATION, "timer", why_not=why)
    return ListOffer(KeyAction.EXPIRATION, "timer", url=_expiration_url(form.namespace, form.scope, scope))


def ticked_limits() -> list[str | Promise]:
    """The limits of each page that takes ticked keys, to be said before the click. `for_ticked` refuses the rest."""
    return [
        _("A clean-up takes one key, or all keys of a prefix of a cache or of legacy master data."),
        say(_("A backup takes all keys of a prefix, or at most %(most)s keys."), most=MOST_PREFIXES),
        _("An expiration is set for all keys of a prefix of one cache."),
    ]


def for_ticked(namespace: Namespace, action: KeyAction, names: Sequence[str]) -> str:
    """The address of the page that takes exactly the ticked keys. Raises TickedRefused."""
    if not names:
        raise TickedRefused(_("Tick at least one key."))
    prefix = _prefix_of(namespace, names)
    if action == KeyAction.BACKUP:
        if prefix is None and len(names) > MOST_PREFIXES:
            raise TickedRefused(say(_("A backup takes at most %(most)s names at once."), most=MOST_PREFIXES))
        return _backup_url(namespace, names if prefix is None else [prefix])
    if action == KeyAction.CLEANUP and len(names) == 1:
        return _cleanup_url(namespace, names[0], exact="1")
    if prefix is None:
        raise TickedRefused(
            _(
                "This takes all keys of a prefix or exactly one key, and other keys begin like the ticked ones. "
                "Filter by a prefix that only these keys have."
            )
        )
    owner = key_families.family_of(namespace.binding, prefix)
    if action == KeyAction.CLEANUP:
        if owner is None or Category(owner.category).sensitive:
            raise TickedRefused(_("Settings are deleted one key at a time, and unclassified keys never."))
        return _cleanup_url(namespace, prefix)
    if owner is None or owner.category != Category.CACHE:
        raise TickedRefused(_("Expirations are set for the keys of one cache."))
    return _expiration_url(namespace, prefix, "")


def _prefix_of(namespace: Namespace, names: Sequence[str]) -> str | None:
    """The longest beginning that the names share, if no other key has it; None otherwise."""
    first, last = min(names), max(names)
    length = next((at for at, (one, two) in enumerate(zip(first, last, strict=False)) if one != two), len(first))
    prefix = first[:length]
    same = prefix and namespace.key_set.under(prefix)[: len(names) + 1].count() == len(names)
    return prefix if same else None


def _cleanup_url(namespace: Namespace, prefix: str, **more: str) -> str:
    return f"{reverse('backups:cleanup_new')}?{urlencode({'binding': namespace.binding, 'prefix': prefix, **more})}"


def _backup_url(namespace: Namespace, prefixes: Sequence[str]) -> str:
    wanted = {"env": namespace.environment.slug, "binding": namespace.binding, "prefix": prefixes}
    return f"{reverse('backups:backup_new')}?{urlencode(wanted, doseq=True)}"


def _expiration_url(namespace: Namespace, prefix: str, scope: str) -> str:
    page = reverse("backups:bulk_new", args=[namespace.environment.slug, namespace.binding])
    return f"{page}?{urlencode({'prefix': typeable(prefix), 'scope': scope, 'operation': 'expiration'})}"
