/** kill -9 of the server under load: what was acknowledged is there, and everything else was an outage (F17, I1). */
import { join } from "node:path";
import type { HostId, Store } from "@skep/core";
import { instant, seededRng, uuidv7 } from "@skep/core";
import { systemClock } from "@skep/runtime";
import { migrate } from "@skep/store";
import { startEmbeddedPostgres } from "@skep/store/server";
import { eventually, tempDir } from "@skep/testkit";
import { expect, test } from "vitest";
import { openStore, silentLogger } from "./open-store.ts";

const KILLS = 4;

test("acknowledged rows survive every kill -9 of PostgreSQL", { timeout: 300_000 }, async () => {
  const dataDir = join(tempDir("crash"), "data");
  const run = (port: number) => startEmbeddedPostgres({ dataDir, clock: systemClock(), logger: silentLogger, port });
  let server = await run(0);
  const { url, port } = server;
  await migrate(url);
  const store: Store = await openStore(url);
  const acked: string[] = [];
  const refused: unknown[] = [];
  let stopping = false;
  const rng = seededRng(3);
  let made = 0;

  const worker = async (): Promise<void> => {
    while (!stopping) {
      const id = uuidv7(instant(1_700_000_000_000 + made++), rng) as HostId;
      try {
        await store.transaction(async (tx) => {
          await tx.insertHost({ id, name: id, labels: {}, notes: undefined, address: undefined, agentPort: 1, allowedCidr: undefined });
          await tx.appendEvent({ kind: "host.created", severity: "info", message: "x", hostId: id });
        });
        acked.push(id);
      } catch (error) {
        refused.push(error);
        await systemClock().sleep(20);
      }
    }
  };
  const workers = Array.from({ length: 4 }, worker);
  try {
    for (let kill = 1; kill <= KILLS; kill++) {
      const enough = acked.length + 30;
      await eventually(() => acked.length >= enough, { what: `30 more acknowledged before kill ${kill}`, timeoutMs: 60_000 });
      process.kill(server.pid, "SIGKILL");
      await server.exited;
      server = await run(port);
    }
    const enough = acked.length + 30;
    await eventually(() => acked.length >= enough, { what: "work goes on after the last start", timeoutMs: 60_000 });
    stopping = true;
    await Promise.all(workers);
    await checkLedger();
  } finally {
    stopping = true;
    await Promise.all(workers);
    await store.close();
    await server.stop();
  }

  async function checkLedger(): Promise<void> {
    const stored = new Set<string>();
    for (let after: string | undefined; ; ) {
      const page = await store.listHosts({ limit: 500, after });
      for (const view of page) stored.add(view.host.id);
      if (page.length < 500) break;
      after = page.at(-1)!.host.id;
    }
    const events = await store.recentEvents(100_000);
    expect(acked.filter((id) => !stored.has(id))).toEqual([]);
    expect(new Set(events.map((event) => event.hostId))).toEqual(stored);
    expect(refused.length).toBeGreaterThan(0);
    for (const error of refused) expect(error).toMatchObject({ name: "SkepError", code: expect.stringMatching(/^(database_unavailable|overloaded)$/) as string });
  }
});
