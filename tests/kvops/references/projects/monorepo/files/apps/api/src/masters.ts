export const readMaster = (kv: KVNamespace, id: string) => kv.get(`master:${id}`);
