/** The event stream never skips, wherever and whenever a reader comes back. */
import { eventually, ManualClock, seedFromEnv } from "@skep/testkit";
import { seededRng, below, type NewEvent } from "@skep/core";
import { afterEach, beforeAll, describe, expect, test } from "vitest";
import { startHarness, type Harness } from "./harness.ts";
import { readSse, type Reader } from "./sse.ts";
import { openStore, useApi } from "./use-api.ts";

const api = useApi({ limits: { streamsPerToken: 3 } });
let url = "";
const open: Reader[] = [];
beforeAll(async () => {
  url = await api.listener.listen({ host: "127.0.0.1", port: 0 });
});
afterEach(async () => {
  for (const reader of open.splice(0)) reader.close();
  await eventually(() => api.listener.streams() === 0, { what: "every stream has ended" });
});
const follow = async (query = "", headers: Record<string, string> = {}, token = api.tokens.viewer): Promise<Reader> => {
  const reader = await readSse(`${url}/v1/events${query}`, { authorization: `Bearer ${token}`, ...headers });
  open.push(reader);
  return reader;
};
const note = (n: number | string, extra: Partial<NewEvent> = {}): NewEvent => ({ kind: "test.noted", severity: "info", message: `n${n}`, ...extra });
const append = (n: number | string, extra: Partial<NewEvent> = {}) => api.store.transaction((tx) => tx.appendEvent(note(n, extra)));
/** Readers and the head come to what was appended once every older transaction on the server has ended, of another database too. */
async function settle(): Promise<void> {
  const [last] = await api.store.recentEvents(1);
  await eventually(async () => {
    const page = await api.store.readEvents(undefined, 10_000);
    return page.kind === "page" && page.events.some((event) => event.cursor === last?.cursor);
  }, { what: "the last event is below the horizon" });
}
async function appendAndSettle(n: number | string): Promise<void> {
  await append(n);
  await settle();
}
const messages = (reader: Reader) => reader.events().map((frame) => frame.data.message);

async function startStill(): Promise<{ readonly api: Harness; readonly url: string } & AsyncDisposable> {
  const still = await startHarness({ store: api.store, clock: new ManualClock(Date.now()) });
  return { api: still, url: await still.listener.listen({ host: "127.0.0.1", port: 0 }), [Symbol.asyncDispose]: () => still.close() };
}

test("what happens is told as it happens, with a position and a kind", async () => {
  const reader = await follow();
  await append("live");
  await eventually(() => reader.events().length === 1, { what: "the event arrives" });
  expect(reader.events()[0]).toMatchObject({ event: "test.noted", data: { message: "n1".replace("1", "live"), kind: "test.noted" } });
  expect(reader.events()[0]!.id).toBe(reader.events()[0]!.data.cursor);
  expect(reader.frames[0]).toMatchObject({ id: expect.any(String), retry: "2000" });
});

test("a reader that went away comes back to exactly what it missed", async () => {
  const first = await follow();
  for (let n = 0; n < 5; n++) await append(`a${n}`);
  await eventually(() => first.events().length === 5, { what: "five arrive" });
  first.close();
  for (let n = 0; n < 5; n++) await append(`b${n}`);
  const second = await follow("", { "last-event-id": first.events()[2]!.id! });
  await eventually(() => second.events().length >= 7, { what: "the rest arrives" });
  expect(messages(second)).toEqual(["na3", "na4", "nb0", "nb1", "nb2", "nb3", "nb4"]);
});

test("the list's next_cursor leads into the stream without a gap", async () => {
  await appendAndSettle("before");
  const { json } = await api.call("GET", "/v1/events?limit=1");
  expect(json.items.map((item: { message: string }) => item.message)).toEqual(["nbefore"]);
  await append("between");
  const reader = await follow(`?cursor=${encodeURIComponent(json.next_cursor)}`);
  await append("after");
  await eventually(() => messages(reader).includes("nafter"), { what: "the newest arrives" });
  expect(messages(reader)).toEqual(["nbetween", "nafter"]);
});

test("Last-Event-ID is newer than the address the reader started from", async () => {
  const start = await api.store.eventHead();
  await appendAndSettle("old");
  const middle = await api.store.eventHead();
  await append("new");
  const reader = await follow(`?cursor=${encodeURIComponent(start)}`, { "last-event-id": middle });
  await eventually(() => reader.events().length > 0, { what: "something arrives" });
  expect(messages(reader)).toEqual(["nnew"]);
});

