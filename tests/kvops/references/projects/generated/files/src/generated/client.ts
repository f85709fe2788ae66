/* eslint-disable */
// Generated. Do not edit.
export const definitions = [
  { family: "master", prefix: "master:", ttl: 0 },
  { family: "clinic", prefix: "clinic:id:", ttl: 0 },
  { family: "cache", prefix: "mastercache:", ttl: 3600 },
] as const;
export const table: Record<string, string> = {
  "system-root": "root",
  m: "master:",
  c: "clinic:id:",
};
