/** Ids without a collector: every request gets a trace, so that the logs of all processes can be put side by side. Nothing is loaded, recorded or sent. */
import { formatTraceparent, nextContext, parseTraceparent, type Rng, type Tracer } from "@skep/core";

/** What came in sampled stays sampled: the next process may have a collector. */
export function createIdTracer(rng: Rng): Tracer {
  return {
    startSpan: (_name, options = {}) => ({
      traceparent: formatTraceparent(nextContext(parseTraceparent(options.parent), rng)),
      set: () => undefined,
      end: () => undefined,
    }),
  };
}
