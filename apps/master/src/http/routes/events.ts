/** The event ledger: a page of it, or a stream from a cursor that never skips. */
import { SkepError, type EventCursor, type EventFilter } from "@skep/core";
import { eventList, eventQuery } from "@skep/protocol";
import { followEvents } from "../follow-events.ts";
import { requireDeployment, requireHost } from "../readers.ts";
import { defineRoute, STREAMED, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import type { Streams } from "../streams.ts";
import { eventJson } from "../views/event.ts";

const CURSOR = /^[0-9A-Za-z-]{1,64}\.([0-9]{1,20})\.([0-9]{1,19})$/;
const MAX_BIGINT = 9_223_372_036_854_775_807n;

export function eventRoutes(deps: OperatorDeps, streams: () => Streams): RouteDefinition[] {
  const { store } = deps;
  return [
    defineRoute("listEvents", {
      query: eventQuery,
      replies: { 200: eventList },
      streams: true,
      handle: async ({ query, request, reply, principal }) => {
        const filter: EventFilter = {
          hostId: query.host === undefined ? undefined : (await requireHost(store, query.host)).id,
          deploymentId: query.deployment === undefined ? undefined : (await requireDeployment(store, query.deployment)).id,
          kindPrefix: query.kind,
        };
        if (wantsStream(request.headers.accept)) {
          // A reader that reconnects says where it was; that is newer than the address it started from.
          const given = lastEventId(request.headers["last-event-id"]) ?? query.cursor;
          const from = given === undefined ? await store.eventHead() : checkedCursor(given);
          // Looked at before the stream begins: afterwards there is no status left to say 410 with.
          if ((await store.readEvents(from, 1, filter)).kind === "expired") throw new SkepError("cursor_expired");
          streams().serve(request, reply, principal(), { id: from }, (stream) => followEvents(deps, stream, from, filter));
          return STREAMED;
        }
        if (query.cursor === undefined) {
          // The head is taken first: following from it may repeat an event and cannot skip one.
          const head = await store.eventHead();
          const events = await store.recentEvents(query.limit, filter);
          return { status: 200, body: { items: events.map(eventJson), next_cursor: head } };
        }
        const page = await store.readEvents(checkedCursor(query.cursor), query.limit, filter);
        if (page.kind === "expired") throw new SkepError("cursor_expired");
        return { status: 200, body: { items: page.events.map(eventJson), next_cursor: page.next } };
      },
    }),
  ];
}

export const wantsStream = (accept: string | undefined): boolean => accept !== undefined && /(^|,)\s*text\/event-stream\s*(;|,|$)/i.test(accept);

const lastEventId = (header: string | string[] | undefined): string | undefined => (typeof header === "string" && header !== "" ? header : undefined);

function checkedCursor(text: string): EventCursor {
  const match = CURSOR.exec(text);
  if (match === null || BigInt(match[1]!) > MAX_BIGINT || BigInt(match[2]!) > MAX_BIGINT) throw new SkepError("cursor_mismatch", "That is not an event cursor.");
  return text;
}
