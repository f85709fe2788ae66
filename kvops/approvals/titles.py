"""The title of a request in the reader's language, for pages and messages. The stored title stays in English."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from django.utils.formats import number_format
from django.utils.functional import lazy

from kvops.models import ApprovalRequest
from kvops.names import visible
from kvops.operations import registry


def title_of(asked: ApprovalRequest) -> str:
    """The subject of a request, in the reader's language."""
    environment = asked.environment.name if asked.environment else ""
    try:
        return registry.REQUESTS[asked.kind].title(asked, json.loads(asked.evidence), environment)
    except (KeyError, TypeError):
        # Requests are kept for ever, evidence may change: an old request must not break a page.
        return asked.title


def of_requests(keys: Collection[int]) -> dict[int, str]:
    """The titles of these requests by key, in one query."""
    found = ApprovalRequest.objects.filter(pk__in=keys).select_related("environment")
    return {one.pk: title_of(one) for one in found}


title_when_read = lazy(title_of, str)
"""As `title_of`, but worded when it is read, so that each recipient of a message has it in their language."""


def number_of(value: int) -> str:
    """A number as the reader writes it."""
    return number_format(value, force_grouping=True)


def of_keys(text: str, shown: Mapping[str, Any], environment: str) -> str:
    """A title that counts keys, names a single one or the pattern, and says where they are."""
    one = visible(shown["names"]["first"]) if shown["names"]["count"] == 1 else ""
    return text % {
        "n": number_of(shown["names"]["count"]),
        "pattern": one or visible(shown["prefix"]) + ("" if shown.get("exact") else "*"),
        "backup": shown["generation"]["id"],
        "environment": environment,
        "namespace": shown["namespace_title"],
    }
