/** What only real concurrency shows. Each rule has its control: the same race without the rule goes wrong. */
import type { BeatWrite, HostId, JobId, Store, TokenId } from "@skep/core";
import { addMs } from "@skep/core";
import { withConnection } from "@skep/store/server";
import { useDatabase } from "@skep/testkit/vitest";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { fillRows, idAt } from "./fill.ts";
import { openStore } from "./open-store.ts";

const many = <T>(count: number, make: (index: number) => Promise<T>): Promise<T[]> => Promise.all(Array.from({ length: count }, (_, index) => make(index)));

describe("one winner", () => {
  const database = useDatabase();
  let store: Store;
  beforeAll(async () => {
    await fillRows(database.url, 1);
    store = await openStore(database.url, { poolSizes: { api: 80 } });
    // A connection must be there within two seconds: eighty at once may not be, on a busy machine.
    for (let open = 10; open <= 80; open += 10) await many(open, () => store.now());
  });
  afterAll(() => store.close());

  test("40 parallel requests with one key are one operation (I1)", async () => {
    const key = { scope: "token:1 POST /v1/hosts", key: "same", bodyHash: "same" };
    const outcomes = await many(40, (index) =>
      store.transaction(async (tx) => {
        const outcome = await tx.claimIdempotency(key);
        if (outcome.kind === "claimed") {
          await tx.insertHost({ id: idAt<HostId>(1_000 + index), name: `made-${index}`, labels: {}, notes: undefined, address: undefined, agentPort: 1, allowedCidr: undefined });
          await tx.completeIdempotency(key, 201, { index });
        }
        return outcome.kind;
      }),
    );
    expect(outcomes.filter((kind) => kind === "claimed")).toHaveLength(1);
    expect(outcomes.filter((kind) => kind !== "claimed" && kind !== "in_progress" && kind !== "replay")).toEqual([]);
    const made = (await store.listHosts({ limit: 100, after: idAt(999) })).map((view) => view.host.name);
    expect(made).toHaveLength(1);
    expect(await store.transaction((tx) => tx.claimIdempotency(key))).toEqual({ kind: "replay", status: 201, body: { index: Number(made[0]!.slice(5)) } });
  });

  test("200 parallel claims of one enrolment token have one winner (I18)", async () => {
    const token = idAt<TokenId>(7);
    const expiresAt = addMs(await store.now(), 60_000);
    await store.transaction((tx) => tx.insertToken({ id: token, hostId: idAt<HostId>(1), secretHash: "h", expiresAt }));
    const won = await many(200, (index) => store.transaction((tx) => tx.claimToken(token, `spki-${index}`, "pem")));
    expect(won.filter(Boolean)).toHaveLength(1);
    expect((await store.findToken(token))!.claimedSpki).toBe(`spki-${won.indexOf(true)}`);
  });

  test("30 parallel requests open one row on a placement", async () => {
    const [row] = await store.listLifecycle({ limit: 1 });
    await store.transaction((tx) => tx.casLifecycle({ id: row!.id, expectedVersion: row!.version, because: "make room", status: "succeeded" }));
    const answers = await many(30, (index) =>
      store.transaction((tx) => tx.insertLifecycle({ ...row!, id: idAt<JobId>(2_000 + index), baseGeneration: undefined, retryOf: undefined, because: "race" })),
    );
    expect(answers.filter((answer) => answer === "inserted")).toHaveLength(1);
    expect(await store.listLifecycle({ limit: 100, open: true })).toHaveLength(1);
  });
});

