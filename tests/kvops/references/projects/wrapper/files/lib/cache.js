class KVCache {
  constructor(namespace, options) {
    this.namespace = namespace;
    this.options = options;
  }
  key(name) {
    return `${this.options.prefix}${name}`;
  }
  async get(name) {
    return this.namespace.get(this.key(name), "json");
  }
  async set(name, value) {
    await this.namespace.put(this.key(name), JSON.stringify(value));
  }
}

async function removeAll(kv, names) {
  for (const name of names) await kv.delete(name);
}

module.exports = { KVCache, removeAll };
