/** A broken database is one typed error, soon, without anybody's secrets; and the store works again afterwards. */
import { connect, createServer } from "node:net";
import type { AddressInfo, Socket } from "node:net";
import { SIGNAL_TOPICS, SkepError } from "@skep/core";
import type { DeploymentId, HostId, SignalTopic, Store, TokenId } from "@skep/core";
import { runSql, withConnection } from "@skep/store/server";
import { eventually, tempDatabase } from "@skep/testkit";
import { useDatabase } from "@skep/testkit/vitest";
import { drizzle } from "drizzle-orm/node-postgres";
import pg from "pg";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { enrolmentTokens } from "../src/schema/index.ts";
import { fillRows, idAt } from "./fill.ts";
import { openStore } from "./open-store.ts";

const database = useDatabase();
let store: Store;
beforeAll(async () => {
  await fillRows(database.url, 3);
  store = await openStore(database.url, { poolSizes: { api: 3, beats: 2, background: 2 } });
});
afterAll(() => store.close());

const caught = async (work: Promise<unknown>): Promise<Error> => {
  const error = await work.then(() => undefined, (reason: unknown) => reason);
  if (!(error instanceof Error)) throw new Error("it did not fail");
  return error;
};
const everythingOf = (error: Error): string => JSON.stringify([error.message, error.stack, Object.entries(error), String(error.cause)]);
/** Ends every connection of the store but ours. */
const cutAll = (like: string) =>
  runSql(database.url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE '${like}' AND pid <> pg_backend_pid()`);

test("an error names the constraint and never a value", async () => {
  const token = { id: idAt<TokenId>(1), hostId: idAt<HostId>(99), secretHash: "TOP-SECRET", expiresAt: await store.now() };
  const error = await caught(store.transaction((tx) => tx.insertToken(token)));
  expect(error).toMatchObject({ name: "StoreError", sqlState: "23503", constraint: "enrollment_tokens_host_id_fkey" });
  expect(everythingOf(error)).not.toContain("TOP-SECRET");
  // The control: what drizzle would have said.
  const pool = new pg.Pool({ connectionString: database.url });
  const raw = await caught(drizzle(pool).insert(enrolmentTokens).values(token));
  await pool.end();
  expect(everythingOf(raw)).toContain("TOP-SECRET");
});

test("a transaction whose failure was swallowed is not reported as done", async () => {
  const id = idAt<HostId>(50);
  const error = await caught(
    store.transaction(async (tx) => {
      await tx.insertHost({ id, name: "never", labels: {}, notes: undefined, address: undefined, agentPort: 1, allowedCidr: undefined });
      await tx.insertToken({ id: idAt<TokenId>(2), hostId: idAt<HostId>(99), secretHash: "x", expiresAt: 0 as never }).catch(() => undefined);
    }),
  );
  expect(error).toMatchObject({ name: "StoreError", sqlState: "25P02" });
  expect(await store.findHost(id)).toBeUndefined();
});

test("a caller's own error comes back as it is", async () => {
  const mine = new SkepError("host_exists");
  expect(await caught(store.transaction(() => Promise.reject(mine)))).toBe(mine);
});

test("connections that are cut are an outage, and then it works again", async () => {
  const error = await caught(
    store.transaction(async (tx) => {
      await tx.now();
      await cutAll("skep-test-api");
      return tx.now();
    }),
  );
  expect(error).toMatchObject({ name: "SkepError", code: "database_unavailable", retryable: true });
  await eventually(() => store.now(), { what: "a working connection" });
});

test("a lock that is not given back is an outage within its limit, not a hang", async () => {
  await withConnection(database.url, async (run) => {
    await run("BEGIN");
    await run("SELECT * FROM deployments WHERE id = $1 FOR UPDATE", [idAt(1)]);
    const error = await caught(store.transaction((tx) => tx.lockDeployment(idAt<DeploymentId>(1))));
    expect(error).toMatchObject({ code: "database_unavailable", detail: expect.stringContaining("55P03") as string });
    await run("ROLLBACK");
  });
});

test("a full API pool starves neither beats nor the sweep, and sheds what it cannot serve (F21)", async () => {
  // A wait for a lock ends after two seconds, and with it the pool is no longer full: what a stall took from the test is tried again.
  const attempt = () => withConnection(database.url, async (run) => {
    await run("BEGIN");
    await run("SELECT * FROM deployments WHERE id = $1 FOR UPDATE", [idAt(1)]);
    let waiting = 30;
    const stuck = Array.from({ length: 30 }, () => caught(store.transaction((tx) => tx.lockDeployment(idAt<DeploymentId>(1)))).finally(() => waiting--));
    await eventually(async () => waiting === 0 || (await runSql(database.url, "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name = 'skep-test-api'")).length >= 3, { what: "the API pool is full" });
    await store.transaction((tx) => tx.writeBeats([{ hostId: idAt<HostId>(1), agentVersion: "1" }]), { pool: "beats" });
    expect((await store.sweepCases(10, undefined)).cases).toHaveLength(3);
    // They are still stuck: beats and sweep went past them.
    const wentPast = waiting > 0;
    await run("ROLLBACK");
    const codes = (await Promise.allSettled(stuck)).map((result) => (result.status === "fulfilled" ? (result.value as SkepError).code : undefined));
    expect(codes).toContain("overloaded");
    return wentPast;
  });
  await eventually(attempt, { what: "beats and sweep to go past those that are stuck", timeoutMs: 60_000 });
});

test("a server that is not there, does not answer, or does not let us in is an outage at once", async () => {
  const openSockets = new Set<Socket>();
  const blackHole = createServer((socket) => void openSockets.add(socket.on("error", () => undefined)));
  await new Promise<void>((resolve) => blackHole.listen(0, "127.0.0.1", resolve));
  const { port } = blackHole.address() as AddressInfo;
  const urls = [`postgres://u:hunter2@127.0.0.1:1/x`, `postgres://u:hunter2@127.0.0.1:${port}/x`, database.url.replace(/:[^:@]+@/, ":hunter2@"), database.url.replace(/\/[^/]+$/, "/not_there")];
  for (const url of urls) {
    const error = await caught(openStore(url));
    expect(error).toMatchObject({ code: "database_unavailable" });
    expect(everythingOf(error)).not.toContain("hunter2");
  }
  for (const socket of openSockets) socket.destroy();
  await new Promise((resolve) => blackHole.close(resolve));
});