describe("four sweepers over 2 000 rows (F29, I13)", () => {
  const database = useDatabase();
  const stores: Store[] = [];
  beforeAll(async () => {
    await fillRows(database.url, 2_000);
    for (let index = 0; index < 4; index++) stores.push(await openStore(database.url));
  });
  afterAll(() => many(4, (index) => stores[index]!.close()));

  /** Small: the others wait for a page's rows, and a wait for a lock has an end (2 s), which a slow machine comes to with large ones. */
  const PAGE = 20;

  /** Reads everything first, so that all four believe the same, then writes page by page. */
  const sweep = async (store: Store, start: Promise<void>): Promise<number> => {
    const rows = (await store.sweepCases(2_000, undefined)).cases.map((item) => item.row);
    await start;
    let moved = 0;
    for (let from = 0; from < rows.length; from += PAGE) {
      moved += await store.transaction(
        async (tx) => {
          let count = 0;
          for (const row of rows.slice(from, from + PAGE)) {
            const change = { id: row.id, expectedVersion: row.version, because: "swept", status: "lost" } as const;
            if ((await tx.casLifecycle(change)) !== undefined) count++;
          }
          return count;
        },
        { pool: "background" },
      );
    }
    return moved;
  };

  test("make each transition once", async () => {
    let go = (): void => undefined;
    const start = new Promise<void>((resolve) => (go = resolve));
    const sweeps = stores.map((store) => sweep(store, start));
    go();
    const moved = await Promise.all(sweeps);
    expect(moved.reduce((sum, count) => sum + count, 0)).toBe(2_000);
    const rows = await stores[0]!.listLifecycle({ limit: 2_000, open: true });
    expect(rows.every((row) => row.status === "lost" && row.version === 2)).toBe(true);
  });

  test("control: select, then update by id, makes it twice and overwrites the other's", async () => {
    await withConnection(database.url, (one) =>
      withConnection(database.url, async (two) => {
        const look = "SELECT id FROM lifecycle WHERE id = $1 AND status = 'lost'";
        const found = [await one(look, [idAt(1)]), await two(look, [idAt(1)])];
        expect(found.map((rows) => rows.length)).toEqual([1, 1]);
        const blind = "UPDATE lifecycle SET status = 'running', because = $2, version = version + 1 WHERE id = $1 RETURNING id";
        expect([await one(blind, [idAt(1), "one"]), await two(blind, [idAt(1), "two"])].map((rows) => rows.length)).toEqual([1, 1]);
        expect(await one("SELECT because, version::int FROM lifecycle WHERE id = $1", [idAt(1)])).toEqual([{ because: "two", version: 4 }]);
      }),
    );
  });
});

describe("sharing work", () => {
  const database = useDatabase();
  let stores: Store[];
  beforeAll(async () => {
    await fillRows(database.url, 300, "pending");
    stores = await many(2, () => openStore(database.url));
  });
  afterAll(() => many(2, (index) => stores[index]!.close()));

  test("two dispatchers claim every row, none twice", async () => {
    const claimed: string[] = [];
    await Promise.all(
      stores.map(async (store) => {
        for (;;) {
          const deliveries = await store.claimDispatchable(20, 600_000);
          claimed.push(...deliveries.map((item) => item.row.id));
          if (deliveries.length === 0) return;
        }
      }),
    );
    expect(claimed).toHaveLength(300);
    expect(new Set(claimed).size).toBe(300);
  });

  test("batches of the same hosts in opposite orders do not deadlock, and no beat is lost", async () => {
    const beat = (host: number, seq: number): BeatWrite => ({
      hostId: idAt<HostId>(host),
      agentVersion: `v${seq}`,
      full: {
        bootId: "boot", sessionEpoch: 0, seq, opSeq: seq, phase: "ready", jobIds: [], jobsTruncated: false, placements: [], observedError: undefined, resources: undefined,
        capabilities: [], cert: undefined, boot: undefined, snapshotHash: `hash-${seq}`,
      },
    });
    const hosts = Array.from({ length: 100 }, (_, index) => index + 1);
    for (let round = 0; round < 15; round++) {
      await Promise.all([
        stores[0]!.transaction((tx) => tx.writeBeats(hosts.map((host) => beat(host, 2 * round + 1))), { pool: "beats" }),
        stores[1]!.transaction((tx) => tx.writeBeats(hosts.toReversed().map((host) => beat(host, 2 * round + 2))), { pool: "beats" }),
      ]);
    }
    const views = await stores[0]!.listHosts({ limit: 100 });
    expect(views.map((view) => view.liveness!.seq)).toEqual(hosts.map(() => 30));
    expect(views.every((view) => view.report!.sinceSeq === 30)).toBe(true);
  });
});
