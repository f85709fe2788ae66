// Made by KVOps. Gives an expiration to the keys of one cache family that have none. It deletes no key.
//
// A Cron Trigger begins a round. The Durable Object makes rounds serial: its alarm works on one page of the listing,
// reports it to KVOps, and sets the next alarm. So an invocation stays within Cloudflare's limits, and a round goes on
// after the page at which the last invocation stopped. Before each page it asks KVOps, and again when the time of a yes
// is over. Without a signed yes it writes nothing.
//
// A value that another program writes between the read and the put here is lost, as is one that this location does not
// see yet, which Cloudflare allows for a minute. A key that is deleted in that minute comes back, and an expiration that
// is set in it is replaced. KVOps asks a person to accept that.
const RULE = /* the approved rule */ null;

const PAGE = 400; // keys of one invocation: a read and a write each, of the 1,000 operations that Cloudflare allows
const PAUSE = 1_000; // milliseconds between two pages
const ANSWER_WITHIN = 20_000; // milliseconds
const PART = 40_000; // bytes of names in one report; KVOps takes 64 KiB
const TRIES = 12; // of one report
const ASKS = 3; // of one page, if no answer comes
const ASK_AGAIN = 60_000; // milliseconds
const LONGEST_WAIT = 3_600_000; // milliseconds between two tries
const DAY = 86_400; // seconds
const EXACT_DIGITS = 15; // digits that a JavaScript number always keeps

const encoder = new TextEncoder();

export default {
  async scheduled(_event, env) {
    const rounds = env.ROUNDS.get(env.ROUNDS.idFromName(`rule ${RULE.rule}`));
    await rounds.fetch("https://rounds/begin", { method: "POST" });
  },
};

export class ExpiryRounds {
  constructor(state, env) {
    this.storage = state.storage;
    this.env = env;
  }

  // Begins a round, or wakes the one under way.
  async fetch() {
    if ((await this.storage.get("round")) === undefined && !this.over()) {
      const counts = { listed: 0, given: 0, skipped: 0, failed: 0 };
      await this.save({ id: crypto.randomUUID(), part: 0, reports: [], tries: 0, asks: 0, ended: "", ...counts });
    }
    await this.storage.setAlarm(Date.now());
    return new Response("ok\n");
  }

  async alarm() {
    const round = await this.storage.get("round");
    if (round === undefined) return;
    if (round.page !== undefined) {
      // The last invocation ended while it wrote these keys. They are not written again.
      turn(round, [], round.page.chosen);
      await this.save(round);
    }
    if (!(await this.deliver(round))) return;
    if (round.ended) return this.forget();
    const until = await this.mayGoOn(round);
    if (until === null && round.asks + 1 < ASKS) {
      round.asks += 1;
      await this.save(round);
      return this.storage.setAlarm(Date.now() + ASK_AGAIN);
    }
    round.asks = 0;
    if (!until) return this.end(round, this.over() ? "end" : "refused");
    await this.work(round, until);
  }

  // One page of the listing.
  async work(round, until) {
    const page = await this.env.CACHE.list({ prefix: RULE.pattern, limit: PAGE, cursor: round.cursor });
    const lacking = page.keys.filter(takes);
    const chosen = lacking.map(({ name }) => name).slice(0, RULE.cap - round.given - round.failed);
    round.page = { chosen, listed: page.keys.length, cursor: page.cursor, complete: page.list_complete };
    await this.save(round);
    const given = [];
    const failed = [];
    for (const name of chosen) {
      if (Date.now() >= until) until = await this.mayGoOn(round);
      if (!until || this.over()) break;
      const written = await this.give(name);
      if (written === true) given.push(name);
      else if (written === false) failed.push(name);
    }
    turn(round, given, failed);
    await this.save(round);
    console.log(`round ${round.id}, approval ${this.env.APPROVAL}: ${given.length} given, ${failed.length} failed`);
    if (!(await this.deliver(round))) return;
    if (round.ended) return this.forget();
    await this.storage.setAlarm(Date.now() + PAUSE);
  }

  // Puts the same bytes and the same metadata with an expiration. True: written; false: perhaps; null: left alone.
  async give(name) {
    const read = await this.env.CACHE.getWithMetadata(name, "arrayBuffer").catch(() => null);
    if (read === null || read.value === null || !keepsExactly(read.metadata)) return null;
    const { value, metadata } = read;
    try {
      await this.env.CACHE.put(name, value, { expirationTtl: RULE.ttl, ...(metadata !== null && { metadata }) });
      return true;
    } catch {
      return false;
    }
  }

  over() {
    return !(Date.now() < Date.parse(this.env.END)) || !(RULE.ttl >= DAY);
  }

  // The time until which KVOps allows writes; 0 without a yes to this round, null without a signed answer.
  async mayGoOn(round) {
    if (this.over()) return 0;
    const approval = Number(this.env.APPROVAL);
    const answer = await call(this.env, "ask", { round: round.id, approval, rule: RULE.digest });
    if (answer?.status !== 200) return null;
    const { answer: word, round: of, approval: under, until } = JSON.parse(answer.text);
    const yes = word === "yes" && of === round.id && under === approval && Date.now() < until * 1_000;
    return yes ? until * 1_000 : 0;
  }

