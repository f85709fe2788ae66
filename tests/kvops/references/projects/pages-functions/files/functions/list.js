export async function onRequest(context) {
  const options = { prefix: "clinic:id:", limit: 1000 };
  const page = await context.env.SETTINGS.list(options);
  const { SETTINGS: kv } = context.env;
  const values = await kv.get(page.keys.map((key) => key.name));
  return Response.json([...values]);
}
