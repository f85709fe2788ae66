import type { Env } from "./env";
import { masterKey, Names, Prefix } from "./index";
import * as all from "./keys";

export async function master(env: Env, type: string, id: number): Promise<string | null> {
  return (await env.SETTINGS.get(masterKey(type, id))) as string | null;
}

export async function refresh(env: Env): Promise<void> {
  await env.SETTINGS.put(`${Prefix.Cache}all`, "[]");
  const root = await env.SETTINGS.get(Names.root);
  if (root === null) return;
  await env.SETTINGS.delete(all.KEYS.clinic.byId + root);
  await env.SETTINGS.list({ prefix: all.KEYS["clinic"].summary });
}

export const migrate = (env: Env, names: string[]) => Promise.all(names.map((name) => env.SETTINGS.get(name)));
