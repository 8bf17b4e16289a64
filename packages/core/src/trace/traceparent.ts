/**
 * W3C Trace Context: the one line of text by which two processes agree that they work on the same thing. Invariant: a
 * bad one is the same as none. It never refuses a request, and nothing of it travels on.
 */
import type { Rng } from "../rng.ts";

export interface TraceContext {
  /** 32 lower-case hex digits. */
  readonly traceId: string;
  /** 16 lower-case hex digits. */
  readonly spanId: string;
  /** Whoever made the span records it; those who follow do the same. */
  readonly sampled: boolean;
}

/** What is sent on, logged and stored: always in this form, whatever version came in. */
export const TRACEPARENT_PATTERN = "^00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]$";

const VERSION_00 = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;
/** A later version may say more after its fourth field; `ff` is none. Nothing longer than this is looked at. */
const LATER = /^(?!00|ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?$/;
const MAX_CHARS = 512;
const NO_ID = /^0+$/;

/** `undefined` for whatever is not valid, of whatever type: a header that came twice is a list. */
export function parseTraceparent(text: unknown): TraceContext | undefined {
  if (typeof text !== "string" || text.length > MAX_CHARS) return undefined;
  const [, traceId, spanId, flags] = VERSION_00.exec(text) ?? LATER.exec(text) ?? [];
  if (traceId === undefined || spanId === undefined || flags === undefined || NO_ID.test(traceId) || NO_ID.test(spanId)) return undefined;
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 };
}

export const formatTraceparent = ({ traceId, spanId, sampled }: TraceContext): string => `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;

/** In our own form, or not at all. */
export function cleanTraceparent(text: unknown): string | undefined {
  const context = parseTraceparent(text);
  return context === undefined ? undefined : formatTraceparent(context);
}

/** A span below `parent`, or the first of a new trace that nobody records. */
export function nextContext(parent: TraceContext | undefined, rng: Rng): TraceContext {
  return { traceId: parent?.traceId ?? hexId(16, rng), spanId: hexId(8, rng), sampled: parent?.sampled ?? false };
}

/** Of two accounts of one piece of work, ours decides the trace: whoever goes on with it cannot move it into another. */
export function continued(ours: string | undefined, theirs: string | undefined): string | undefined {
  return ours === undefined || traceIdOf(ours) === traceIdOf(theirs) ? theirs : ours;
}

/** Which trace, for a log line: `{}` where there is none. */
export function traceFacts(traceparent: unknown): { readonly trace_id?: string; readonly span_id?: string } {
  const context = parseTraceparent(traceparent);
  return context === undefined ? {} : { trace_id: context.traceId, span_id: context.spanId };
}

export const traceIdOf = (traceparent: unknown): string | undefined => parseTraceparent(traceparent)?.traceId;

/** All zeros means "no id" (W3C), so it is drawn again. */
function hexId(bytes: number, rng: Rng): string {
  for (;;) {
    const hex = [...rng.bytes(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    if (!NO_ID.test(hex)) return hex;
  }
}