test("a server that falls silent in a transaction is an outage, and that connection is not used again (F20)", async () => {
  const { hostname, port } = new URL(database.url);
  const sockets = new Set<Socket>();
  const unanswered: string[] = [];
  let frozen = false;
  const proxy = createServer((client) => {
    const server = connect(Number(port), hostname);
    for (const socket of [client, server]) sockets.add(socket.on("error", () => undefined));
    client.on("data", (data) => (frozen ? unanswered.push(data.toString("latin1")) : server.write(data)));
    server.on("data", (data) => !frozen && client.write(data));
    client.on("close", () => server.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  const url = new URL(database.url);
  url.port = String((proxy.address() as AddressInfo).port);
  const through = await openStore(url.href);
  const error = await caught(
    through.transaction(async (tx) => {
      await tx.now();
      frozen = true;
      return tx.now();
    }),
  );
  expect(error).toMatchObject({ code: "database_unavailable" });
  expect(unanswered.join("")).toContain("clock_timestamp");
  expect(unanswered.join("")).not.toContain("ROLLBACK");
  frozen = false;
  expect(await through.now()).toBeGreaterThan(0);
  await through.close();
  for (const socket of sockets) socket.destroy();
  await new Promise((resolve) => proxy.close(resolve));
});

test("a page's position that no page ended with is the caller's mistake, not an outage", async () => {
  await expect(store.listHosts({ limit: 1, after: "x'; DROP TABLE hosts" })).rejects.toMatchObject({ code: "cursor_mismatch" });
});

test("signals come back after their connection was cut, and say that something may have been missed", async () => {
  const heard: SignalTopic[] = [];
  const leave = store.onSignal((topic) => void heard.push(topic));
  await eventually(() => heard.length >= SIGNAL_TOPICS.length, { what: "the signals of the first connection" });
  heard.length = 0;
  expect(await cutAll("skep-test-signals")).toHaveLength(1);
  await eventually(() => new Set(heard).size === SIGNAL_TOPICS.length, { what: "every topic after the reconnect" });
  leave();
});

test("closing leaves no connection behind", async () => {
  await using own = await tempDatabase({ url: inject("postgres").embedded });
  const closing = await openStore(own.url);
  closing.onSignal(() => undefined);
  await closing.now();
  await Promise.all([closing.close(), closing.close()]);
  await eventually(async () => (await runSql(own.url, "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()")).length === 0, { what: "no connection" });
  await expect(closing.now()).rejects.toMatchObject({ code: "database_unavailable" });
});
