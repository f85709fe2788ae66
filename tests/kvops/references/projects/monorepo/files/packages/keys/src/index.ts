export const SUMMARY = "clinic:summary:";
export function summaryKey(id: string) {
  return SUMMARY + id;
}
