/** Many hosts with their health: the same words as one by one, in order, page by page, without a question per host. */
import { CLOSED_BREAKER, viewBreaker, type HostId } from "@skep/core";
import pg from "pg";
import { beforeAll, expect, test } from "vitest";
import { NOOP, useApi } from "./use-api.ts";

const api = useApi();
const LIST = "/v1/fleet/hosts";
const ids = new Map<string, HostId>();

const names = async (query: string): Promise<string[]> => (await api.call("GET", `${LIST}?${query}`)).json.items.map((item: { name: string }) => item.name);
const move = (name: string, to: "suspect" | "unreachable") => api.store.transaction((tx) => tx.casHostStatus(ids.get(name)!, "active", to, "test"));

beforeAll(async () => {
  for (const name of ["e-fine", "d-fine", "c-cordoned", "b-suspect", "a-gone", "z-troubled"]) ids.set(name, (await api.activeHost(name)).id);
  for (const name of ["m-pending", "n-left"]) ids.set(name, (await api.call("POST", "/v1/hosts", { body: { name, labels: { zone: "eu1" } } })).json.host.id);
  await api.call("DELETE", "/v1/hosts/n-left");
  await api.call("POST", "/v1/deployments", { body: { name: "site", spec: NOOP, placement: { hosts: ["e-fine", "a-gone"] } } });
  await move("b-suspect", "suspect");
  await move("a-gone", "unreachable");
  await api.call("PATCH", "/v1/hosts/c-cordoned", { body: { schedulable: false } });
  // Active, and this master's circuit to it is open.
  const { circuit } = api.agents;
  api.agents.openCircuits = () => [ids.get("z-troubled")!];
  api.agents.circuit = (host) => (host.name === "z-troubled" ? { ...viewBreaker(CLOSED_BREAKER, 0), state: "open", consecutiveFailures: 5, cause: "failures", openedForMs: 1_000, retryInMs: 59_000 } : circuit(host));
});

const WORST_FIRST = ["a-gone", "b-suspect", "z-troubled", "m-pending", "c-cordoned", "d-fine", "e-fine"];

test("the worst first, or by name; decommissioned hosts only where they are asked for", async () => {
  expect(await names("sort=attention")).toEqual(WORST_FIRST);
  expect(await names("sort=name")).toEqual([...WORST_FIRST].sort());
  expect(await names("")).toEqual([...WORST_FIRST].sort());
  for (const sort of ["name", "attention"]) expect(await names(`sort=${sort}&status=decommissioned`)).toEqual(["n-left"]);
});

test("each item is what the host's own page says", async () => {
  const { items } = (await api.call("GET", `${LIST}?sort=attention`)).json;
  const still = (item: any) => ({ ...item, liveness: { ...item.liveness, age_ms: undefined, missed: undefined }, breaker: { ...item.breaker, opened_at: undefined, retry_at: undefined }, reasons: item.reasons.map((reason: any) => reason.code) });
  for (const item of items) expect(still(item)).toEqual(still((await api.call("GET", `/v1/hosts/${item.name}/health`)).json));
  expect(items[0]).toMatchObject({ health: "unhealthy", placements: { total: 1, running: 0, unknown: 1 } });
  expect(items[2]).toMatchObject({ health: "degraded", breaker: { state: "open", consecutive_failures: 5 }, reasons: [{ code: "circuit_open", since: expect.any(String) as string, next: expect.stringMatching(/skep host breaker-reset z-troubled/) as string }] });
});

test("filters: by the judged word, by status, by label, together", async () => {
  for (const sort of ["name", "attention"]) {
    expect((await names(`sort=${sort}&health=healthy`)).sort()).toEqual(["c-cordoned", "d-fine", "e-fine"]);
    expect((await names(`sort=${sort}&health=degraded`)).sort()).toEqual(["b-suspect", "z-troubled"]);
    expect(await names(`sort=${sort}&health=degraded&status=suspect`)).toEqual(["b-suspect"]);
    expect(await names(`sort=${sort}&label=zone=eu1`)).toEqual(["m-pending"]);
    expect(await names(`sort=${sort}&label=zone=eu1&health=healthy`)).toEqual([]);
  }
});

