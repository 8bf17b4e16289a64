/** Events, audit entries and idempotency keys: what is only ever added. Commits are numbered, so no event can slip in front. */
import { addMs, type EventCursor, type EventFilter, type EventPage, type EventRecord, type Reads, type Tx } from "@skep/core";
import { jsonCopy, nextCount, type Context, type StoredEvent, type Sync } from "./state.ts";

type EventReads = Sync<Pick<Reads, "readEvents" | "recentEvents" | "eventHead" | "listAudit">>;
type EventWrites = Sync<Pick<Tx, "appendEvent" | "appendAudit" | "claimIdempotency" | "completeIdempotency">>;

const keyOf = (scope: string, key: string): string => JSON.stringify([scope, key]);
const matches = (event: EventRecord, filter: EventFilter | undefined): boolean =>
  (filter?.hostId === undefined || event.hostId === filter.hostId) &&
  (filter?.deploymentId === undefined || event.deploymentId === filter.deploymentId) &&
  (filter?.kindPrefix === undefined || event.kind.startsWith(filter.kindPrefix));

export function eventReads({ state, lineage }: Context): EventReads {
  const pruned = (): number => state.counters.get("events_pruned")?.value ?? 0;
  const headOf = (last: StoredEvent | undefined): EventCursor => last?.event.cursor ?? `${lineage}.0.${pruned()}`;
  return {
    readEvents: (after, limit, filter): EventPage => {
      const position = after === undefined ? { lineage, xid: 0, id: 0 } : parseCursor(after);
      if (position === undefined || position.lineage !== lineage || (after !== undefined && position.id < pruned())) return { kind: "expired" };
      const events: EventRecord[] = [];
      for (const { id, event } of state.events.values()) {
        if (id > position.id && matches(event, filter) && events.length < limit) events.push(event);
      }
      return { kind: "page", events, next: events.at(-1)?.cursor ?? after ?? headOf(undefined) };
    },
    recentEvents: (limit, filter) => [...state.events.values()].map(({ event }) => event).filter((event) => matches(event, filter)).slice(-limit),
    listAudit: ({ limit, before, actionPrefix, actor }) =>
      [...state.audit.values()]
        .filter((entry) => (before === undefined || Number(entry.id) < Number(before)) && entry.action.startsWith(actionPrefix ?? "") && (actor === undefined || entry.actor === actor))
        .reverse().slice(0, limit),
    eventHead: () => headOf([...state.events.values()].at(-1)),
  };
}

function parseCursor(cursor: EventCursor): { lineage: string; xid: number; id: number } | undefined {
  const match = /^(.+)\.(\d+)\.(\d+)$/.exec(cursor);
  return match === null ? undefined : { lineage: match[1]!, xid: Number(match[2]), id: Number(match[3]) };
}

export function eventWrites(context: Context): EventWrites {
  const { state, policy, lineage, xid, now } = context;
  return {
    appendEvent: (event) => {
      const id = nextCount(state, "events");
      state.events.set(String(id), { xid, id, event: { ...jsonCopy(event), cursor: `${lineage}.${xid}.${id}`, at: now(), hostName: event.hostId === undefined ? undefined : state.hosts.get(event.hostId)?.name } });
      context.signal("events");
    },
    appendAudit: (entry) => {
      const id = String(nextCount(state, "audit"));
      state.audit.set(id, { ...jsonCopy(entry), id, at: now() });
    },
    claimIdempotency: ({ scope, key, bodyHash }) => {
      const known = policy.idempotency ? state.idempotency.get(keyOf(scope, key)) : undefined;
      if (known === undefined) {
        state.idempotency.set(keyOf(scope, key), { scope, key, bodyHash, createdAt: now(), reply: undefined });
        return { kind: "claimed" };
      }
      if (known.bodyHash !== bodyHash) return { kind: "reused" };
      return known.reply === undefined ? { kind: "in_progress" } : { kind: "replay", status: known.reply.status, body: jsonCopy(known.reply.body) };
    },
    completeIdempotency: ({ scope, key, bodyHash }, status, body) =>
      state.idempotency.set(keyOf(scope, key), { scope, key, bodyHash, createdAt: now(), reply: { status, body: jsonCopy(body) } }),
  };
}

/** Drops what is older than its limit; a cursor before the newest dropped event has expired. */
export function retain({ state, now }: Context, limits: { eventsMs: number; idempotencyMs: number }): { events: number; idempotencyKeys: number } {
  let events = 0;
  for (const { id, event } of [...state.events.values()]) {
    if (event.at >= addMs(now(), -limits.eventsMs)) continue;
    state.events.delete(String(id));
    state.counters.set("events_pruned", { value: Math.max(id, state.counters.get("events_pruned")?.value ?? 0) });
    events += 1;
  }
  let idempotencyKeys = 0;
  for (const claim of [...state.idempotency.values()]) {
    if (claim.createdAt >= addMs(now(), -limits.idempotencyMs)) continue;
    state.idempotency.delete(keyOf(claim.scope, claim.key));
    idempotencyKeys += 1;
  }
  return { events, idempotencyKeys };
}
