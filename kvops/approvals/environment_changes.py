"""The stored lines of a change of environments, in the reader's language.

`environments.toml.differences` and the look at the namespaces write a line for each change: things, fields and values
in a fixed order. The lines are part of the evidence, so they stay as they are; this module shows them.
"""

import re

from django.utils.functional import Promise
from django.utils.translation import gettext as _, gettext_lazy

_WHOLE = re.compile(r"(?P<thing>\S+(?: \(D1\))?): (?P<how>added|removed) \((?P<fields>.*)\)")
_FIELD = re.compile(r"(?P<thing>\S+(?: \(D1\))?): (?P<field>[a-z0-9_]+) (?P<old>.*) → (?P<new>.*)")
_NAMESPACE = re.compile(r"(?P<thing>\S+) is the namespace “(?P<title>.*)” \((?P<id>[^()]*)\)")
_LABELS: dict[str, str | Promise] = {
    "name": gettext_lazy("Name"),
    "order": gettext_lazy("Order"),
    "production": gettext_lazy("Production"),
    "plan": gettext_lazy("Plan"),
    "account_id": gettext_lazy("Account"),
    "read_token": gettext_lazy("Read token"),
    "write_token": gettext_lazy("Write token"),
    "api_base_url": gettext_lazy("Address of the API"),
    "r2_endpoint": gettext_lazy("R2 endpoint"),
    "r2_bucket": gettext_lazy("Bucket"),
    "r2_access_key_id": gettext_lazy("R2 access key"),
    "r2_secret_access_key": gettext_lazy("R2 secret"),
    "key_template": gettext_lazy("Prefix in the bucket"),
    "slack": gettext_lazy("Slack channel"),
    "language": gettext_lazy("Language"),
    "hours": gettext_lazy("Allowed hours"),
    "days": gettext_lazy("Allowed days"),
    "vault": gettext_lazy("Vault"),
    "budget": gettext_lazy("Request budget"),
    "requests": gettext_lazy("Requests in 5 minutes"),
    "namespace": gettext_lazy("Namespace"),
    "unpaired": gettext_lazy("Reason without a pair"),
    "scratch": gettext_lazy("Scratch namespace"),
    "database": gettext_lazy("Database"),
}


def change_in_words(line: str) -> str:
    """The line in the reader's language; unchanged if it has another form."""
    if found := _WHOLE.fullmatch(line):
        fields = ", ".join(map(_labelled, found["fields"].split(", ")))
        if found["how"] == "added":
            return _("%(thing)s: added (%(fields)s)") % {"thing": found["thing"], "fields": fields}
        return _("%(thing)s: removed (%(fields)s)") % {"thing": found["thing"], "fields": fields}
    if found := _FIELD.fullmatch(line):
        label = _LABELS.get(found["field"], found["field"])
        return f"{found['thing']}: {label} {_value(found['old'])} → {_value(found['new'])}"
    if found := _NAMESPACE.fullmatch(line):
        return _("%(thing)s is the namespace “%(title)s” (%(id)s)") % found.groupdict()
    return line


def _labelled(part: str) -> str:
    """A field and its value. A part of a value that holds a comma has no label and stays as it is."""
    field, _space, value = part.partition(" ")
    return f"{_LABELS[field]} {_value(value)}" if field in _LABELS else part


def _value(text: str) -> str:
    return {"nothing": _("nothing"), "yes": _("yes"), "no": _("no")}.get(text, text)
