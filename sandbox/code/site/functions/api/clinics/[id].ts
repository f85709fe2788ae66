import { CLINIC_PREFIX } from "../../shared/keys";

export const onRequestGet: PagesFunction<Env> = async ({ params, env }) => {
  const { SETTINGS } = env;
  const clinic = await SETTINGS.get(CLINIC_PREFIX + params.id);
  return clinic === null ? new Response("Not found", { status: 404 }) : new Response(clinic);
};

interface Env {
  SETTINGS: KVNamespace;
}
