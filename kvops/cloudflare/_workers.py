"""Reading deployed Workers: their active versions, the KV bindings and the modules of a version, and their builds."""

import base64
import binascii
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from kvops.cloudflare import _json
from kvops.cloudflare._errors import ConfigurationError
from kvops.cloudflare._http import ApiClient, Route
from kvops.refusals import Sentence as _

SCRIPTS = "/workers/scripts"
SCRIPT = r"[0-9A-Za-z_][0-9A-Za-z_-]{0,99}"
VERSION = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
COMMIT = r"[0-9a-f]{40}|[0-9a-f]{64}"
BUILDS_AT_ONCE = 20
MODULES_BYTES = 48 * 1024 * 1024
"""Bytes of an answer with modules, which are a third longer as base64. A longer answer is refused."""

WORKER_ROUTES = (
    Route("scripts", "GET", SCRIPTS, repeatable=True),
    Route("deployments", "GET", f"{SCRIPTS}/{SCRIPT}/deployments", repeatable=True),
    Route("version", "GET", f"{SCRIPTS}/{SCRIPT}/versions/{VERSION}", repeatable=True),
    Route("modules", "GET", f"/workers/workers/{SCRIPT}/versions/{VERSION}", repeatable=True, most=MODULES_BYTES),
    Route("builds", "GET", "/builds/builds", repeatable=True),
)


@dataclass(frozen=True, slots=True)
class Deployment:
    """What runs of a Worker: one version or, in a gradual deployment, two. `at` is the time of the deployment."""

    id: str
    at: datetime
    versions: list[str]


@dataclass(frozen=True, slots=True)
class WorkerVersion:
    """A version of a Worker. It never changes. `etag` is a hash of its code, `kv` maps bindings to namespaces."""

    id: str
    etag: str
    kv: dict[str, str]


@dataclass(frozen=True, slots=True)
class WorkerModule:
    """A file of a version: a module, text, data or a source map, as `content_type` says."""

    name: str
    content_type: str
    data: bytes


class WorkerReads(ApiClient):
    """The calls about Workers. They need the permission "Workers Scripts Read", `builds` needs "Workers CI Read"."""

    def scripts(self) -> list[str]:
        """The names of all Workers of the account."""
        return self._transport.json(
            "GET",
            SCRIPTS,
            read=lambda envelope: [
                _json.as_text(_json.as_object(item).get("id")) for item in _json.as_list(envelope.get("result"))
            ],
        )

    def deployment(self, script: str) -> Deployment | None:
        """The active deployment of a Worker; None for a Worker that was never deployed."""
        return self._transport.json("GET", f"{_script(script)}/deployments", read=_read_active)

    def worker_version(self, script: str, version: str) -> WorkerVersion:
        """The KV bindings and the etag of one version."""
        path = f"{_script(script)}/versions/{_version(version)}"
        return self._transport.json(
            "GET", path, read=lambda envelope: _read_version(_json.as_object(envelope.get("result")), version)
        )

    def modules(self, script: str, version: str) -> list[WorkerModule]:
        """The modules of one version, at most 48 MiB as Cloudflare sends them; raises TooLarge."""
        path = f"/workers/workers/{_script(script).removeprefix(f'{SCRIPTS}/')}/versions/{_version(version)}"
        return self._transport.json(
            "GET",
            path,
            query={"include": "modules"},
            read=lambda envelope: _read_modules(_json.as_object(envelope.get("result")), version),
        )

    def build_commits(self, versions: Sequence[str]) -> dict[str, str]:
        """The commits from which Workers Builds built these versions, by version; others are absent."""
        found: dict[str, str] = {}
        for start in range(0, len(versions), BUILDS_AT_ONCE):
            some = [_version(version) for version in versions[start : start + BUILDS_AT_ONCE]]
            found |= self._transport.json(
                "GET", "/builds/builds", query={"version_ids": ",".join(some)}, read=_read_commits
            )
        return found


def as_commit(value: _json.Value) -> str:
    """The value if it is the full hash of a commit; empty if it is anything else, because a branch can move on."""
    return value if isinstance(value, str) and re.fullmatch(COMMIT, value) else ""


def _script(name: str) -> str:
    if not re.fullmatch(SCRIPT, name):
        raise ConfigurationError(_("%(name)s is not a name of a Worker that this client may ask for.", name=repr(name)))
    return f"{SCRIPTS}/{name}"


def _version(identifier: str) -> str:
    if not re.fullmatch(VERSION, identifier):
        raise ConfigurationError(_("%(identifier)s is not the id of a version.", identifier=repr(identifier)))
    return identifier


def _read_active(envelope: _json.Object) -> Deployment | None:
    deployments = _json.as_list(_json.as_object(envelope.get("result")).get("deployments"))
    if not deployments:
        return None
    active = _json.as_object(deployments[0])  # the newest is the active one
    versions = [
        _json.as_text(_json.as_object(item).get("version_id")) for item in _json.as_list(active.get("versions"))
    ]
    if not versions:
        raise _json.Malformed(_("a deployment without a version"))
    return Deployment(_json.as_text(active.get("id")), _json.as_moment(active.get("created_on")), versions)


def _read_version(result: _json.Object, asked: str) -> WorkerVersion:
    if _json.as_text(result.get("id")) != asked:
        raise _json.Malformed(_("another version than the one asked for"))
    resources = _json.as_object(result.get("resources"))
    bindings = [_json.as_object(item) for item in _json.as_list(resources.get("bindings"))]
    etag = _json.as_object(resources.get("script")).get("etag")
    return WorkerVersion(
        asked,
        "" if etag is None else _json.as_text(etag),
        {
            _json.as_text(binding.get("name")): _json.as_text(binding.get("namespace_id"))
            for binding in bindings
            if binding.get("type") == "kv_namespace"
        },
    )


def _read_modules(result: _json.Object, asked: str) -> list[WorkerModule]:
    if _json.as_text(result.get("id")) != asked:
        raise _json.Malformed(_("another version than the one asked for"))
    modules = [_read_module(_json.as_object(item)) for item in _json.as_list(result.get("modules"))]
    if not modules:
        raise _json.Malformed(_("a version without modules"))
    return modules


def _read_module(item: _json.Object) -> WorkerModule:
    try:
        data = base64.b64decode(_json.as_text(item.get("content_base64")), validate=True)
    except binascii.Error as error:
        raise _json.Malformed(_("a module is not base64")) from error
    return WorkerModule(_json.as_text(item.get("name")), _json.as_text(item.get("content_type")), data)


def _read_commits(envelope: _json.Object) -> dict[str, str]:
    result = envelope.get("result")
    builds = {} if result is None else _json.as_object(_json.as_object(result).get("builds", {}))
    found: dict[str, str] = {}
    for version, item in builds.items():
        build = _json.as_object(item)
        commit = as_commit(_json.as_object(build.get("build_trigger_metadata", {})).get("commit_hash"))
        if commit and build.get("build_outcome") == "success":
            found[version] = commit
    return found
