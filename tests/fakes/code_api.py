"""Each documented route of Workers, Pages and Workers Builds, over code that is kept in memory."""

import base64
import json

from tests.fakes.cloudflare_api import Api, ApiProblem, Context, numbered, success
from tests.fakes.code import FakeProject, FakeVersion, FakeWorker
from tests.fakes.http import Reply

AT = "2026-11-20T03:04:05.678901Z"
STAGE_AT = "2026-11-20T03:05:00Z"


def list_scripts(api: Api, context: Context) -> Reply:
    found = [{"id": name, "etag": "x", "created_on": AT, "modified_on": AT} for name in api.code_of(context).workers]
    return success(json.dumps(found))


def list_deployments(api: Api, context: Context) -> Reply:
    worker = _worker(api, context)
    versions = [{"version_id": one, "percentage": 100 / len(worker.active)} for one in worker.active]
    active = {"id": f"deployment-{worker.deployments}", "source": "wrangler", "strategy": "percentage"}
    found = [{**active, "created_on": AT, "versions": versions}] if versions else []
    return success(json.dumps({"deployments": found}))


def get_version(api: Api, context: Context) -> Reply:
    version = _version(api, context)
    script = {"etag": version.etag, "handlers": ["fetch"]}
    resources = {"bindings": _bindings(version), "script": script, "script_runtime": {}}
    return success(json.dumps({"id": version.id, "number": 1, "metadata": {}, "resources": resources}))


def get_modules(api: Api, context: Context) -> Reply:
    version = _version(api, context)
    shown: dict[str, object] = {"id": version.id, "number": 1, "urls": [], "created_on": AT}
    if context.query("include", "") == "modules":
        shown["modules"] = [
            {
                "name": name,
                "content_type": version.types.get(name, "application/javascript+module"),
                "content_base64": base64.b64encode(data).decode(),
            }
            for name, data in version.modules.items()
        ]
    return success(json.dumps({**shown, "bindings": _bindings(version)}))


def list_builds(api: Api, context: Context) -> Reply:
    asked = context.query("version_ids", "").split(",")
    versions = [one for worker in api.code_of(context).workers.values() for one in worker.versions.values()]
    builds = {
        one.id: {
            "build_outcome": "success",
            "status": "stopped",
            "build_trigger_metadata": {"branch": "main", "commit_hash": one.commit},
        }
        for one in versions
        if one.id in asked and one.commit
    }
    return success(json.dumps({"builds": builds}))


def list_projects(api: Api, context: Context) -> Reply:
    if int(context.query("per_page", "10")) > 10:
        raise ApiProblem(400, 8000024, "Invalid list options provided.")
    return numbered(context, [_project(one) for one in api.code_of(context).projects.values()], 10)


def get_project(api: Api, context: Context) -> Reply:
    project = api.code_of(context).projects.get(context.target)
    if project is None:
        raise ApiProblem(404, 8000007, "Project not found.")
    return success(json.dumps(_project(project)))


def _worker(api: Api, context: Context) -> FakeWorker:
    worker = api.code_of(context).workers.get(context.target)
    if worker is None:
        raise ApiProblem(404, 10007, "This Worker does not exist on your account.")
    return worker


def _version(api: Api, context: Context) -> FakeVersion:
    version = _worker(api, context).versions.get(context.name)
    if version is None:
        raise ApiProblem(404, 100146, "Version not found.")
    return version


def _bindings(version: FakeVersion) -> list[dict[str, str]]:
    kv = [{"type": "kv_namespace", "name": name, "namespace_id": one} for name, one in version.kv.items()]
    return [*kv, {"type": "plain_text", "name": "STAGE", "text": "x"}]


def _bound(bindings: dict[str, str]) -> dict[str, object]:
    return {name: {"namespace_id": one} for name, one in bindings.items()}


def _project(project: FakeProject) -> dict[str, object]:
    config: dict[str, object] = {
        "env_vars": {},
        "fail_open": True,
        "always_use_latest_compatibility_date": False,
        "compatibility_date": "2026-11-01",
        "compatibility_flags": [],
        "build_image_major_version": 3,
        "usage_model": "standard",
    }
    kv, previews = (_bound(bindings) for bindings in (project.kv, project.preview_kv))
    deployment = _deployment(project) if project.deployment else None
    return {
        "id": f"id-of-{project.name}",
        "name": project.name,
        "created_on": AT,
        "production_branch": "main",
        "production_script_name": f"pages-worker--{project.name}-production",
        "preview_script_name": f"pages-worker--{project.name}-preview",
        "uses_functions": True,
        "framework": "",
        "framework_version": "",
        "deployment_configs": {
            "production": {**config, "kv_namespaces": kv},
            "preview": {**config, "kv_namespaces": previews},
        },
        "latest_deployment": deployment,
        "canonical_deployment": deployment,
    }


def _deployment(project: FakeProject) -> dict[str, object]:
    name, status = project.stage
    stage = {"name": name, "status": status, "started_on": STAGE_AT, "ended_on": STAGE_AT}
    repository = {
        "owner": "clinics",
        "owner_id": "1",
        "repo_id": "2",
        "repo_name": "site",
        "production_branch": "main",
        "pr_comments_enabled": False,
        "deployments_enabled": True,
        "production_deployments_enabled": True,
        "preview_deployment_setting": "none",
        "path_includes": [],
        "path_excludes": [],
        "preview_branch_includes": [],
        "preview_branch_excludes": [],
    }
    commit = {
        "branch": "main",
        "commit_hash": project.commit,
        "commit_message": "x",
        "commit_dirty": project.dirty,
    }
    return {
        "id": project.deployment,
        "short_id": project.deployment[:8],
        "project_id": f"id-of-{project.name}",
        "project_name": project.name,
        "environment": "production",
        "url": f"https://{project.name}.pages.dev",
        "aliases": [],
        "created_on": AT,
        "modified_on": AT,
        "is_skipped": False,
        "env_vars": {},
        "build_config": {"web_analytics_tag": None, "web_analytics_token": None},
        "deployment_trigger": {"type": "github:push", "metadata": commit},
        "latest_stage": stage,
        "stages": [stage],
        "source": {"type": "github", "config": repository},
    }
