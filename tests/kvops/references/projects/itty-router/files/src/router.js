import { AutoRouter, error } from "itty-router";
import { prefixes } from "./prefixes.js";

const router = AutoRouter();

const withMaster = async (request, env) => {
  request.master = await env.SETTINGS.get([prefixes.master, request.params.id].join(":"));
};

router
  .get("/masters/:id", withMaster, ({ master }) => master ?? error(404))
  .get("/summary/:id", ({ params }, { SETTINGS }) => SETTINGS.get("clinic:summary:".concat(params.id), "json"))
  .post("/summary/:id", async (request, env) => {
    const key = "clinic:summary:" + request.params.id;
    await env.SETTINGS.put(key, await request.text());
  })
  .all("*", (request, env) => env.SETTINGS[request.method.toLowerCase()](request.params.key));

export default router;
