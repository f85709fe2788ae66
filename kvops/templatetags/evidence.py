"""The evidence of a request as a few lines, and what only a machine compares in it. `{% load evidence %}`."""

from django import template
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy

from kvops.approvals.lines import EvidenceLine, Shown, environment_name, part
from kvops.models import ApprovalRequest
from kvops.operations.registry import REQUESTS

register = template.Library()
register.filter("environment_name", environment_name)


@register.simple_tag
def lines_of(asked: ApprovalRequest, shown: Shown) -> list[EvidenceLine]:
    """The lines of a request, by its kind."""
    return [line(shown) for line in REQUESTS[asked.kind].lines]


@register.simple_tag
def ids_of(asked: ApprovalRequest, shown: Shown) -> list[tuple[str | Promise, str]]:
    """The ids and digests of a request with their labels, the digest of its evidence last."""
    found = [(label, part(shown, path)) for path, label in _IDS]
    digest = (gettext_lazy("Digest of the content shown here"), asked.digest)
    return [(label, value) for label, value in [*found, digest] if isinstance(value, str) and value]


_IDS = (
    ("account_id", gettext_lazy("Account")),
    ("namespace_id", gettext_lazy("Namespace id")),
    ("policy.digest", gettext_lazy("Digest of the policy")),
    ("scope_digest", gettext_lazy("Digest of the scope")),
    ("names.sha256", gettext_lazy("Digest of the names")),
    ("chosen.sha256", gettext_lazy("Digest of the chosen names")),
    ("overwritten.sha256", gettext_lazy("Digest of the overwritten names")),
    ("generation.manifest_sha256", gettext_lazy("Digest of the manifest")),
    ("generation.digest_root", gettext_lazy("Digest of the entries")),
    ("entries_root", gettext_lazy("Digest of the entries to write")),
    ("objects.sha256", gettext_lazy("Digest of the objects")),
    ("references.search.digest", gettext_lazy("Digest of the search")),
    ("references.answers_sha256", gettext_lazy("Digest of the answers")),
    ("proposal.sha256", gettext_lazy("SHA-256 of its ciphertext")),
    ("script_sha256", gettext_lazy("SHA-256 of its script")),
)
"""What only a machine compares, by its path in the evidence."""
