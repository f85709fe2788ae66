// What belongs to the team itself, not to Cloudflare: its own API of master data, as rows of arrays.
import { ApiError, json } from "./envelope.js";

const ARRAYS = {
  masters: "SELECT id, type, name, sort_order AS 'order' FROM masters ORDER BY type, id",
  clinics: "SELECT id, name, prefecture, phone, beds FROM clinics ORDER BY id",
  facilities: "SELECT id, name, kind, clinic_id AS clinicId FROM facilities ORDER BY id",
  staff: "SELECT id, name, job, facility_id AS facilityId FROM staff ORDER BY id",
  service_codes: "SELECT code, name, units, active, valid_from FROM service_codes ORDER BY code",
};

const inJson = ({ valid_from: from, ...row }) => (from === undefined ? row : { ...row, valid: { from } });

// GET /team/<environment>/masters.json
export async function masters(request, env, [slug, file, ...rest]) {
  const environment = env.ENVIRONMENTS.find((one) => one.slug === slug);
  if (request.method !== "GET" || !environment || file !== "masters.json" || rest.length) {
    throw new ApiError(404, 404, "There is nothing here.");
  }
  if (request.headers.get("authorization") !== `Bearer ${env.TEAM_API_TOKEN}`) {
    throw new ApiError(401, 401, "The API of the team wants its token.");
  }
  const database = env[environment.d1[0].binding];
  const names = Object.keys(ARRAYS);
  const answers = await database.batch(names.map((name) => database.prepare(ARRAYS[name])));
  return json(Object.fromEntries(names.map((name, index) => [name, answers[index].results.map(inJson)])));
}
