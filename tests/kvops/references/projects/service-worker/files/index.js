// A classic service worker: bindings are globals.
addEventListener("fetch", (event) => event.respondWith(handle(event)));

const MASTER = "master:";

async function handle(event) {
  const url = new URL(event.request.url);
  const id = url.searchParams.get("id");
  if (url.pathname === "/clinic") {
    const kept = await SETTINGS.get("clinic:id:" + id, "json");
    return new Response(JSON.stringify(kept));
  }
  if (url.pathname.startsWith("/master/")) {
    const value = await SETTINGS.get(MASTER + id, { type: "json" });
    return new Response(JSON.stringify(value));
  }
  if (event.request.method === "DELETE") {
    event.waitUntil(SETTINGS.delete(url.pathname.slice(1)));
    return new Response(null, { status: 204 });
  }
  const root = await SETTINGS.get("system-root");
  const cached = new Map();
  cached.get(id);
  return new Response(root, { headers: { "cache-control": "max-age=60" } });
}
