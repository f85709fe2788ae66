// Workers KV's documented routes over the local binding.
import { Buffer } from "node:buffer";
import { ApiError, ok, parse, readJson, toNumber } from "./envelope.js";

const MAX_BULK_WRITE = 10_000;
const MAX_BULK_READ = 100;
const MAX_REQUEST = 100_000_000;
const MIN_TTL = 60;
const SIDE_BY_SIDE = 50;

const invalidBody = new ApiError(400, 10012, "invalid request body");

export async function kv(call) {
  const { request, environment, env, url } = call;
  const [namespaces, id, what, key, ...more] = call.rest;
  if (namespaces !== "namespaces" || more.length) throw call.noRoute();
  if (id === undefined) return listNamespaces(request, environment, url);
  const described = environment.kv.find((candidate) => candidate.id === id);
  if (described === undefined) throw new ApiError(404, 10013, `get namespace: 'namespace not found'`);
  const store = env[described.binding];
  const routes = {
    "": { GET: () => ok(describe(described)) },
    keys: { GET: () => listKeys(store, url) },
    bulk: { PUT: () => bulkPut(store, request), DELETE: () => bulkDelete(store, request) },
    "bulk/get": { POST: () => bulkGet(store, request) },
    "bulk/delete": { POST: () => bulkDelete(store, request) },
    values: { GET: () => getValue(store, name(key)), PUT: () => putValue(store, name(key), request, url), DELETE: () => deleteValue(store, name(key)) },
    metadata: { GET: () => getMetadata(store, name(key)) },
  };
  const named = what === "values" || what === "metadata";
  if (named && key === undefined) throw call.noRoute();
  const found = routes[named || key === undefined ? (what ?? "") : `${what}/${key}`];
  if (found === undefined) throw call.noRoute();
  const handler = found[request.method];
  if (handler === undefined) throw new ApiError(405, 10405, `Method ${request.method} not available for that URI.`);
  const reads = request.method === "GET" || (what === "bulk" && key === "get");
  if (!reads && !call.mayWrite) throw call.forbidden();
  return handler();
}

const describe = ({ id, title }) => ({ id, title, supports_url_encoding: true });

function listNamespaces(request, environment, url) {
  if (request.method !== "GET") throw new ApiError(405, 10405, "The sandbox's namespaces are fixed.");
  const page = Number(url.searchParams.get("page") ?? 1);
  const per_page = Number(url.searchParams.get("per_page") ?? 20);
  const result = environment.kv.map(describe).slice((page - 1) * per_page, page * per_page);
  return ok(result, { count: result.length, page, per_page, total_count: environment.kv.length });
}

const CURSOR = "kv.";

async function listKeys(store, url) {
  const limit = Number(url.searchParams.get("limit") ?? 1000);
  if (!Number.isInteger(limit) || limit < 10 || limit > 1000) {
    throw new ApiError(400, 10022, "limit must be a whole number from 10 to 1000");
  }
  // The local KV takes any text as a cursor; Cloudflare takes only one that it gave.
  const given = url.searchParams.get("cursor") ?? "";
  if (given && !given.startsWith(CURSOR)) throw new ApiError(400, 10022, "cursor is not one that a list gave");
  const cursor = given.slice(CURSOR.length) || undefined;
  const page = await refused(store.list({ limit, cursor, prefix: url.searchParams.get("prefix") || undefined }));
  const result = page.keys.map(({ name, expiration, metadata }) => ({
    name,
    ...(expiration !== undefined && { expiration }),
    ...(metadata !== undefined && { metadata: unpack(metadata) }),
  }));
  return ok(result, { count: result.length, cursor: page.list_complete ? "" : CURSOR + page.cursor });
}

async function getValue(store, key) {
  const [value, expiration] = await Promise.all([refused(store.get(key, "stream")), expirationOf(store, key)]);
  if (value === null) throw new ApiError(404, 10009, "get: 'key not found'");
  const headers = { "content-type": "application/octet-stream" };
  if (expiration !== undefined) headers.expiration = String(expiration);
  return new Response(value, { headers });
}

async function getMetadata(store, key) {
  const { value, metadata } = await refused(store.getWithMetadata(key, "stream"));
  if (value === null) throw new ApiError(404, 10009, "get: 'key not found'");
  await value.cancel();
  return ok(unpack(metadata));
}

// The binding does not tell a value's expiration; its list does, and the shortest name with a prefix
// is the prefix itself.
async function expirationOf(store, key) {
  const { keys } = await refused(store.list({ prefix: key, limit: 1 }));
  return keys[0]?.name === key ? keys[0].expiration : undefined;
}

async function bulkGet(store, request) {
  const body = await readJson(request, invalidBody);
  const { keys, type = "text", withMetadata = false } = body ?? {};
  if (!Array.isArray(keys) || !keys.every(legal) || !["text", "json"].includes(type)) throw invalidBody;
  if (keys.length === 0) throw new ApiError(400, 10029, "You must request a minimum of 1 key");
  if (keys.length > MAX_BULK_READ) throw new ApiError(400, 10030, "You can request a maximum of 100 keys");
  const found = await refused(store.getWithMetadata(keys, type));
  const values = Object.create(null);
  await sideBySide(keys, async (key) => {
    // The binding's map of many loses a few names (`1`, `__proto__`).
    const { value, metadata } = found.get(key) ?? (await refused(store.getWithMetadata(key, type)));
    if (value === null || !withMetadata) values[key] = value;
    else {
      const expiration = await expirationOf(store, key);
      values[key] = { value, metadata: unpack(metadata), ...(expiration !== undefined && { expiration }) };
    }
  });
  return ok({ values });
}

