const { KVCache, removeAll } = require("./lib/cache");
const { createStore } = require("kv-store-adapter");

module.exports = {
  async fetch(request, env) {
    const cache = new KVCache(env.SETTINGS, { prefix: "mastercache:" });
    await cache.set("all", await cache.get("all"));
    const names = [];
    names.push("master:1", `master:${request.url}`);
    await removeAll(env.SETTINGS, names);
    const store = createStore(env.SETTINGS, { prefix: "session" });
    const read = env.SETTINGS.get.bind(env.SETTINGS);
    await store.get("clinic:id:1");
    return new Response(await read("clinic:id:2"));
  },
};
