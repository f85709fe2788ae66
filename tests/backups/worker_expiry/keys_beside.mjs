// The generated Worker as it is, and beside it a way for the test to write and list the keys of its namespace.
import worker, { ExpiryRounds } from "./worker.js";

export { ExpiryRounds };

export default {
  scheduled: worker.scheduled,

  async fetch(request, env) {
    if (request.method === "POST") {
      for (const { name, value, ...options } of await request.json()) await env.CACHE.put(name, value, options);
      return new Response("ok\n");
    }
    const { keys } = await env.CACHE.list();
    return Response.json(await Promise.all(keys.map(async (key) => ({ ...key, value: await env.CACHE.get(key.name) }))));
  },
};
