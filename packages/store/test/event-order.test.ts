/** Events are never skipped, however late a transaction commits (rulings 21). */
import type { EventCursor, Store } from "@skep/core";
import { below, seededRng } from "@skep/core";
import { runSql, withConnection } from "@skep/store/server";
import { eventually, seedFromEnv } from "@skep/testkit";
import { useDatabase } from "@skep/testkit/vitest";
import { afterAll, beforeAll, expect, test } from "vitest";
import { openStore } from "./open-store.ts";

const database = useDatabase();
let store: Store;
beforeAll(async () => void (store = await openStore(database.url)));
afterAll(() => store.close());

const INSERT = "INSERT INTO events (kind, severity, message) VALUES ($1, 'info', 'x') RETURNING id";

async function read(after: EventCursor | undefined, limit = 100): Promise<{ kinds: string[]; next: EventCursor }> {
  const page = await store.readEvents(after, limit);
  if (page.kind !== "page") throw new Error("expired");
  return { kinds: page.events.map((event) => event.kind), next: page.next };
}

test("an event that commits late is not skipped; a reader of `id > last` skips it", async () => {
  await withConnection(database.url, (late) =>
    withConnection(database.url, async (early) => {
      const start = await store.eventHead();
      await late("BEGIN");
      await late(INSERT, ["late"]);
      await early(INSERT, ["early"]);

      // The control: everybody's first idea of a cursor.
      const naive = async (after: number) => early("SELECT id::int AS id, kind FROM events WHERE id > $1 ORDER BY id", [after]);
      const [seen] = await naive(0);
      expect(seen!["kind"]).toBe("early");

      const held = await read(start);
      expect(held.kinds).toEqual([]);
      await late("COMMIT");

      expect(await naive(Number(seen!["id"]))).toEqual([]);
      const all = await eventually(async () => {
        const page = await read(held.next);
        return page.kinds.length === 2 && page;
      }, { what: "both events" });
      expect(all.kinds).toEqual(["late", "early"]);
      expect((await read(all.next)).kinds).toEqual([]);
    }),
  );
});

test("a follower of many interleaved writers sees every event once", async () => {
  const rng = seededRng(seedFromEnv());
  let cursor = await store.eventHead();
  const seen: string[] = [];
  let writing = 8;
  const writers = Array.from({ length: 8 }, async (_, writer) => {
    await withConnection(database.url, async (run) => {
      for (let round = 0; round < 12; round++) {
        await run("BEGIN");
        for (let index = below(rng, 4); index >= 0; index--) {
          await run(INSERT, [`w${writer}`]);
          await run("SELECT pg_sleep($1)", [below(rng, 5) / 1_000]);
        }
        await run(below(rng, 5) === 0 ? "ROLLBACK" : "COMMIT");
      }
    });
    writing--;
  });
  await eventually(async () => {
    const done = writing === 0;
    const page = await store.readEvents(cursor, 7);
    if (page.kind !== "page") throw new Error("expired");
    cursor = page.next;
    seen.push(...page.events.map((event) => event.cursor));
    const [{ count }] = (await runSql(database.url, "SELECT count(*)::int AS count FROM events WHERE kind LIKE 'w%'")) as [{ count: number }];
    return done && seen.length >= count;
  }, { what: "every event", timeoutMs: 60_000 });
  await Promise.all(writers);
  const all = await runSql(database.url, "SELECT xid::text || '.' || id::text AS position FROM events WHERE kind LIKE 'w%' ORDER BY xid, id");
  expect(seen.map((at) => at.slice(37))).toEqual(all.map((row) => row["position"]));
});

test("a pruned position is told so, the head is not", async () => {
  const start = await store.eventHead();
  await runSql(database.url, INSERT, ["doomed"]);
  await eventually(async () => (await read(start)).kinds.length === 1, { what: "the event" });
  const head = await store.eventHead();
  // Only what every reader has come past is pruned, and they had.
  expect((await store.retain({ eventsMs: -60_000, idempotencyMs: 60_000, alertsMs: 60_000, historyMs: 3_600_000 })).events).toBeGreaterThan(0);
  expect(await store.readEvents(start, 10)).toEqual({ kind: "expired" });
  expect(await store.readEvents(head, 10)).toMatchObject({ kind: "page", events: [] });
  expect(await store.readEvents(undefined, 10)).toMatchObject({ kind: "page", events: [] });
});
