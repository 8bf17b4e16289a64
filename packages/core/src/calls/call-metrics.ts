/**
 * What a master's calls to one host have come to over the last minutes: counts, latencies and bytes in a ring of slots,
 * so that memory is bounded and old calls fall out. Times are monotonic ms. Mutable on purpose: it is written on every
 * call and holds no decision.
 */
import { count, merge, percentileMs, type Histogram } from "./histogram.ts";

/** Too short makes a rate of two probes; too long remembers an outage long after it. */
export const CALL_WINDOW_MS = 300_000;
const SLOTS = 10;
const SLOT_MS = CALL_WINDOW_MS / SLOTS;

export interface CallRecord {
  readonly ok: boolean;
  readonly ms: number;
  readonly bytesSent: number;
  readonly bytesReceived: number;
}

/** Always this shape: zeros and nulls when nothing was called (defect 0-11). */
export interface CallSummary {
  /** How much of the window there has been so far, s: a rate divides by this. */
  readonly windowS: number;
  readonly totalRequests: number;
  readonly failedRequests: number;
  /** 0…1; 0 of nothing. */
  readonly errorRate: number;
  /** Over every call that was made, those that failed included. Null of nothing. */
  readonly avgLatencyMs: number | null;
  /** At most 2 % above the true nearest-rank value (histogram.ts). */
  readonly p50LatencyMs: number | null;
  readonly p99LatencyMs: number | null;
  /** Bodies, without TLS and HTTP's own bytes. */
  readonly bytesSent: number;
  readonly bytesReceived: number;
  /** Both ways, and both ways per second of the window. */
  readonly throughputBytes: number;
  readonly throughputBps: number;
}

export interface CallMetrics {
  record(call: CallRecord, now: number): void;
  summary(now: number): CallSummary;
}

interface Slot {
  /** Number of the slot since time began; one that is too old is empty. */
  readonly number: number;
  readonly histogram: Histogram;
  requests: number;
  failed: number;
  ms: number;
  bytesSent: number;
  bytesReceived: number;
}

export function createCallMetrics(startedAt: number): CallMetrics {
  const slots: (Slot | undefined)[] = [];
  const slotAt = (now: number): Slot => {
    const number = Math.floor(now / SLOT_MS);
    const held = slots[number % SLOTS];
    if (held?.number === number) return held;
    const fresh: Slot = { number, histogram: new Map(), requests: 0, failed: 0, ms: 0, bytesSent: 0, bytesReceived: 0 };
    slots[number % SLOTS] = fresh;
    return fresh;
  };
  return {
    record: (call, now) => {
      const slot = slotAt(now);
      slot.requests += 1;
      slot.failed += call.ok ? 0 : 1;
      slot.ms += call.ms;
      slot.bytesSent += call.bytesSent;
      slot.bytesReceived += call.bytesReceived;
      count(slot.histogram, call.ms);
    },
    summary: (now) => {
      const oldest = Math.floor(now / SLOT_MS) - SLOTS + 1;
      const total = { requests: 0, failed: 0, ms: 0, bytesSent: 0, bytesReceived: 0 };
      const histogram: Histogram = new Map();
      for (const slot of slots) {
        if (slot === undefined || slot.number < oldest) continue;
        total.requests += slot.requests;
        total.failed += slot.failed;
        total.ms += slot.ms;
        total.bytesSent += slot.bytesSent;
        total.bytesReceived += slot.bytesReceived;
        merge(histogram, slot.histogram);
      }
      // The oldest slot may be counted whole although the window cuts it: the window is what is really covered.
      const windowMs = Math.max(0, now - Math.max(startedAt, oldest * SLOT_MS));
      const bytes = total.bytesSent + total.bytesReceived;
      return {
        windowS: windowMs / 1_000,
        totalRequests: total.requests,
        failedRequests: total.failed,
        errorRate: total.requests === 0 ? 0 : total.failed / total.requests,
        avgLatencyMs: total.requests === 0 ? null : total.ms / total.requests,
        p50LatencyMs: percentileMs(histogram, 0.5) ?? null,
        p99LatencyMs: percentileMs(histogram, 0.99) ?? null,
        bytesSent: total.bytesSent,
        bytesReceived: total.bytesReceived,
        throughputBytes: bytes,
        throughputBps: windowMs < 1_000 ? 0 : bytes / (windowMs / 1_000),
      };
    },
  };
}
