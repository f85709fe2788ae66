export interface Env {
  SETTINGS: KVNamespace;
  CACHE: KVNamespace;
}
export type Kind = "master:a" | "master:b";
