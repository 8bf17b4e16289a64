/**
 * Which host to look at first. Orders what `decideHealth` has judged and judges nothing itself: the worse word first,
 * then the worse status, then more reasons; among equals by name, so that a screen of hosts stands still.
 */
import type { HostId } from "../ids.ts";
import type { Health, HealthSummary } from "./decide-health.ts";
import type { HostStatus } from "./decide-host.ts";

export interface Attention {
  /** Smaller = sooner. Comes out of `attentionRank` only. */
  readonly rank: number;
  readonly name: string;
  /** Tombstones may share a name. */
  readonly id: HostId;
}

const BY_HEALTH: Readonly<Record<HealthSummary, number>> = { unhealthy: 0, degraded: 1, unknown: 2, healthy: 3 };
const BY_STATUS: Readonly<Record<HostStatus, number>> = { unreachable: 0, suspect: 1, active: 2, enrolled: 3, pending: 4, decommissioned: 5 };
/** More reasons than this make a host no worse. */
const MOST_REASONS = 9;

/** An integer below 1,000, so that a cursor can carry it. */
export const attentionRank = (status: HostStatus, { health, reasons }: Pick<Health, "health" | "reasons">): number =>
  BY_HEALTH[health] * 100 + BY_STATUS[status] * 10 + MOST_REASONS - Math.min(MOST_REASONS, reasons.length);

/** The rank of an active host with nothing to say about it. `decideHealth` calls no other status healthy, so nothing comes after it: among these the name decides. */
export const CALM_RANK = attentionRank("active", { health: "healthy", reasons: [] });

/** A total order: 0 for the same host only. */
export const compareAttention = (a: Attention, b: Attention): number =>
  a.rank - b.rank || compareText(a.name, b.name) || compareText(a.id, b.id);

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