test("commits out of order skip nothing: a later id that is visible first waits for the earlier one", async () => {
  const seed = seedFromEnv();
  const rng = seededRng(seed);
  const readers = [await follow(), await follow()];
  let release: () => void = () => undefined;
  const held = new Promise<void>((resolve) => (release = resolve));
  const slow = Array.from({ length: 2 }, (_, n) =>
    api.store.transaction(async (tx) => {
      await tx.appendEvent(note(`slow${n}`));
      await held;
    }),
  );
  const lane = async (from: number): Promise<void> => {
    for (let n = from; n < 60; n += 4) {
      await api.store.transaction(async (tx) => {
        await tx.appendEvent(note(`quick${n}`));
        for (let i = below(rng, 3); i > 0; i--) await tx.now();
      });
    }
  };
  try {
    await Promise.all([0, 1, 2, 3].map(lane));
  } finally {
    release();
    await Promise.all(slow);
  }
  const expected = [...Array.from({ length: 2 }, (_, n) => `nslow${n}`), ...Array.from({ length: 60 }, (_, n) => `nquick${n}`)];
  for (const reader of readers) {
    await eventually((status) => { status(`${reader.events().length}`); return reader.events().length >= 62; }, { what: "all 62 arrive" });
    expect(new Set(messages(reader))).toEqual(new Set(expected));
    expect(messages(reader)).toHaveLength(expected.length);
  }
  expect(messages(readers[0]!)).toEqual(messages(readers[1]!));
});

test("a filter shows its own and moves past the rest", async () => {
  const host = await api.activeHost("filtered");
  await settle();
  const reader = await follow("?host=filtered");
  await append("other");
  await append("ours", { hostId: host.id });
  await eventually(() => reader.events().length === 1, { what: "the host's event arrives" });
  expect(messages(reader)).toEqual(["nours"]);
  expect((await api.call("GET", "/v1/events?kind=test.&host=filtered")).json.items).toHaveLength(1);
  expect((await follow("?host=nobody")).problem.code).toBe("host_not_found");
});

test("a cursor of another database is 410, before the stream begins; nonsense is 400", async () => {
  const foreign = await follow("?cursor=0199a3c4-0000-7000-8000-000000000001.1.1");
  expect([foreign.status, foreign.problem.code]).toEqual([410, "cursor_expired"]);
  expect((await api.call("GET", "/v1/events?cursor=0199a3c4-0000-7000-8000-000000000001.1.1")).json.code).toBe("cursor_expired");
  expect((await follow("", { "last-event-id": "what" })).problem.code).toBe("cursor_mismatch");
  expect(api.listener.streams()).toBe(0);
});

test("a pruned position is 410", async () => {
  const old = await api.store.eventHead();
  for (let n = 0; n < 3; n++) await appendAndSettle(`pruned${n}`);
  await api.store.retain({ eventsMs: -60_000, idempotencyMs: 60_000, alertsMs: 60_000, historyMs: 3_600_000 });
  expect([(await follow("", { "last-event-id": old })).status]).toEqual([410]);
});

test("streams are counted: one too many is told so", async () => {
  for (let n = 0; n < 3; n++) expect((await follow()).status).toBe(200);
  const refused = await follow();
  expect([refused.status, refused.problem.code]).toEqual([429, "too_many_streams"]);
  expect((await follow("", {}, api.tokens.operator)).status).toBe(200);
});

test("a stream ends with its token: at once here, within seconds when revoked elsewhere", async () => {
  // Here: on a clock that stands still, so that no look at the tokens can be what ends it.
  await using still = await startStill();
  const here = await still.api.makeToken("viewer");
  const reader = await readSse(`${still.url}/v1/events`, { authorization: `Bearer ${here.token}` });
  expect(reader.status).toBe(200);
  await still.api.call("DELETE", `/v1/tokens/${here.id}`);
  await eventually(() => reader.isEnded, { what: "the stream of the revoked token ends" });

  const elsewhere = await api.makeToken("viewer");
  const readers = [await follow("", {}, elsewhere.token), await follow()];
  await api.store.transaction((tx) => tx.revokeApiToken(elsewhere.id));
  await eventually(() => readers[0]!.isEnded, { what: "the other one ends" });
  expect(readers[0]!.events().at(-1)).toMatchObject({ event: "problem", data: { code: "unauthenticated" } });
  expect(readers[1]!.isEnded).toBe(false);
});

test("without the Accept header it is a page", async () => {
  for (const accept of ["application/json", "*/*", "text/event-streams"]) {
    const answer = await api.call("GET", "/v1/events?limit=1", { headers: { accept } });
    expect(answer.json.next_cursor).toBeTruthy();
  }
});

describe("closing", () => {
  test("ends the streams and then the listener, without waiting for readers", async () => {
    const store = await openStore(api.url);
    const other = await startHarness({ store });
    const address = await other.listener.listen({ host: "127.0.0.1", port: 0 });
    const reader = await readSse(`${address}/v1/events`, { authorization: `Bearer ${other.tokens.viewer}` });
    expect(reader.status).toBe(200);
    await other.close();
    await reader.ended;
    expect(other.listener.streams()).toBe(0);
    await store.close();
  });
});
