export enum Prefix {
  Master = "master:",
  Cache = "mastercache:",
  Session = "session:",
}

export const KEYS = {
  root: "system-root",
  clinic: { byId: "clinic:id:", summary: "clinic:summary:" },
} as const;

export const masterKey = (type: string, id: number): string => `${Prefix.Master}${type}:${id}`;
