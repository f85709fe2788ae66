import { Hono } from "hono";
import type { Context } from "hono";

const PREFIX = "clinic:id:" as const;
export const clinics = new Hono<{ Bindings: { SETTINGS: KVNamespace } }>();

const keyOf = (c: Context) => PREFIX + c.req.param("id");

clinics.get("/:id", async (c) => c.json(await c.env.SETTINGS.get(keyOf(c))));
clinics.delete("/:id", async (c) => {
  await c.env.SETTINGS.delete(keyOf(c));
  return c.body(null, 204);
});
