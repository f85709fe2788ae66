import { DurableObject, WorkerEntrypoint, env as bindings } from "cloudflare:workers";

export class Room extends DurableObject<Env> {
  #prefix = "clinic:id:";
  private readonly kv: KVNamespace;

  constructor(state: DurableObjectState, env: Env) {
    super(state, env);
    this.kv = env.SETTINGS;
  }

  async alarm(): Promise<void> {
    const name = await this.ctx.storage.get<string>("name");
    await this.kv.put(this.#prefix + name, "closed");
    await this.env.SETTINGS.delete(`clinic:summary:${name}`);
  }

  async root() {
    return bindings.SETTINGS.get("system-root");
  }
}

class Repository {
  constructor(private readonly store: KVNamespace, protected prefix: string) {}

  find(id: string) {
    return this.store.get(this.prefix + id);
  }

  async remove(id: string): Promise<void> {
    const key = `${this.prefix}${id}`;
    await this.store.delete(key);
  }
}

export class Masters extends Repository {
  constructor(env: Env) {
    super(env.SETTINGS, "master:");
  }
}

export default class Api extends WorkerEntrypoint<Env> {
  get settings() {
    return this.env.SETTINGS;
  }

  async fetch(request: Request) {
    const masters = new Masters(this.env);
    await masters.remove("1");
    await this.settings.put("mastercache:" + request.url, "");
    return new Response(await masters.find("1"));
  }
}
