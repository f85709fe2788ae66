export default {
  async fetch(request, env, ctx) {
    const { SETTINGS, CACHE: sessions } = env;
    const id = new URL(request.url).pathname.slice(1);
    const session = await sessions.get(`session:${id}`);
    const kv = env.SETTINGS;
    const list = await kv?.list({ prefix: "clinic:summary:", limit: 100 });
    for (const key of list.keys) {
      ctx.waitUntil(kv.delete(key.name));
    }
    await SETTINGS.put(`mastercache:${id}`, "[]", { expirationTtl: 60 });
    await env["SETTINGS"].getWithMetadata("master:" + id + ":1");
    const name = request.headers.get("x-store");
    await env[name].get("system-root");
    await env[name].get(id);
    const part = await env.SETTINGS.get("m" + id);
    const clinics = await env.SETTINGS.get(`clinic:${id}`);
    return Response.json({ session, part, clinics });
  },
  async scheduled(event, env) {
    await env.SETTINGS.list();
    const all = await env.SETTINGS.list({ prefix: "clinic" });
    await env.CACHE.put("other:1", String(all.keys.length));
  },
};
