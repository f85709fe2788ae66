interface Env {
  SETTINGS: KVNamespace;
}

export const onRequestGet: PagesFunction<Env> = async (context) => {
  const { id } = context.params;
  const value = await context.env.SETTINGS.get(`master:clinic:${id}`);
  return new Response(value);
};

export const onRequestPut: PagesFunction<Env> = async ({ request, env, params }) => {
  await env.SETTINGS.put("master:clinic:" + params.id, await request.text());
  return new Response("ok");
};
