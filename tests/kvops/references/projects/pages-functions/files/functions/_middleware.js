const flag = "system-root";

async function guard({ env, next }) {
  const root = await env.SETTINGS.get(flag, { type: "json", cacheTtl: 300 });
  return root?.closed ? new Response("closed", { status: 503 }) : next();
}

export const onRequest = [guard];
