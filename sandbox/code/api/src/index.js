// The sample team's Worker: it serves masters and clinics, from KV as before and from D1 where that has begun.
const MASTER = "master:";
const CACHE_SECONDS = 3600;

export default {
  async fetch(request, env) {
    const [, kind, type, id] = new URL(request.url).pathname.split("/");
    if (kind === "masters") return Response.json(await masters(env, type));
    if (kind === "clinics" && request.method === "PUT") return saveClinic(env, type, await request.text());
    if (kind === "clinics") return new Response(await env.SETTINGS.get(`clinic:id:${type}`));
    if (kind === "settings") return Response.json(await setting(env, id ?? type));
    return new Response("Not found", { status: 404 });
  },
};

async function masters(env, type) {
  const cached = await env.SETTINGS.get("mastercache:" + type, "json");
  if (cached) return cached;
  const { keys } = await env.SETTINGS.list({ prefix: `${MASTER}${type}:` });
  const rows = await Promise.all(keys.map(({ name }) => env.SETTINGS.get(name, "json")));
  await env.SETTINGS.put("mastercache:" + type, JSON.stringify(rows), { expirationTtl: CACHE_SECONDS });
  return rows;
}

// Still writes the old record: this has to go before the keys can.
async function saveClinic(env, id, body) {
  await env.SETTINGS.put(`clinic:id:${id}`, body);
  return new Response(null, { status: 204 });
}

// The name comes from the request: no search can tell which keys this reads.
async function setting(env, key) {
  return env.SETTINGS.get(key, "json");
}
