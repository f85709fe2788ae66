// Plays whole rounds of generated Workers against a KV of its own: a page of the listing per alarm, as in Cloudflare.
// stdin: {"key", "scripts": {name: module}, "sets": [{"script", "approval", "end", "keys": [{name, expiration, metadata}]}]}
// A set may have "cut", the put at which the invocation ends, and "silent", the numbers of the calls without an answer;
// "allowed", the seconds of a yes, and "pause", the milliseconds of a put.
// stdout: a line for each set: what was put, what was deleted, what was called, what was reported.
import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";
import { stdin, stdout } from "node:process";

let text = "";
for await (const chunk of stdin) text += chunk;
const { key, scripts, sets } = JSON.parse(text);

const modules = {};
for (const [name, source] of Object.entries(scripts)) {
  modules[name] = await import(`data:text/javascript;base64,${Buffer.from(source).toString("base64")}`);
}

const sign = (parts) => createHmac("sha256", key).update(parts.join("\n")).digest("hex");
console.log = () => {};

class Cache {
  constructor(keys, cut, pause) {
    this.pause = pause;
    this.cutAt = cut;
    this.cut = new Promise((resolve) => { this.end = resolve; });
    this.keys = keys
      .map(({ metadata, ...key }) => ({ ...key, ...(metadata !== null && { metadata: JSON.parse(metadata) }) }))
      .sort((one, other) => Buffer.compare(Buffer.from(one.name), Buffer.from(other.name)));
    this.puts = [];
    this.deleted = [];
  }

  async list({ prefix, limit, cursor }) {
    const found = this.keys.filter(({ name }) => name.startsWith(prefix));
    const from = Number(cursor ?? 0);
    const list_complete = from + limit >= found.length;
    return { keys: found.slice(from, from + limit), list_complete, ...(!list_complete && { cursor: String(from + limit) }) };
  }

  async getWithMetadata(name) {
    const found = this.keys.find((key) => key.name === name);
    return { value: Buffer.from(`value of ${name}`), metadata: found.metadata ?? null };
  }

  async put(name, value, { expirationTtl, metadata }) {
    if (this.pause) await new Promise((resolve) => { setTimeout(resolve, this.pause); });
    this.puts.push({ name, ttl: expirationTtl, value: value.toString(), metadata: metadata ?? null });
    if (this.puts.length === this.cutAt) {
      this.end("cut");
      await new Promise(() => {});
    }
  }

  async delete(name) {
    this.deleted.push(name);
  }
}

for (const one of sets) {
  const cache = new Cache(one.keys, one.cut, one.pause);
  const calls = [];
  const reported = [];
  const uncertain = [];
  let ended = null;
  let alarm = null;
  const kept = new Map();
  const storage = {
    get: async (name) => structuredClone(kept.get(name)),
    put: async (name, value) => kept.set(name, structuredClone(value)),
    delete: async (name) => kept.delete(name),
    setAlarm: async (at) => { alarm = at; },
  };
  globalThis.fetch = async (url, { body, headers }) => {
    const path = new URL(url).pathname;
    const what = path.split("/").at(-1);
    const message = JSON.parse(body);
    const right = sign(["POST", path, headers["x-kvops-timestamp"], headers["x-kvops-nonce"], body]);
    if (right !== headers["x-kvops-signature"]) throw new Error("wrong signature");
    calls.push(what);
    if (one.silent?.includes(calls.length - 1)) throw new Error("no answer");
    if (what === "report") {
      reported.push(...message.given);
      uncertain.push(...message.failed);
      ended = message.ended ?? ended;
    }
    const until = Date.now() / 1_000 + (one.allowed ?? 600);
    const answer = JSON.stringify({ answer: "yes", round: message.round, approval: one.approval, until });
    const signature = sign(["answer", path, headers["x-kvops-nonce"], "200", answer]);
    return new Response(answer, { headers: { "x-kvops-signature": signature } });
  };
  const { default: worker, ExpiryRounds } = modules[one.script];
  const env = { CACHE: cache, APPROVAL: String(one.approval), END: one.end, KVOPS_URL: "https://kvops", KVOPS_KEY: key };
  let rounds = new ExpiryRounds({ storage }, env);
  env.ROUNDS = { idFromName: (name) => name, get: () => rounds };
  await worker.scheduled({}, env);
  while (alarm !== null) {
    alarm = null;
    if ((await Promise.race([rounds.alarm(), cache.cut])) === "cut") {
      // The alarm comes again, to another invocation.
      cache.cut = new Promise(() => {});
      rounds = new ExpiryRounds({ storage }, env);
      alarm = Date.now();
    }
  }
  stdout.write(`${JSON.stringify({ puts: cache.puts, deleted: cache.deleted, calls, reported, uncertain, ended, left: kept.size })}\n`);
}
