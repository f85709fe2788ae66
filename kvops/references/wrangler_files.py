"""The bindings of a checkout's wrangler files beside those of `environments.toml`."""

from collections.abc import Sequence
from dataclasses import dataclass

from kvops.models import Environment, ReferenceSearch
from kvops.references.wrangler_config import (
    KnownEnvironment,
    WranglerDifference,
    WranglerEnvironment,
    differences,
    proposed,
)


@dataclass(frozen=True)
class WranglerFiles:
    """The wrangler files of a search, as seen from one environment.

    `mine` are the differences that are about the environment, or about none that can be told; `others` the rest.
    `proposal` has the tables of `environments.toml` for bindings that the environment does not have yet.
    """

    environments: Sequence[WranglerEnvironment]
    unread: Sequence[str]
    mine: Sequence[WranglerDifference]
    others: Sequence[WranglerDifference]
    proposal: str


def compared(
    found: Sequence[WranglerEnvironment], unread: Sequence[str], environment: Environment
) -> WranglerFiles | None:
    """The wrangler environments compared with the environments in force; None if the checkout has no wrangler file."""
    if not found and not unread:
        return None
    known = [_known(one) for one in Environment.objects.order_by("order")]
    told = differences(found, known)
    mine = [one for one in told if not one.environments or environment.slug in one.environments]
    others = [one for one in told if one not in mine]
    return WranglerFiles(found, unread, mine, others, proposed(found, _known(environment)))


def of_search(search: ReferenceSearch) -> WranglerFiles | None:
    """The wrangler files of a stored search; None if it has none."""
    found = [WranglerEnvironment(**one) for one in search.wrangler.get("environments", ())]
    return compared(found, search.wrangler.get("unread", ()), search.environment)


def _known(environment: Environment) -> KnownEnvironment:
    return KnownEnvironment(
        environment.slug,
        dict(environment.namespaces.values_list("binding", "namespace_id")),
        dict(environment.databases.values_list("binding", "database_id")),
        environment.r2_bucket,
    )
