/** The pins in memory: fresh by poll when signals are lost, and closed when the database is away. */
import { beforeEach, describe, expect, test } from "vitest";
import { SkepError, type HostId, type Store } from "@skep/core";
import { createLogger, systemRng } from "@skep/runtime";
import { createMemoryStore, ManualClock, tempAuthority } from "@skep/testkit";
import { createPinCache, MAX_AGE_MS, POLL_MS, type PinCache } from "./pin-cache.ts";
import { PRODUCTION_POLICY } from "@skep/core";

const logger = createLogger({ level: "silent", name: "test" });
const authority = tempAuthority();
let clock: ManualClock;
let store: Store;
let away: boolean;
let reads: number;
let cache: PinCache;
const host = authority.host("web-01");

beforeEach(async () => {
  clock = new ManualClock();
  const memory = createMemoryStore({ clock, policy: PRODUCTION_POLICY, rng: systemRng() } as Parameters<typeof createMemoryStore>[0]);
  away = false;
  reads = 0;
  const check = (): void => {
    if (away) throw new SkepError("database_unavailable");
  };
  store = {
    ...memory,
    transaction: (work, options) => memory.transaction(work, options),
    pinVersion: async () => (check(), memory.pinVersion()),
    loadPins: async () => (check(), (reads += 1), memory.loadPins()),
  };
  await store.transaction(async (tx) => {
    await tx.insertHost({ id: host.hostId, name: "web-01", labels: {}, notes: undefined, address: undefined, agentPort: 8444, allowedCidr: undefined });
    await tx.insertCert({ fingerprint: host.sha256, hostId: host.hostId, spkiSha256: host.spkiSha256, status: "active", notBefore: host.notBefore, notAfter: host.notAfter });
  });
  cache = await createPinCache({ store, clock, logger });
});

test("a pin is found, a stranger is not", () => {
  expect(cache.pinOf(host.sha256)?.hostId).toBe(host.hostId);
  expect(cache.pinOf("0".repeat(64))).toBeUndefined();
});

test("a poll reads the pins only when the version moved", async () => {
  await cache.poll();
  await cache.poll();
  expect(reads).toBe(1);
  await store.transaction((tx) => tx.revokeCerts(host.hostId));
  await cache.poll();
  expect(reads).toBe(2);
  expect(cache.pinOf(host.sha256)?.status).toBe("revoked");
});

test("listeners hear which hosts changed, and nothing when nothing did", async () => {
  const heard: (readonly HostId[])[] = [];
  cache.onChange((hosts) => heard.push([...hosts]));
  await cache.refresh();
  expect(heard).toEqual([]);
  await store.transaction((tx) => tx.revokeCerts(host.hostId));
  await cache.refresh();
  expect(heard).toEqual([[host.hostId]]);
});

describe("while the database is away", () => {
  test("pins are good for a while, then nobody is admitted, and it heals by itself", async () => {
    away = true;
    for (let passed = 0; passed + POLL_MS <= MAX_AGE_MS; passed += POLL_MS) {
      await expect(cache.poll()).rejects.toMatchObject({ code: "database_unavailable" });
      expect(cache.pinOf(host.sha256)).toBeDefined();
      clock.advance(POLL_MS);
    }
    clock.advance(1);
    expect(() => cache.pinOf(host.sha256)).toThrow(expect.objectContaining({ code: "overloaded" }));
    expect(cache.pinsOf(host.hostId).size).toBe(0);
    expect(cache.isFresh()).toBe(false);
    away = false;
    await cache.poll();
    expect(cache.pinOf(host.sha256)).toBeDefined();
  });
});

test("time is the database's, whatever this machine's wall clock does", async () => {
  const before = cache.now();
  clock.stepWall(3_600_000);
  expect(cache.now() - before).toBe(0);
  clock.advance(1_000);
  expect(cache.now() - before).toBe(1_000);
});

test("what a host may serve under: active and still retiring certificates, never a pending one", async () => {
  expect([...cache.pinsOf(host.hostId)]).toEqual([host.sha256]);
  const next = authority.host("web-01", { hostId: host.hostId });
  const pending = authority.host("web-01", { hostId: host.hostId });
  await store.transaction(async (tx) => {
    await tx.insertCert({ fingerprint: next.sha256, hostId: host.hostId, spkiSha256: next.spkiSha256, status: "active", notBefore: next.notBefore, notAfter: next.notAfter });
    await tx.retireCerts(host.hostId, next.sha256, 1_000);
    await tx.insertCert({ fingerprint: pending.sha256, hostId: host.hostId, spkiSha256: pending.spkiSha256, status: "pending", notBefore: pending.notBefore, notAfter: pending.notAfter });
  });
  await cache.refresh();
  expect(new Set(cache.pinsOf(host.hostId))).toEqual(new Set([host.sha256, next.sha256]));
  clock.advance(1_000);
  expect([...cache.pinsOf(host.hostId)]).toEqual([next.sha256]);
});