async function bulkPut(store, request) {
  if (Number(request.headers.get("content-length")) > MAX_REQUEST) throw new ApiError(413, 10012, "request larger than 100 MB");
  const entries = await readJson(request, invalidBody);
  if (!Array.isArray(entries) || entries.length > MAX_BULK_WRITE) throw invalidBody;
  const writes = entries.map(({ key, value, base64 = false, metadata, expiration, expiration_ttl } = {}) => {
    if (!legal(key) || typeof value !== "string") throw invalidBody;
    return { key, bytes: base64 ? fromBase64(value) : value, options: putOptions(metadata, expiration, expiration_ttl) };
  });
  return ok(await each(writes, ({ key }) => key, ({ key, bytes, options }) => store.put(key, bytes, options)));
}

async function bulkDelete(store, request) {
  const keys = await readJson(request, invalidBody);
  if (!Array.isArray(keys) || keys.length > MAX_BULK_WRITE || !keys.every(legal)) throw invalidBody;
  return ok(await each(keys, (key) => key, (key) => store.delete(key)));
}

async function putValue(store, key, request, url) {
  const expiration = url.searchParams.get("expiration") ?? undefined;
  const expiration_ttl = url.searchParams.get("expiration_ttl") ?? undefined;
  let value, metadata;
  if (request.headers.get("content-type")?.startsWith("multipart/form-data")) {
    const form = await request.formData();
    value = form.get("value");
    if (value === null) throw new ApiError(400, 10012, "the form has no value part");
    if (typeof value !== "string") value = await value.arrayBuffer();
    if (form.has("metadata")) metadata = await readJson(new Response(form.get("metadata")), new ApiError(400, 10012, "metadata is not JSON"));
  } else {
    value = await request.arrayBuffer();
  }
  await refused(store.put(key, value, putOptions(metadata, expiration, expiration_ttl)));
  return ok(null);
}

async function deleteValue(store, key) {
  await refused(store.delete(key));
  return ok(null);
}

function putOptions(metadata, expiration, ttl) {
  const now = Math.floor(Date.now() / 1000);
  const at = ttl !== undefined ? now + Number(toNumber(ttl)) : expiration !== undefined ? Number(toNumber(expiration)) : undefined;
  if (at !== undefined && !(at >= now + MIN_TTL)) {
    throw new ApiError(400, 10034, `Invalid expiration of ${at}: it must be at least ${MIN_TTL} seconds in the future.`);
  }
  return { ...(at !== undefined && { expiration: Math.floor(at) }), ...(metadata !== undefined && { metadata: pack(metadata) }) };
}

// The local runtime keeps metadata as parsed JavaScript, which changes some numbers. Metadata it
// would change is kept as text under a name of our own and handed out as it was written.
const RAW = "__sandbox_raw_metadata";

function pack(metadata) {
  const text = JSON.stringify(metadata);
  return JSON.stringify(JSON.parse(text)) === text ? metadata : { [RAW]: text };
}

const unpack = (metadata) => (metadata?.[RAW] === undefined ? (metadata ?? null) : parse(metadata[RAW]));

const legal = (key) =>
  typeof key === "string" && !["", ".", ".."].includes(key) && Buffer.byteLength(key) <= 512;

function name(segment) {
  let key;
  try {
    key = decodeURIComponent(segment);
  } catch {
    throw new ApiError(400, 10012, "could not URL-decode the key name");
  }
  if (Buffer.byteLength(key) > 512) throw new ApiError(414, 10022, "key names are at most 512 bytes");
  if (!legal(key)) throw new ApiError(400, 10012, `illegal key name ${JSON.stringify(key)}`);
  return key;
}

function fromBase64(text) {
  try {
    return Uint8Array.fromBase64(text);
  } catch {
    throw invalidBody;
  }
}

// Runs `work` over all items and reports in the form of the bulk writes.
async function each(items, nameOf, work) {
  const unsuccessful_keys = [];
  await sideBySide(items, (item) => work(item).catch((error) => {
    console.error(error);
    unsuccessful_keys.push(nameOf(item));
  }));
  return { successful_key_count: items.length - unsuccessful_keys.length, unsuccessful_keys };
}

async function sideBySide(items, work) {
  const queue = items.values();
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, async () => {
    for (const item of queue) await work(item);
  }));
}

// The binding reports the store's refusals as text with the HTTP status in it.
async function refused(promise) {
  try {
    return await promise;
  } catch (error) {
    const [, status, message] = /^KV \w+ failed: (4\d\d) (.*)$/s.exec(error.message) ?? [];
    if (status === undefined) throw error;
    throw new ApiError(Number(status), 10022, message);
  }
}
