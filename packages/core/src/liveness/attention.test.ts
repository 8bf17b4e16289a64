/** The order of attention is total, and a worse word never comes behind a better one. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { HostId } from "../ids.ts";
import { attentionRank, compareAttention, type Attention } from "./attention.ts";
import type { HealthSummary, Reason } from "./decide-health.ts";
import { HOST_STATUSES, type HostStatus } from "./decide-host.ts";

const WORST_FIRST: readonly HealthSummary[] = ["unhealthy", "degraded", "unknown", "healthy"];
const reasons = (count: number): Reason[] => Array.from({ length: count }, () => ({ code: "x", message: "x", next: "x" }));
const rank = (health: HealthSummary, status: HostStatus, count = 0): number => attentionRank(status, { health, reasons: reasons(count) });

test("the worse word first, whatever the status and however many reasons", () => {
  for (const [at, health] of WORST_FIRST.entries()) {
    for (const better of WORST_FIRST.slice(at + 1)) {
      for (const status of HOST_STATUSES) for (const other of HOST_STATUSES) expect(rank(health, status)).toBeLessThan(rank(better, other, 50));
    }
  }
});

test("then the worse status, then more reasons, and nine are as bad as ninety", () => {
  expect(rank("degraded", "suspect")).toBeLessThan(rank("degraded", "active", 50));
  expect(rank("degraded", "active", 3)).toBeLessThan(rank("degraded", "active", 2));
  expect(rank("degraded", "active", 9)).toBe(rank("degraded", "active", 90));
});

test("the order is total", () => {
  const one = fc.record({ rank: fc.integer({ min: 0, max: 9 }), name: fc.constantFrom("a", "b", "c"), id: fc.constantFrom("1", "2").map((id) => id as HostId) });
  const same = (a: Attention, b: Attention): boolean => a.rank === b.rank && a.name === b.name && a.id === b.id;
  fc.assert(fc.property(one, one, one, (a, b, c) => {
    expect(Math.sign(compareAttention(a, b))).toBe(0 - Math.sign(compareAttention(b, a)));
    expect(compareAttention(a, b) === 0).toBe(same(a, b));
    if (compareAttention(a, b) < 0 && compareAttention(b, c) < 0) expect(compareAttention(a, c)).toBeLessThan(0);
  }));
});
