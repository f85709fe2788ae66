// How a bucket is protected. The local R2 has no lock, no lifecycle and no public address, so these are sample answers: what a bucket
// that is as it should be says of itself. Nothing in the sandbox enforces them.
const DAY = 86_400;

export const guards = {
  lock: () => ({
    rules: [
      { id: "backups", enabled: true, prefix: "backups/", condition: { type: "Age", maxAgeSeconds: 30 * DAY } },
    ],
  }),
  lifecycle: () => ({
    rules: ["investigations", "proposals"].map((id) => ({
      id,
      enabled: true,
      conditions: { prefix: `${id}/` },
      deleteObjectsTransition: { condition: { type: "Age", maxAge: 30 * DAY } },
    })),
  }),
  "domains/managed": ({ account_id }) => ({ bucketId: account_id, domain: `pub-${account_id}.r2.dev`, enabled: false }),
  "domains/custom": () => ({ domains: [] }),
};