test.each(["sort=attention", "sort=name", "sort=attention&health=healthy", "sort=name&health=healthy", "sort=name&health=unhealthy"])("%s: page by page it is the same list, whatever the page's size", async (query) => {
  const whole = await names(`${query}&limit=500`);
  for (let limit = 1; limit <= whole.length + 1; limit++) {
    const seen: string[] = [];
    let cursor: string | null = null;
    do {
      const { json }: { json: any } = await api.call("GET", `${LIST}?${query}&limit=${limit}${cursor === null ? "" : `&cursor=${encodeURIComponent(cursor)}`}`);
      expect(json.items.length).toBeLessThanOrEqual(limit);
      seen.push(...json.items.map((item: { name: string }) => item.name));
      cursor = json.next_cursor;
    } while (cursor !== null);
    expect(seen).toEqual(whole);
  }
});

test("a cursor of another order, and one that nobody gave out, are refused", async () => {
  const { next_cursor } = (await api.call("GET", `${LIST}?sort=attention&limit=2`)).json;
  expect((await api.call("GET", `${LIST}?sort=name&limit=2&cursor=${next_cursor}`)).json.code).toBe("cursor_mismatch");
  for (const cursor of ["", "x", "name", "name.0.x.a", `name.0.${ids.get("d-fine")!}.`, `attention.1000.${ids.get("d-fine")!}.a`, `name.0.${ids.get("d-fine")!}.a.b`, ids.get("d-fine")!]) {
    for (const sort of ["name", "attention"]) expect((await api.call("GET", `${LIST}?sort=${sort}&cursor=${cursor}`)).json.code, cursor).toBe("cursor_mismatch");
  }
  for (const query of ["limit=501", "limit=0", "sort=age", "health=ill", "label=nothing", "colour=red"]) expect((await api.call("GET", `${LIST}?${query}`)).json.code, query).toBe("invalid_request");
});

/** How many statements the driver sends while `work` runs. */
async function statements(work: () => Promise<unknown>): Promise<number> {
  const own = pg.Client.prototype.query;
  let count = 0;
  pg.Client.prototype.query = function (this: pg.Client, ...args: never[]) {
    count += 1;
    return (own as (...all: unknown[]) => unknown).apply(this, args);
  } as typeof own;
  try {
    await work();
  } finally {
    pg.Client.prototype.query = own;
  }
  return count;
}

test("a page of many hosts costs as many statements as a page of one", async () => {
  for (const sort of ["name", "attention"]) {
    const [one, many] = [await statements(() => api.call("GET", `${LIST}?sort=${sort}&limit=1`)), await statements(() => api.call("GET", `${LIST}?sort=${sort}&limit=500`))];
    expect(one).toBe(many);
    // The token, the views, the certificates, the placements and the clock.
    expect(many).toBeLessThanOrEqual(6);
  }
});

test("hosts that come and go between two pages shift nobody else", async () => {
  const first = (await api.call("GET", `${LIST}?sort=attention&limit=3`)).json;
  await api.store.transaction((tx) => tx.insertHost({ id: crypto.randomUUID() as HostId, name: "0-new", labels: {}, notes: undefined, address: undefined, agentPort: 0, allowedCidr: undefined }));
  await api.store.transaction((tx) => tx.casHostStatus(ids.get("a-gone")!, "unreachable", "active", "test"));
  const rest = await names(`sort=attention&limit=500&cursor=${first.next_cursor}`);
  expect(first.items.map((item: { name: string }) => item.name)).toEqual(WORST_FIRST.slice(0, 3));
  expect(rest.filter((name) => name !== "0-new" && name !== "a-gone")).toEqual(WORST_FIRST.slice(3));
});
