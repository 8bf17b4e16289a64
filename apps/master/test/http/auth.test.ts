/** Tokens: what lets in, what no longer does, and what is written down about it. */
import { addMs } from "@skep/core";
import { systemClock, systemRng } from "@skep/runtime";
import { eventually, ManualClock } from "@skep/testkit";
import pg from "pg";
import { afterAll, describe, expect, test } from "vitest";
import { newToken, parseToken } from "../../src/http/index.ts";
import { secretMatches } from "../../src/http/tokens.ts";
import { useApi } from "./use-api.ts";

const api = useApi();
const audit = async (where: string) => {
  const client = new pg.Client(api.url);
  await client.connect();
  try {
    return (await client.query<{ actor: string; subject: string; detail: unknown }>(`select actor, subject, detail from audit_log where ${where}`)).rows;
  } finally {
    await client.end();
  }
};

describe("tokens", () => {
  const made = newToken(systemClock().now(), systemRng());
  test("carry an id and 256 bits, and only the secret's hash is kept", () => {
    const parsed = parseToken(made.token)!;
    expect(parsed.id).toBe(made.id);
    expect(made.secretHash).toMatch(/^[0-9a-f]{64}$/);
    expect(made.secretHash).not.toContain(parsed.secret);
    expect(secretMatches(parsed.secret, made.secretHash)).toBe(true);
    expect(secretMatches(`${parsed.secret}x`, made.secretHash)).toBe(false);
    expect(secretMatches(parsed.secret, undefined)).toBe(false);
    expect(secretMatches(parsed.secret, "short")).toBe(false);
  });
  test.each(["", "skp_", "skp_x_y", made.token.slice(1), `${made.token} `, made.token.replace("skp", "skq"), made.token.toUpperCase()])("%j is none", (text) => {
    expect(parseToken(text)).toBeUndefined();
  });
});

test("a token made over the API works at once, is shown once, and is gone with the next request after its revocation", async () => {
  const created = await api.call("POST", "/v1/tokens", { body: { name: "ci", role: "operator" } });
  expect(created.status).toBe(201);
  const { token, id } = created.json;
  expect((await api.call("GET", "/v1/hosts", { token })).status).toBe(200);
  const list = await api.call("GET", "/v1/tokens");
  expect(list.text).not.toContain(token.split("_")[2]);
  expect(list.json.items.map((item: { id: string }) => item.id)).toContain(id);
  expect((await api.call("DELETE", `/v1/tokens/${id}`)).json.revoked_at).not.toBeNull();
  expect((await api.call("GET", "/v1/hosts", { token })).json).toMatchObject({ code: "unauthenticated", detail: "The token was revoked." });
  // Revoking again changes nothing and says the same.
  expect((await api.call("DELETE", `/v1/tokens/${id}`)).status).toBe(200);
  expect(await audit(`action = 'token.revoke' and subject = 'token:${id}'`)).toHaveLength(1);
});

test("a token revoked by another master is refused as well: nothing is remembered here", async () => {
  const { token, id } = await api.makeToken("viewer");
  expect((await api.call("GET", "/v1/hosts", { token })).status).toBe(200);
  await api.store.transaction((tx) => tx.revokeApiToken(id));
  expect((await api.call("GET", "/v1/hosts", { token })).status).toBe(401);
});

test("an expired token is refused, by database time", async () => {
  const made = newToken(systemClock().now(), systemRng());
  const now = await api.store.now();
  await api.store.transaction((tx) => tx.insertApiToken({ id: made.id, name: "old", role: "admin", secretHash: made.secretHash, expiresAt: addMs(now, -1) }));
  expect((await api.call("GET", "/v1/hosts", { token: made.token })).json).toMatchObject({ code: "unauthenticated", detail: "The token has expired." });
});

test("lists of tokens go page by page", async () => {
  const seen: string[] = [];
  let cursor: string | null = "";
  while (cursor !== null) {
    const { json } = await api.call("GET", `/v1/tokens?limit=2${cursor === "" ? "" : `&cursor=${cursor}`}`);
    seen.push(...json.items.map((item: { id: string }) => item.id));
    cursor = json.next_cursor;
  }
  expect(seen).toEqual((await api.store.listApiTokens()).map((token) => token.id).sort());
});

test("denials are written down, and a flood of them is not", async () => {
  const { token, id } = await api.makeToken("viewer");
  for (let i = 0; i < 25; i++) expect((await api.call("POST", "/v1/hosts", { token, body: { name: "x" } })).status).toBe(403);
  const rows = await eventually(async () => {
    const found = await audit(`actor = 'token:${id}' and outcome = 'denied'`);
    return found.length > 0 && found;
  }, { what: "a denial is written down" });
  expect(rows.length).toBeLessThanOrEqual(11);
  expect(rows[0]).toMatchObject({ subject: "route:createHost", detail: { code: "forbidden" } });
});

