import { Hono } from "hono";
import { clinics } from "./routes/clinics";

type Bindings = { SETTINGS: KVNamespace; CACHE: KVNamespace };
const app = new Hono<{ Bindings: Bindings }>();

app.get("/master/:type/:id", async (c) => {
  const { type, id } = c.req.param();
  const value = await c.env.SETTINGS.get(`master:${type}:${id}`, "json");
  return value ? c.json(value) : c.notFound();
});

app.put("/settings", async (c) => {
  const { SETTINGS } = c.env;
  await SETTINGS.put("system-root", await c.req.text());
  return c.text("ok");
});

app.use("*", async (c, next) => {
  const key = c.req.header("x-key");
  c.set("kept", await c.env.SETTINGS.get(key!));
  await next();
});

app.route("/clinics", clinics);
export default app;
