/** Data outlives its deployment, and the answer to a teardown says so by name. */
import { expect, test } from "vitest";
import { NOOP, useApi } from "./use-api.ts";

const api = useApi();

test.each([
  ["volumes of its own are kept, and named; those of others are not ours to speak of", { volumes: { data: {}, cache: {}, shared: { external: "shared" } } }, {}, [expect.stringContaining("the volumes data, cache (")]],
  ["asked to remove them it keeps none", { volumes: { data: {} } }, { volumes: true }, []],
  ["without volumes there is nothing to say", {}, {}, []],
])("%s", async (what, more, body, warnings) => {
  const name = `d-${what.length}`;
  await api.activeHost(`${name}-host`);
  const made = await api.call("POST", "/v1/deployments", { body: { name, spec: { ...NOOP, ...more }, placement: { hosts: [`${name}-host`] } } });
  expect(made.status, made.text).toBe(202);
  await api.call("POST", `/v1/lifecycle/${made.json.lifecycle_ids[0]}/cancel`);
  const gone = await api.call("POST", `/v1/deployments/${name}/teardown`, { body });
  expect(gone.status, gone.text).toBe(202);
  expect(gone.json.warnings).toEqual(warnings);
});
