"""The title of a request in the reader's language, for pages and messages. The stored title stays in English."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from django.utils.formats import number_format
from django.utils.functional import lazy
from django.utils.translation import gettext as _, ngettext

from kvops.approvals.environment_changes import change_in_words
from kvops.models import ApprovalRequest, Category, Role
from kvops.names import visible

Kind = ApprovalRequest.Kind
OF_KEYS = frozenset({Kind.DELETE_KEYS, Kind.RESTORE, Kind.PUT_KEY, Kind.CLEARING, Kind.BULK_CHANGE})
"""Kinds whose title counts keys."""


def title_of(asked: ApprovalRequest) -> str:
    """The subject of a request, in the reader's language. For a change of environments, its first change."""
    if asked.kind == Kind.ENVIRONMENT:
        return change_in_words(asked.title)
    try:
        return _worded(asked, json.loads(asked.evidence))
    except (KeyError, TypeError):
        # Requests are kept for ever, evidence may change: an old request must not break a page.
        return asked.title


def of_requests(keys: Collection[int]) -> dict[int, str]:
    """The titles of these requests by key, in one query."""
    found = ApprovalRequest.objects.filter(pk__in=keys).select_related("environment")
    return {one.pk: title_of(one) for one in found}


title_when_read = lazy(title_of, str)
"""As `title_of`, but worded when it is read, so that each recipient of a message has it in their language."""


def _worded(asked: ApprovalRequest, shown: Mapping[str, Any]) -> str:
    environment = asked.environment.name if asked.environment else ""
    if asked.kind == Kind.RELEASE_STOP:
        return _("Release the emergency stop of %(environment)s") % {"environment": environment}
    if asked.kind == Kind.DELETE_GENERATIONS:
        text = ngettext(
            "Prune %(n)s expired backup of %(environment)s",
            "Prune %(n)s expired backups of %(environment)s",
            shown["generations"]["count"],
        )
        return text % {"n": _number(shown["generations"]["count"]), "environment": environment}
    if asked.kind == Kind.DRILL:
        text = _("Restore drills in %(environment)s %(namespace)s")
        return text % {"environment": environment, "namespace": shown["namespace_title"]}
    if asked.kind == Kind.INVESTIGATION:
        text = _("Prune the backup of investigation “%(title)s” in %(environment)s")
        return text % {"environment": environment, "title": shown["title"]}
    if asked.kind in OF_KEYS:
        return _of_keys(asked, shown, environment)
    return _of_definition(asked, shown)


def _of_definition(asked: ApprovalRequest, shown: Mapping[str, Any]) -> str:
    if asked.kind == Kind.ROLE:
        return _of_roles(shown)
    return _of_family(shown["family"]) if asked.kind == Kind.FAMILY else _of_policy(shown["difference"]["count"])


def _of_keys(asked: ApprovalRequest, shown: Mapping[str, Any], environment: str) -> str:
    if asked.kind == Kind.PUT_KEY:
        return _of_key(shown, environment)
    if asked.kind == Kind.CLEARING:
        text = _("Clear %(pattern)s in %(environment)s %(namespace)s by a schedule")
        pattern = f"{visible(shown['prefix'])}*"
        return text % {"pattern": pattern, "environment": environment, "namespace": shown["namespace_title"]}
    number = shown["names"]["count"]
    one = visible(shown["names"]["first"]) if number == 1 else ""
    text = ngettext(
        "Delete %(n)s key %(pattern)s from %(environment)s %(namespace)s",
        "Delete %(n)s keys %(pattern)s from %(environment)s %(namespace)s",
        number,
    )
    if asked.kind == Kind.RESTORE:
        text = ngettext(
            "Restore %(n)s key of backup %(backup)s into %(environment)s %(namespace)s",
            "Restore %(n)s keys of backup %(backup)s into %(environment)s %(namespace)s",
            number,
        )
        text = _("Restore key %(pattern)s of backup %(backup)s into %(environment)s %(namespace)s") if one else text
    if asked.kind == Kind.BULK_CHANGE:
        text = _bulk_change(shown["operation"], number)
    return text % {
        "n": _number(number),
        "pattern": one or visible(shown["prefix"]) + ("" if shown.get("exact") else "*"),
        "backup": shown["generation"]["id"],
        "environment": environment,
        "namespace": shown["namespace_title"],
    }


def _bulk_change(operation: str, number: int) -> str:
    if operation == "mark":
        return ngettext(
            "Mark %(n)s key %(pattern)s in %(environment)s %(namespace)s for regeneration",
            "Mark %(n)s keys %(pattern)s in %(environment)s %(namespace)s for regeneration",
            number,
        )
    return ngettext(
        "Set the expiration of %(n)s key %(pattern)s in %(environment)s %(namespace)s",
        "Set the expiration of %(n)s keys %(pattern)s in %(environment)s %(namespace)s",
        number,
    )


def _of_family(family: Mapping[str, Any]) -> str:
    return _("Register the key family %(family)s as %(category)s") % {
        "family": visible(f"{family['binding']} {family['pattern']}") + ("" if family["exact"] else "*"),
        "category": Category(family["category"]).label,
    }


def _of_key(shown: Mapping[str, Any], environment: str) -> str:
    text = _("Change key %(key)s in %(environment)s %(namespace)s")
    if shown["new_key"]:
        text = _("Create key %(key)s in %(environment)s %(namespace)s")
    facts = {"key": visible(shown["prefix"]), "environment": environment, "namespace": shown["namespace_title"]}
    return text % facts


def _of_roles(shown: Mapping[str, Any]) -> str:
    texts = {
        "grant": _("Grant %(person)s the role %(roles)s"),
        "revoke": _("Revoke the role %(roles)s of %(person)s"),
        "invite": _("Invite %(person)s as %(roles)s"),
        "deactivate": _("Deactivate %(person)s"),
    }
    roles = ", ".join(str(Role(role).label) for role in shown["roles"])
    return texts[shown["action"]] % {"person": visible(shown["person"]["name"]), "roles": roles}


def _of_policy(rules: int) -> str:
    text = ngettext(
        "Change the policy: %(n)s family or dataset", "Change the policy: %(n)s families and datasets", rules
    )
    return text % {"n": _number(rules)}


def _number(value: int) -> str:
    return number_format(value, force_grouping=True)
