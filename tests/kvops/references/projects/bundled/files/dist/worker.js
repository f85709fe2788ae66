var __defProp = Object.defineProperty;
var __export = (target, all) => {
  for (var name in all) __defProp(target, name, { get: all[name], enumerable: true });
};

// src/keys.ts
var PREFIX = "master:";
var masterKey = (id) => `${PREFIX}${id}`;

// src/cache.ts
var cache_exports = {};
__export(cache_exports, { load: () => load, save: () => save });
async function load(kv, key) {
  return JSON.parse(await kv.get(key) ?? "null");
}
async function save(kv, key, value) {
  await kv.put(key, JSON.stringify(value));
}

// src/index.ts
var src_default = {
  async fetch(request, env2, ctx) {
    const id = new URL(request.url).pathname;
    const value = await load(env2.SETTINGS, masterKey(id));
    await save(env2.SETTINGS, masterKey(id), value);
    await load(env2.SETTINGS, "mastercache:all");
    await load(env2.SETTINGS, request.headers.get("x-key"));
    await load(env2.CACHE, "other:" + id);
    return Response.json(value);
  }
};
export {
  cache_exports,
  src_default as default
};