  // Ends a round early. One without a report has written nothing, and KVOps has its own row about it.
  async end(round, why) {
    if (round.part === 0) return this.forget();
    round.ended = why;
    last(round);
    await this.save(round);
    if (await this.deliver(round)) await this.forget();
  }

  // Sends the reports in their order. False: the next try is at an alarm.
  async deliver(round) {
    while (round.reports.length > 0) {
      const approval = Number(this.env.APPROVAL);
      const answer = await call(this.env, "report", { round: round.id, approval, ...round.reports[0] });
      if (answer?.status !== 200 && round.tries < TRIES) {
        round.tries += 1;
        await this.save(round);
        await this.storage.setAlarm(Date.now() + Math.min(60_000 * 2 ** (round.tries - 1), LONGEST_WAIT));
        return false;
      }
      if (answer?.status !== 200) console.error(`round ${round.id}: KVOps took no report, so it is given up`);
      round.reports.shift();
      round.tries = 0;
      await this.save(round);
    }
    return true;
  }

  async save(round) {
    await this.storage.put("round", round);
  }

  async forget() {
    await this.storage.delete("round");
  }

  static takes(key) {
    return takes(key);
  }
}

// Whether a listed key is one of the family, has no expiration, and can be written back as it is.
function takes({ name, expiration, metadata }) {
  return (
    (expiration === undefined || expiration === null) &&
    (RULE.exact ? name === RULE.pattern : name.startsWith(RULE.pattern)) &&
    !RULE.others.some(({ pattern, exact }) => (exact ? name === pattern : name.startsWith(pattern))) &&
    name !== "." &&
    name !== ".." &&
    !name.includes("\0") &&
    name.isWellFormed() &&
    keepsExactly(metadata)
  );
}

// Whether JavaScript keeps every number of the metadata. It may write one in another way, such as 1 for 1.0.
function keepsExactly(value) {
  if (typeof value === "number") {
    if (Object.is(value, -0)) return false;
    if (Number.isInteger(value)) return Number.isSafeInteger(value);
    const digits = String(value).replace(/e.*/, "").replace(/\D/g, "").replace(/^0+/, "");
    return Number.isFinite(value) && digits.length <= EXACT_DIGITS;
  }
  return typeof value !== "object" || value === null || Object.values(value).every(keepsExactly);
}

// Ends a page: counts and reports it, and goes on to the next one or ends the round.
function turn(round, given, failed) {
  const { chosen, listed, cursor, complete } = round.page;
  delete round.page;
  round.listed += listed;
  round.skipped += chosen.length - given.length - failed.length;
  round.cursor = cursor;
  report(round, given, failed);
  if (round.given + round.failed >= RULE.cap) round.ended = "cap";
  else if (complete) round.ended = "complete";
  if (round.ended) last(round);
}

// Adds the reports of one page: each has some of the names.
function report(round, given, failed) {
  const names = [...given.map((name) => ({ name, list: "given" })), ...failed.map((name) => ({ name, list: "failed" }))];
  let one = { part: round.part, given: [], failed: [] };
  let bytes = 0;
  const close = () => {
    round.reports.push(one);
    round.part += 1;
    one = { part: round.part, given: [], failed: [] };
    bytes = 0;
  };
  for (const { name, list } of names) {
    const size = encoder.encode(JSON.stringify(name)).length + 1;
    if (bytes + size > PART) close();
    one[list].push(name);
    bytes += size;
  }
  if (bytes > 0 || round.part === 0) close();
  round.given += given.length;
  round.failed += failed.length;
}

// Adds the last report: the counts of the round.
function last(round) {
  const { ended, listed, given, skipped, failed } = round;
  round.reports.push({ part: round.part, given: [], failed: [], ended, counts: { listed, given, skipped, failed } });
  round.part += 1;
}

// A signed call of KVOps. The answer, if it is signed for this very call; else null.
async function call(env, what, content) {
  const path = `/hooks/expiry/${RULE.rule}/${what}`;
  const body = JSON.stringify(content);
  const timestamp = String(Math.floor(Date.now() / 1_000));
  const nonce = crypto.randomUUID();
  const headers = {
    "content-type": "application/json",
    "x-kvops-timestamp": timestamp,
    "x-kvops-nonce": nonce,
    "x-kvops-signature": await sign(env.KVOPS_KEY, ["POST", path, timestamp, nonce, body]),
  };
  try {
    const signal = AbortSignal.timeout(ANSWER_WITHIN);
    const response = await fetch(env.KVOPS_URL + path, { method: "POST", body, headers, redirect: "manual", signal });
    const text = await response.text();
    const right = await sign(env.KVOPS_KEY, ["answer", path, nonce, String(response.status), text]);
    return response.headers.get("x-kvops-signature") === right ? { status: response.status, text } : null;
  } catch {
    return null;
  }
}

async function sign(key, parts) {
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  const imported = await crypto.subtle.importKey("raw", encoder.encode(key), algorithm, false, ["sign"]);
  const signature = await crypto.subtle.sign("HMAC", imported, encoder.encode(parts.join("\n")));
  return [...new Uint8Array(signature)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
