// The account's audit log: one sample entry, a deletion in SETTINGS by wrangler an hour ago.
import { ApiError, ok } from "./envelope.js";

const HOUR = 3_600_000;

export function auditLog({ request, url, environment, rest, noRoute }) {
  if (request.method !== "GET" || rest.length) throw noRoute();
  const [since, before] = ["since", "before"].map((name) => Date.parse(url.searchParams.get(name) ?? ""));
  if (Number.isNaN(since) || Number.isNaN(before)) throw new ApiError(400, 10001, "since and before are required");
  const at = Date.now() - HOUR;
  const namespace = `/client/v4/accounts/${environment.account_id}/storage/kv/namespaces/${environment.kv[0].id}`;
  const entry = {
    id: "00000000-0000-4000-c000-000000000001",
    action: { type: "delete", result: "success", time: new Date(at).toISOString() },
    actor: { type: "user", context: "oauth", email: "somebody@example.com", id: "1", ip_address: "192.0.2.7" },
    raw: { method: "DELETE", uri: `${namespace}/values/master%3Aarea%3A99`, status_code: 200, user_agent: "wrangler" },
    resource: { product: "kv", type: "namespace", scope: "accounts" },
  };
  const found = since <= at && at <= before ? [entry] : [];
  return ok(found, { count: String(found.length), cursor: "" });
}
