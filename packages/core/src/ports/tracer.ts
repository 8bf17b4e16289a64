/**
 * What a shell needs of tracing: spans with an explicit parent, because a deploy goes through two processes, a database
 * and a journal, and through none of them as a call stack. Core itself never traces.
 */
import type { HttpMethod, SpanAttributes } from "../trace/attributes.ts";
import { cleanTraceparent } from "../trace/traceparent.ts";
import type { Instant } from "../time.ts";

/** Names are few and fixed, so that nothing of a request can get into one. A route is the table's pattern, never a URL. */
export type SpanName = `${HttpMethod} /${string}` | "dispatch" | "offer" | "accept" | "job" | "settle" | `step ${StepWord}` | "send delta" | "apply delta" | "adopt" | "reconcile" | "rollout step" | "move";
type StepWord = "look" | "prepare" | "start" | "healthy" | "stop" | "remove" | "undo";
export type SpanKind = "internal" | "server" | "client" | "producer" | "consumer";

export interface SpanOptions {
  /** A traceparent; what is not valid counts as none, and the span begins a trace. */
  readonly parent?: string | undefined;
  /** Default: internal. */
  readonly kind?: SpanKind;
  readonly attributes?: SpanAttributes;
  /** By this machine's clock; default: now. For what is only known to have been a span once it is over. */
  readonly startedAt?: Instant | undefined;
}

export interface Span {
  /** For whoever goes on with the work. `undefined` only of NO_TRACES, where none came in. */
  readonly traceparent: string | undefined;
  set(attributes: SpanAttributes): void;
  /** The first end counts. `error`: the code of a failure or refusal; absent = it went well. */
  end(outcome?: { readonly error?: string | undefined; readonly attributes?: SpanAttributes }): void;
}

export interface Tracer {
  /** Never throws, never waits: what cannot be recorded is not. */
  startSpan(name: SpanName, options?: SpanOptions): Span;
}

/** Makes no ids and records nothing; a trace that comes in is carried on. For the simulator, whose chance is counted. */
export const NO_TRACES: Tracer = {
  startSpan: (_name, options = {}) => ({ traceparent: cleanTraceparent(options.parent), set: () => undefined, end: () => undefined }),
};
