"""The titles of subjects of the audit log in the reader's language; the tree of subjects asks by name."""

from collections.abc import Collection

from django.utils.formats import number_format
from django.utils.translation import gettext as _, ngettext

from backups.models import Check, PruneRequest, Restore
from kvops.names import visible
from kvops.wording import labelled


def of_checks(keys: Collection[int]) -> dict[int, str]:
    """The titles of these checks by key, in one query."""
    found = Check.objects.filter(pk__in=keys).select_related("namespace__environment")
    return {
        one.pk: labelled(_("Check %(pk)s") % {"pk": one.pk}, f"KV {one.namespace}" if one.namespace else one.source)
        for one in found
    }


def of_prunes(keys: Collection[int]) -> dict[int, str]:
    """The titles of these prune requests by key, in one query."""
    return {
        one.pk: ngettext("%(environment)s: %(n)s backup", "%(environment)s: %(n)s backups", one.generations)
        % {"environment": one.environment.name, "n": number_format(one.generations, force_grouping=True)}
        for one in PruneRequest.objects.filter(pk__in=keys).select_related("environment")
    }


def of_restores(keys: Collection[int]) -> dict[int, str]:
    """The titles of these restores by key, in one query."""
    found = Restore.objects.naming().filter(pk__in=keys).select_related("environment", "namespace")
    return {
        one.pk: _("%(environment)s %(binding)s: %(names)s from backup %(backup)s")
        % {
            "environment": one.environment.name,
            "binding": one.namespace.binding,
            "names": _names(one),
            "backup": one.generation_id,
        }
        for one in found
    }


def _names(restore: Restore) -> str:
    if only := getattr(restore, "only_name", None):  # set by `Restore.objects.naming()`
        return visible(only)
    return _("listed names") if restore.listed else visible(f"{restore.prefix}*")
