export { masterKey, KEYS as Names } from "./keys";
export * from "./keys";
