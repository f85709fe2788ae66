import { summaryKey } from "@clinic/keys";
import { readMaster } from "@/masters";

export default {
  async queue(batch: MessageBatch<{ id: string }>, env: { SETTINGS: KVNamespace }) {
    for (const message of batch.messages) {
      await env.SETTINGS.put(summaryKey(message.body.id), "{}");
      await readMaster(env.SETTINGS, message.body.id);
    }
  },
};