test("no token, in whatever place it is pasted, reaches a log, an error or the ledger", async () => {
  const canary = "skp_0199a3c4000070008000000000000001_CANARYCANARYCANARYCANARYCANARYCANARYCANARY1";
  const secret = canary.split("_")[2]!;
  await api.call("GET", "/v1/hosts", { token: canary });
  await api.call("GET", `/v1/${canary}`);
  await api.call("GET", "/v1/hosts", { headers: { "x-request-id": canary.slice(0, 64), "idempotency-key": canary } });
  await api.call("POST", "/v1/deployments", { body: { name: canary, spec: canary } });
  await api.call("POST", "/v1/deployments", { payload: `{"name": ${canary}` });
  const made = await api.call("POST", "/v1/hosts", { body: { name: "canary-host" } });
  const bundleSecret = made.json.bundle.token as string;
  expect(bundleSecret.length).toBeGreaterThan(20);
  expect(api.logs.length).toBeGreaterThan(0);
  expect(api.logs.join("\n")).not.toContain(secret);
  expect(api.logs.join("\n")).not.toContain(bundleSecret);
  const client = new pg.Client(api.url);
  await client.connect();
  const tables = await client.query<{ table_name: string }>("select table_name from information_schema.tables where table_schema = 'public'");
  for (const { table_name } of tables.rows) {
    const rows = JSON.stringify((await client.query(`select * from "${table_name}"`)).rows);
    expect(rows, table_name).not.toContain(secret);
    expect(rows, table_name).not.toContain(bundleSecret);
    for (const token of Object.values(api.tokens)) expect(rows, table_name).not.toContain(token.split("_")[2]);
  }
  await client.end();
});

describe("limits", () => {
  // On a clock of its own, which stands still: an allowance that filled up again meanwhile would be no fault of ours.
  const limited = useApi({ clock: new ManualClock(Date.now()), limits: { requestsPerMinute: 10, unauthenticatedPerMinute: 5, hostCreationsPerMinute: 2 } });
  test("each token has its own, and is told when to come back", async () => {
    const greedy = (await limited.makeToken("viewer")).token;
    const statuses = [];
    for (let i = 0; i < 12; i++) statuses.push((await limited.call("GET", "/v1/version", { token: greedy })).status);
    expect(statuses.filter((status) => status === 200)).toHaveLength(10);
    const refused = await limited.call("GET", "/v1/version", { token: greedy });
    expect(refused.json).toMatchObject({ code: "rate_limited", retryable: true });
    expect(Number(refused.headers["retry-after"])).toBeGreaterThan(0);
    expect((await limited.call("GET", "/v1/version", { token: (await limited.makeToken("viewer")).token })).status).toBe(200);
  });
  test("failed attempts of an address are limited, and its good tokens are not", async () => {
    const codes = [];
    for (let i = 0; i < 7; i++) codes.push((await limited.call("GET", "/v1/version", { role: "none" })).json.code);
    expect(codes).toEqual([...Array(5).fill("unauthenticated"), "rate_limited", "rate_limited"]);
    expect((await limited.call("GET", "/v1/version", { role: "operator" })).status).toBe(200);
    expect((await limited.call("GET", "/healthz", { role: "none" })).status).toBe(200);
  });
  test("hosts are created at a pace of their own", async () => {
    const statuses = [];
    for (const name of ["a1", "a2", "a3"]) statuses.push((await limited.call("POST", "/v1/hosts", { body: { name } })).status);
    expect(statuses).toEqual([201, 201, 429]);
    expect((await limited.call("GET", "/v1/hosts")).status).toBe(200);
  });
});

describe("shedding", () => {
  const busy = useApi({ limits: { inFlight: 2 } });
  let release: () => void = () => undefined;
  afterAll(() => release());
  test("what comes on top of the requests being worked on is told to come back, and places are given back", async () => {
    const gate = new Promise<void>((resolve) => (release = resolve));
    const health = busy.agents.health;
    await busy.activeHost("slow");
    busy.agents.health = async (host) => {
      await gate;
      return health(host);
    };
    const waiting = [busy.call("POST", "/v1/hosts/check", { body: {} }), busy.call("POST", "/v1/hosts/check", { body: {} })];
    let shed = await busy.call("GET", "/v1/version");
    while (shed.status === 200) shed = await busy.call("GET", "/v1/version");
    expect(shed.json.code).toBe("overloaded");
    expect(shed.headers["retry-after"]).toBe("1");
    expect((await busy.call("GET", "/healthz", { role: "none" })).status).toBe(200);
    release();
    expect((await Promise.all(waiting)).map((answer) => answer.status)).toEqual([200, 200]);
    expect((await busy.call("GET", "/v1/version")).status).toBe(200);
  });
});

