// Cloudflare's REST routes for KV, D1 and R2, served over real local bindings.
// Only what is documented: no back door, the sandbox is seeded through the same routes. Beside them, under /team, what
// the team that uses the product would have itself.
import { auditLog } from "./audit.js";
import { builds, pages, workers } from "./code.js";
import { query } from "./d1.js";
import { ApiError, json, ok } from "./envelope.js";
import { kv } from "./kv.js";
import { guards } from "./r2.js";
import { masters } from "./team.js";

export default {
  async fetch(request, env) {
    const url = new URL(request.url);
    let response;
    try {
      response = await route(request, url, env);
    } catch (error) {
      if (!(error instanceof ApiError)) console.error(error);
      const { status, code, message } =
        error instanceof ApiError ? error : { status: 500, code: 10001, message: `Internal error: ${error}` };
      response = json({ success: false, errors: [{ code, message }], messages: [], result: null }, status);
    }
    for (const [name, value] of frameHeaders()) response.headers.set(name, value);
    return response;
  },
};

function route(request, url, env) {
  const parts = url.pathname.split("/").slice(1);
  if (parts[0] === "team") return masters(request, env, parts.slice(1));
  if (parts.shift() !== "client" || parts.shift() !== "v4") throw noRoute(url);
  const { environment, writes } = identify(request, env.ENVIRONMENTS);
  if (parts.join("/") === "user/tokens/verify") {
    return ok({ id: environment.account_id, status: "active" });
  }
  const [accounts, accountId, product, ...rest] = parts;
  if (accounts !== "accounts") throw noRoute(url);
  if (accountId === undefined) return ok([{ id: environment.account_id, name: environment.name }]);
  if (!/^[0-9a-f]{32}$/.test(accountId)) throw noRoute(url);
  if (accountId !== environment.account_id) throw forbidden();
  const call = { request, url, env, environment, rest: rest.slice(1), mayWrite: writes, noRoute: () => noRoute(url), forbidden };
  if (product === "storage" && rest[0] === "kv") return kv({ ...call, rest: rest.slice(1) });
  if (product === "d1" && rest[0] === "database") return database(call);
  if (product === "r2" && rest[0] === "buckets") return object(call);
  if (product === "workers") return workers({ ...call, parts: rest });
  if (product === "logs" && rest[0] === "audit") return auditLog(call);
  if (product === "builds") return builds({ ...call, parts: rest });
  if (product === "pages") return pages({ ...call, parts: rest });
  throw noRoute(url);
}

function identify(request, environments) {
  const header = request.headers.get("authorization");
  if (header === null) {
    throw new ApiError(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers");
  }
  const token = header.replace(/^Bearer /, "");
  for (const environment of environments) {
    if (token === environment.write_token) return { environment, writes: true };
    if (token === environment.read_token) return { environment, writes: false };
  }
  throw new ApiError(401, 10000, "Authentication error");
}

async function database({ request, url, env, environment, rest, mayWrite, noRoute, forbidden }) {
  const [id, action] = rest;
  const described = (entry) => ({ uuid: entry.id, name: entry.name, version: "production" });
  if (id === undefined && request.method === "GET") {
    const name = url.searchParams.get("name");
    const found = environment.d1.filter((entry) => name === null || entry.name === name).map(described);
    return ok(found, { count: found.length, page: 1, per_page: 1000, total_count: found.length });
  }
  const entry = environment.d1.find((candidate) => candidate.id === id || candidate.name === id);
  if (entry === undefined) throw new ApiError(404, 7404, `The database ${id} could not be found`);
  if (action === undefined && request.method === "GET") return ok(described(entry));
  if (request.method === "POST" && (action === "query" || action === "raw") && rest.length === 2) {
    return ok(await query(env[entry.binding], request, { raw: action === "raw", mayWrite, forbidden }));
  }
  throw noRoute();
}

// What `wrangler r2 object get` asks for, and how the bucket is protected; objects are written through the S3 endpoint.
async function object({ request, env, environment, rest, noRoute }) {
  const [bucket, what, ...key] = rest; // wrangler leaves the slashes of a name as they are
  const guard = guards[rest.slice(1).join("/")];
  if (request.method !== "GET" || !(guard || (what === "objects" && key.length > 0))) throw noRoute();
  const entry = environment.r2.find((candidate) => candidate.name === bucket);
  if (entry === undefined) throw new ApiError(404, 10006, "The specified bucket does not exist.");
  if (guard) return ok(guard(environment));
  const found = await env[entry.binding].get(decodeURIComponent(key.join("/")));
  if (found === null) throw new ApiError(404, 10007, "The specified key does not exist.");
  return new Response(found.body, { headers: { etag: found.httpEtag } });
}

const noRoute = (url) =>
  new ApiError(404, 7003, `Could not route to ${url.pathname}, perhaps your object identifier is invalid?`);
const forbidden = () => new ApiError(403, 10000, "Authentication error");

const QUOTA = 1200;
const WINDOW = 300;
let calls = 0;

// Same form as the real headers. The sandbox never refuses a call, so it never claims that the
// quota is nearly spent either.
function frameHeaders() {
  calls = (calls + 1) % (QUOTA / 2);
  const reset = WINDOW - (Math.floor(Date.now() / 1000) % WINDOW);
  const ray = crypto.randomUUID().replaceAll("-", "").slice(0, 16);
  return [
    ["ratelimit", `"default";r=${QUOTA - calls};t=${reset}`],
    ["ratelimit-policy", `"default";q=${QUOTA};w=${WINDOW}`],
    ["cf-ray", `${ray}-LCL`],
    ["date", new Date().toUTCString()],
  ];
}
