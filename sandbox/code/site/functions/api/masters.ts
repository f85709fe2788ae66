import { masterKey } from "../shared/keys";

export const onRequestGet: PagesFunction<Env> = async ({ request, env }) => {
  const asked = new URL(request.url).searchParams;
  const value = await env.SETTINGS.get(masterKey(asked.get("type") ?? "", asked.get("id") ?? ""));
  return value === null ? new Response("Not found", { status: 404 }) : new Response(value);
};

interface Env {
  SETTINGS: KVNamespace;
}
