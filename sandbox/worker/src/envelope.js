// The frame every answer but a single value comes in.

export class ApiError extends Error {
  constructor(status, code, message) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

export const json = (body, status = 200) =>
  new Response(JSON.stringify(body), { status, headers: { "content-type": "application/json" } });

export const ok = (result, result_info) =>
  json({ success: true, errors: [], messages: [], result, ...(result_info && { result_info }) });

// Numbers a JavaScript number would change (1.0, 2^53 + 1) stay as they were written.
export const parse = (text) =>
  JSON.parse(text, (_, value, context) =>
    typeof value === "number" && String(value) !== context.source ? JSON.rawJSON(context.source) : value,
  );

export async function readJson(request, invalid) {
  const text = await request.text();
  try {
    return parse(text);
  } catch {
    throw invalid;
  }
}

export const toNumber = (value) => (JSON.isRawJSON(value) ? Number(value.rawJSON) : value);
