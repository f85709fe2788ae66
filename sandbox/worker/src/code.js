// The deployed code of the sandbox's accounts: the Worker and the Pages project of sandbox/code, at one made-up commit.
// Sample answers in the documented form: nothing of it runs here.
import { Buffer } from "node:buffer";
import { ApiError, ok } from "./envelope.js";
import source from "../../code/api/src/index.js"; // as text, by the rule in wrangler.toml

const AT = "2026-11-20T03:04:05.678901Z";
const PER_PAGE = 10;

const versionId = ({ account_id }) => `00000000-0000-4000-8000-${account_id.slice(-12)}`;
const bindings = ({ kv }) => [{ type: "kv_namespace", name: "SETTINGS", namespace_id: kv[0].id }];

export async function workers({ request, url, environment, parts, noRoute }) {
  const [first, name, what, version, ...more] = parts;
  const read = request.method === "GET" && more.length === 0;
  if (!read || !["scripts", "workers"].includes(first)) throw noRoute();
  if (first === "scripts" && name === undefined) {
    return ok([{ id: environment.worker, etag: await etag(), created_on: AT, modified_on: AT }]);
  }
  if (name !== environment.worker) throw new ApiError(404, 10007, "This Worker does not exist on your account.");
  if (first === "scripts" && version === undefined && what === "deployments") return ok(deployments(environment));
  if (what !== "versions" || version === undefined) throw noRoute();
  if (version !== versionId(environment)) throw new ApiError(404, 100146, "Version not found.");
  if (first === "scripts") {
    const script = { etag: await etag(), handlers: ["fetch"], last_deployed_from: "wrangler" };
    const resources = { bindings: bindings(environment), script, script_runtime: {} };
    return ok({ id: version, number: 1, metadata: { created_on: AT, source: "workersci" }, resources });
  }
  const modules = [
    {
      name: "index.js",
      content_type: "application/javascript+module",
      content_base64: Buffer.from(source).toString("base64"),
    },
  ];
  const shown = url.searchParams.get("include") === "modules" ? { main_module: "index.js", modules } : {};
  return ok({ id: version, number: 1, urls: [], created_on: AT, bindings: bindings(environment), ...shown });
}

export function builds({ request, url, environment, env, parts, noRoute }) {
  if (request.method !== "GET" || parts.join("/") !== "builds") throw noRoute();
  const asked = (url.searchParams.get("version_ids") ?? "").split(",");
  const build = {
    status: "stopped",
    build_outcome: "success",
    build_trigger_metadata: { branch: "main", commit_hash: env.CODE_COMMIT, repo_name: "clinic" },
  };
  return ok({ builds: asked.includes(versionId(environment)) ? { [versionId(environment)]: build } : {} });
}

export function pages({ request, url, environment, env, parts, noRoute }) {
  const [first, name, ...more] = parts;
  if (request.method !== "GET" || first !== "projects" || more.length) throw noRoute();
  if (name !== undefined) {
    if (name !== environment.project) throw new ApiError(404, 8000007, "Project not found.");
    return ok(project(environment, env));
  }
  const page = Number(url.searchParams.get("page") ?? 1);
  const per_page = Number(url.searchParams.get("per_page") ?? PER_PAGE);
  if (per_page > PER_PAGE) throw new ApiError(400, 8000024, "Invalid list options provided.");
  const result = [project(environment, env)].slice((page - 1) * per_page, page * per_page);
  return ok(result, { count: result.length, page, per_page, total_count: 1, total_pages: 1 });
}

async function etag() {
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(source));
  return Buffer.from(digest).toString("hex");
}

const deployments = (environment) => ({
  deployments: [
    {
      id: `00000000-0000-4000-9000-${environment.account_id.slice(-12)}`,
      source: "workersci",
      strategy: "percentage",
      created_on: AT,
      versions: [{ version_id: versionId(environment), percentage: 100 }],
    },
  ],
});

function project(environment, env) {
  const config = {
    env_vars: {},
    fail_open: true,
    always_use_latest_compatibility_date: false,
    compatibility_date: "2026-11-01",
    compatibility_flags: [],
    build_image_major_version: 3,
    usage_model: "standard",
  };
  const kv_namespaces = { SETTINGS: { namespace_id: environment.kv[0].id } };
  const deployment = deployed(environment, env);
  return {
    id: `00000000-0000-4000-a000-${environment.account_id.slice(-12)}`,
    name: environment.project,
    created_on: AT,
    production_branch: "main",
    production_script_name: "pages-worker--1-production",
    preview_script_name: "pages-worker--1-preview",
    uses_functions: true,
    framework: "",
    framework_version: "",
    deployment_configs: {
      production: { ...config, kv_namespaces },
      preview: { ...config, kv_namespaces: environment.production ? {} : kv_namespaces }, // never of production
    },
    latest_deployment: deployment,
    canonical_deployment: deployment,
  };
}

function deployed(environment, env) {
  const stage = { name: "deploy", status: "success", started_on: AT, ended_on: AT };
  const repository = {
    owner: "sample-team",
    owner_id: "1",
    repo_id: "2",
    repo_name: "clinic",
    production_branch: "main",
    pr_comments_enabled: false,
    deployments_enabled: true,
    production_deployments_enabled: true,
    preview_deployment_setting: "none",
    path_includes: [],
    path_excludes: [],
    preview_branch_includes: [],
    preview_branch_excludes: [],
  };
  return {
    id: `00000000-0000-4000-b000-${environment.account_id.slice(-12)}`,
    short_id: "00000000",
    project_id: `00000000-0000-4000-a000-${environment.account_id.slice(-12)}`,
    project_name: environment.project,
    environment: "production",
    url: `https://${environment.project}.pages.dev`,
    aliases: [],
    created_on: AT,
    modified_on: AT,
    is_skipped: false,
    env_vars: {},
    build_config: { web_analytics_tag: null, web_analytics_token: null },
    deployment_trigger: {
      type: "github:push",
      metadata: { branch: "main", commit_hash: env.CODE_COMMIT, commit_message: "Serve clinics", commit_dirty: false },
    },
    latest_stage: stage,
    stages: [stage],
    source: { type: "github", config: repository },
  };
}
