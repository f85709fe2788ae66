"""Reading Pages projects: the commit that runs in production, and the KV bindings of production and of previews.

No route gives the code of Pages Functions, so their code is searched in the repository, at that commit.
"""

import re
from dataclasses import dataclass
from datetime import datetime

from kvops.cloudflare import _json
from kvops.cloudflare._errors import ConfigurationError
from kvops.cloudflare._http import ID, ApiClient, Route
from kvops.cloudflare._workers import as_commit
from kvops.refusals import Sentence as _

PROJECTS = "/pages/projects"
PAGE = 10
"""Projects in one answer. Cloudflare refuses to give more."""

PAGES_ROUTES = (
    Route("pages_projects", "GET", PROJECTS, repeatable=True),
    Route("pages_project", "GET", f"{PROJECTS}/{ID}", repeatable=True),
)


@dataclass(frozen=True, slots=True)
class PagesProject:
    """A Pages project with its production deployment; `deployment` is empty if there is none.

    `commit` is empty if it is not a full hash, or the deployment did not succeed. `dirty`: the checkout held changes
    that the commit has not. `kv` maps bindings to namespaces: the settings of today, and of the next deployment.
    `preview_kv` does so for the preview deployments, which run code of any branch.
    """

    name: str
    deployment: str
    at: datetime | None
    commit: str
    dirty: bool
    kv: dict[str, str]
    preview_kv: dict[str, str]


class PagesReads(ApiClient):
    """The calls about Pages. They need the permission "Pages Read"."""

    def pages_projects(self) -> list[str]:
        """The names of all Pages projects of the account."""
        return self._all_pages(PROJECTS, lambda item: _json.as_text(item.get("name")), per_page=PAGE)

    def pages_project(self, name: str) -> PagesProject:
        """One project."""
        if not re.fullmatch(ID, name):
            raise ConfigurationError(
                _("%(name)s is not a name of a Pages project that this client may ask for.", name=repr(name))
            )
        return self._transport.json(
            "GET",
            f"{PROJECTS}/{name}",
            read=lambda envelope: _read_project(_json.as_object(envelope.get("result")), name),
        )


def _read_project(result: _json.Object, asked: str) -> PagesProject:
    if _json.as_text(result.get("name")) != asked:
        raise _json.Malformed(_("another project than the one asked for"))
    configs = _json.as_object(result.get("deployment_configs"))
    kv, preview_kv = _bound(configs.get("production")), _bound(configs.get("preview"))
    newest = result.get("canonical_deployment")
    if newest is None:
        return PagesProject(asked, "", None, "", dirty=False, kv=kv, preview_kv=preview_kv)
    deployment = _json.as_object(newest)
    metadata = _json.as_object(_json.as_object(deployment.get("deployment_trigger")).get("metadata"))
    stage = _json.as_object(deployment.get("latest_stage"))
    runs = (stage.get("name"), stage.get("status")) == ("deploy", "success")
    return PagesProject(
        asked,
        _json.as_text(deployment.get("id")),
        _json.as_moment(deployment.get("created_on")),
        as_commit(metadata.get("commit_hash")) if runs else "",
        dirty=metadata.get("commit_dirty") is not False,
        kv=kv,
        preview_kv=preview_kv,
    )


def _bound(config: _json.Value) -> dict[str, str]:
    """The namespaces by binding, out of the settings of production or of previews."""
    bound = _json.as_object(config).get("kv_namespaces")
    return {
        binding: _json.as_text(_json.as_object(item).get("namespace_id"))
        for binding, item in ({} if bound is None else _json.as_object(bound)).items()
        if item is not None
    }
