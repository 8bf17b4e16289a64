/** Every route there is, against everybody there is: the table, the router and the documentation must agree. */
import { ROLES, type Role } from "@skep/core";
import { OPERATOR_ROUTES, type Route } from "@skep/protocol";
import fastify from "fastify";
import { describe, expect, test } from "vitest";
import { newToken } from "../../src/http/index.ts";
import { defineRoute, PUBLIC_PAGES, refuseStrayRoutes, registerRoutes } from "../../src/http/routing.ts";
import { systemClock, systemRng } from "@skep/runtime";
import { useApi } from "./use-api.ts";

const api = useApi();
const routes: readonly Route[] = OPERATOR_ROUTES;
const RANK = { viewer: 0, operator: 1, admin: 2 };
const SOME_ID = "0199a3c4-0000-7000-8000-000000000001";
const urlOf = (route: Route) => route.path.replace(":kind", "host").replace(/:(id|host|deployment|webhook|delivery|service)/g, SOME_ID);
const needed = (route: Route): Role | undefined => (route.access.kind === "role" ? route.access.role : undefined);

/** Methods and paths out of find-my-way's tree. */
function printed(tree: string): string[] {
  const trail: string[] = [];
  return tree.split("\n").flatMap((line) => {
    const match = /^((?:│ {3}| {4})*)[├└]── (\S+)(?: \(([A-Z, ]+)\))?$/.exec(line);
    if (match === null) return [];
    const depth = match[1]!.length / 4;
    trail.length = depth;
    trail[depth] = match[2]!;
    const path = trail.join("");
    return match[3] === undefined ? [] : match[3].split(", ").map((method) => `${method} ${path}`);
  });
}

test("the router knows the routes of the table, the public pages, and nothing else", () => {
  const found = printed(api.listener.app.printRoutes({ commonPrefix: false }));
  const rows = routes.map((route) => `${route.method} ${route.path}`);
  const pages = found.filter((line) => !rows.includes(line));
  expect(found).toEqual(expect.arrayContaining(rows));
  for (const line of pages) {
    const [method, path] = line.split(" ") as [string, string];
    expect(["GET", "HEAD"]).toContain(method);
    expect(PUBLIC_PAGES).toContain(path);
  }
  expect(pages.length).toBeGreaterThan(0);
});

test("the parser of the tree is not blind: it sees a route that is in no table", () => {
  const stray = fastify();
  stray.get("/v1/hosts", async () => "");
  stray.post("/v1/hosts/:host/self-destruct", async () => "");
  expect(printed(stray.printRoutes({ commonPrefix: false }))).toContain("POST /v1/hosts/:host/self-destruct");
});

test("a route in no table stops the start, and so does a row without a handler", () => {
  const stray = fastify();
  refuseStrayRoutes(stray);
  expect(() => stray.get("/v1/backdoor", async () => "")).toThrow(/in no table/);
  const requests = { principalOf: () => { throw new Error("none"); }, contextOf: () => { throw new Error("none"); } };
  expect(() => registerRoutes(fastify(), [], requests)).toThrow(/has no handler/);
  const stub = defineRoute("getHealthz", { replies: {}, handle: async () => ({ status: 200, body: undefined as never }) });
  expect(() => registerRoutes(fastify(), [stub, stub], requests)).toThrow(/two handlers/);
});

test("a table whose access was forgotten would not compile; one whose path differs does not start", () => {
  const app = fastify();
  refuseStrayRoutes(app);
  const row = routes.find((route) => route.id === "listHosts")!;
  expect(() => app.get("/v1/hostz", { config: { route: row } }, async () => "")).toThrow(/in no table/);
});

describe.each(routes.map((route) => [route.id, route] as const))("%s", (_id, route) => {
  test("needs a token unless it is public", async () => {
    const stranger = newToken(systemClock().now(), systemRng()).token;
    const other = (await api.makeToken("admin")).token;
    const attempts = [
      { role: "none" as const },
      { role: "none" as const, token: stranger },
      { role: "none" as const, token: `${other.slice(0, -1)}${other.endsWith("A") ? "B" : "A"}` },
      { role: "none" as const, headers: { authorization: "Basic YWRtaW46YWRtaW4=" } },
      { role: "none" as const, headers: { authorization: `bearer${other}` } },
    ];
    for (const attempt of attempts) {
      const answer = await api.call(route.method, urlOf(route), attempt);
      if (needed(route) === undefined) expect(answer.status).toBe(200);
      else {
        expect([answer.status, answer.json.code]).toEqual([401, "unauthenticated"]);
        expect(answer.headers["www-authenticate"]).toMatch(/^Bearer/);
      }
    }
  });

  test.each(ROLES)("as %s", async (role) => {
    const answer = await api.call(route.method, urlOf(route), { role, ...(route.method === "GET" || route.method === "DELETE" ? {} : { body: {} }) });
    const role_ = needed(route);
    if (role_ !== undefined && RANK[role] < RANK[role_]) {
      expect([answer.status, answer.json.code]).toEqual([403, "forbidden"]);
      expect(answer.json.detail).toContain(`role ${role_}`);
    } else {
      // Past the gate: whatever is said of the made-up id or the empty body, it is not about who asks.
      expect([401, 403]).not.toContain(answer.status);
      expect(answer.status).toBeLessThan(500);
    }
  });
});

test("the documentation describes every route with its access, and no other", async () => {
  const { json } = await api.call("GET", "/openapi.json", { role: "none" });
  const documented = Object.entries(json.paths as Record<string, Record<string, { operationId: string; security: unknown[] }>>).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => `${method.toUpperCase()} ${path.replace(/\{(\w+)\}/g, ":$1")} ${operation.operationId} ${operation.security.length === 0 ? "public" : "bearer"}`),
  );
  const rows = routes.map((route) => `${route.method} ${route.path} ${route.id} ${route.access.kind === "public" ? "public" : "bearer"}`);
  expect(documented.sort()).toEqual([...rows].sort());
});

test("pages need no token and answer nothing but GET", async () => {
  expect((await api.call("GET", "/docs", { role: "none" })).status).toBe(200);
  expect((await api.call("GET", "/docs/static/swagger-ui-bundle.js", { role: "none" })).status).toBe(200);
  expect((await api.call("POST", "/openapi.json", { role: "admin", body: {} })).json.code).toBe("route_not_found");
  for (const path of ["/docs/static/../../package.json", "/docs/static/%2e%2e%2f%2e%2e%2fpackage.json", "/docs/..%2f..%2fpackage.json"]) {
    const answer = await api.call("GET", path, { role: "none" });
    expect(answer.text).not.toContain("swagger-ui\"");
    expect(answer.status).toBeGreaterThanOrEqual(400);
  }
});
