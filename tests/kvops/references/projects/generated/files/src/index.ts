import { definitions, table } from "./generated/client";

export async function count(env: { SETTINGS: KVNamespace }): Promise<number> {
  let total = 0;
  for (const definition of definitions) {
    const page = await env.SETTINGS.list({ prefix: definition.prefix });
    total += page.keys.length;
  }
  return total;
}

export function one(env: { SETTINGS: KVNamespace }, kind: string, id: string) {
  return env.SETTINGS.get(table[kind] + id);
}

export async function clear(env: { SETTINGS: KVNamespace }) {
  await Promise.all(Object.values(definitions).map((one) => env.SETTINGS.delete(`${one.prefix}all`)));
}
