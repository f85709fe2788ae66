// D1's /query and /raw over the local binding.
import { ApiError, readJson, toNumber } from "./envelope.js";

const invalid = new ApiError(400, 7400, "The request is malformed: expected {sql, params} or {batch}");
const TOKENS = /'(?:[^']|'')*'|"(?:[^"]|"")*"|`[^`]*`|\[[^\]]*\]|--[^\n]*|\/\*[\s\S]*?\*\/|;|[^'"`[;\-/]+|[\s\S]/g;

export async function query(database, request, { raw, mayWrite, forbidden }) {
  const body = await readJson(request, invalid);
  const queries = body?.batch ?? [body];
  if (!Array.isArray(queries) || queries.some((one) => typeof one?.sql !== "string")) throw invalid;
  const statements = queries.flatMap(({ sql, params = [] }) => {
    const parts = split(sql);
    if (parts.length > 1 && params.length) throw new ApiError(400, 7400, "params need a single statement");
    return parts.map((text) => ({ text, params: params.map(toParameter) }));
  });
  if (statements.length === 0) throw invalid;
  if (!mayWrite && statements.some(({ text }) => !readsOnly(text))) throw forbidden();
  try {
    const prepared = statements.map(({ text, params }) => database.prepare(text).bind(...params));
    const answers = raw ? await rawAnswers(database, statements, prepared) : await database.batch(prepared);
    return answers.map(({ results, meta, success }) => ({ results, success, meta }));
  } catch (error) {
    throw new ApiError(400, 7500, String(error.message).replace(/^D1_\w+: /, ""));
  }
}

// The binding's raw() knows the columns of an empty result and keeps columns of one name apart, but
// gives no meta: that comes from running the statement once more, so only reading goes this way.
async function rawAnswers(database, statements, prepared) {
  if (!statements.every(({ text }) => readsOnly(text))) {
    const rows = (results) => ({ columns: Object.keys(results[0] ?? {}), rows: results.map(Object.values) });
    return (await database.batch(prepared)).map((answer) => ({ ...answer, results: rows(answer.results) }));
  }
  return Promise.all(
    prepared.map(async (statement) => {
      const [columns, ...rows] = await statement.raw({ columnNames: true });
      const { meta, success } = await statement.all();
      return { meta, success, results: { columns, rows } };
    }),
  );
}

const toParameter = (value) => (typeof value === "boolean" ? Number(value) : toNumber(value));

function split(sql) {
  const statements = [""];
  for (const [token] of sql.matchAll(TOKENS)) {
    if (token === ";") statements.push("");
    else if (!token.startsWith("--") && !token.startsWith("/*")) statements[statements.length - 1] += token;
  }
  return statements.map((text) => text.trim()).filter(Boolean);
}

function readsOnly(sql) {
  const bare = [...sql.matchAll(TOKENS)].map(([token]) => (/^['"`[]./.test(token) ? " x " : token)).join("");
  if (/^(select|values|explain)\b/i.test(bare)) return true;
  if (/^pragma\b/i.test(bare)) return !bare.includes("=");
  return /^with\b/i.test(bare) && !/\b(insert\s|update\s|delete\s+from|replace\s+into)/i.test(bare);
}
