// The telemetry query over sample spans: the Worker of sandbox/code read old clinic records an hour ago.
// Only the shape that KVOps asks for: counts and newest times, grouped.
import { ApiError, ok, readJson } from "./envelope.js";
import { versionId } from "./code.js";

const invalid = new ApiError(400, 10001, "Bad Request");
const HOUR = 3_600_000;

const spans = (environment) => {
  const span = (name, keys, hours) => ({
    "cloudflare.script_name": environment.worker,
    "cloudflare.script_version.id": versionId(environment),
    "cloudflare.binding.name": "SETTINGS",
    "$metadata.spanName": name,
    "cloudflare.kv.query.keys": keys,
    "cloudflare.kv.query.prefix": "",
    timestamp: Date.now() - hours * HOUR,
  });
  return [span("kv_get", "clinic:id:1", 1), span("kv_get", "clinic:id:2", 5), span("kv_put", "mastercache:area", 2)];
};

export async function telemetry({ request, environment }) {
  const asked = await readJson(request, invalid);
  const { filters = [], groupBys = [], calculations = [] } = asked?.parameters ?? {};
  const { from, to } = asked?.timeframe ?? {};
  if (typeof from !== "number" && typeof from?.rawJSON !== "string") throw invalid;
  const found = spans(environment).filter(
    (span) => span.timestamp >= Number(from) && span.timestamp <= Number(to) && filters.every((one) => passes(span, one)),
  );
  const groups = Map.groupBy(found, (span) => JSON.stringify(groupBys.map(({ value }) => [value, span[value]])));
  return ok({
    run: {
      id: crypto.randomUUID(),
      query: {
        id: asked.queryId, name: "adhoc", description: "", adhoc: true, parameters: {},
        created: "", createdBy: "", updated: "", updatedBy: "",
      },
      accountId: environment.account_id,
      timeframe: { from: Number(from), to: Number(to) },
      userId: "sandbox",
      status: "COMPLETED",
      granularity: 1,
      dry: asked.dry === true,
    },
    statistics: { elapsed: 0.1, rows_read: found.length, bytes_read: 1 },
    calculations: calculations.map(({ operator, alias }) => ({
      alias,
      calculation: operator,
      series: [],
      aggregates: [...groups].map(([group, members]) => ({
        count: members.length,
        value: operator === "count" ? members.length : Math.max(...members.map(({ timestamp }) => timestamp)),
        interval: 1,
        sampleInterval: 1,
        groups: JSON.parse(group).filter(([, value]) => value).map(([key, value]) => ({ key, value })),
      })),
    })),
  });
}

function passes(span, { key, operation, value }) {
  if (operation === "in") return value.split(",").includes(span[key]);
  if (operation === "regex") return new RegExp(value).test(span[key]);
  throw invalid;
}
