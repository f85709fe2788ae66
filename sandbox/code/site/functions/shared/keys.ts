export const CLINIC_PREFIX = "clinic:id:";
export const masterKey = (type: string, id: string) => `master:${type}:${id}`;
