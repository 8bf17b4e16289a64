/** docs/openapi.json is what is served. `npx vitest run --update=all <this file>` writes it anew. */
import { PRODUCTION_POLICY } from "@skep/core";
import { systemClock } from "@skep/runtime";
import { createMemoryStore } from "@skep/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startHarness, type Harness } from "./harness.ts";

let api: Harness;
let document: any;
beforeAll(async () => {
  api = await startHarness({ store: createMemoryStore({ clock: systemClock(), policy: PRODUCTION_POLICY }) });
  document = (await api.call("GET", "/openapi.json", { role: "none" })).json;
});
afterAll(() => api.close());

test("it is committed as it is served", async () => {
  await expect(`${JSON.stringify(document, null, 2)}\n`).toMatchFileSnapshot("../../../../docs/openapi.json");
});

test("every reference leads somewhere, and every component is used", () => {
  const text = JSON.stringify(document);
  const used = new Set([...text.matchAll(/"\$ref":"#\/components\/schemas\/([^"]+)"/g)].map((match) => match[1]));
  expect([...used].sort()).toEqual(Object.keys(document.components.schemas).sort());
  expect(text).not.toContain("PLACEHOLDER");
});

test("operations have ids of their own, parameters for their paths, and a problem for their refusals", () => {
  expect(document.openapi).toBe("3.1.0");
  const ids = new Set<string>();
  for (const [path, methods] of Object.entries<any>(document.paths)) {
    for (const operation of Object.values<any>(methods)) {
      expect(ids.has(operation.operationId)).toBe(false);
      ids.add(operation.operationId);
      const named = (operation.parameters ?? []).filter((parameter: any) => parameter.in === "path").map((parameter: any) => parameter.name);
      expect(named.sort()).toEqual([...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]).sort());
      expect(operation.responses["4XX"].content["application/problem+json"].schema).toEqual({ $ref: "#/components/schemas/Problem" });
      expect(Object.keys(operation.responses).some((status) => status.startsWith("2"))).toBe(true);
    }
  }
  expect(ids.size).toBeGreaterThan(30);
});

test("requests are documented as strict as they are", () => {
  const body = document.paths["/v1/deployments"].post.requestBody.content["application/json"].schema;
  expect(body.additionalProperties).toBe(false);
  expect(body.required).toEqual(["name", "spec"]);
});
