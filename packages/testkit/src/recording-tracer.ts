/** A tracer that keeps what ended, for tests of what is traced. Ids like the product's; nothing is sent. */
import { exportedAttributes, parseTraceparent, type Rng, type Tracer } from "@skep/core";
import { createIdTracer } from "@skep/runtime";

export interface RecordedSpan {
  readonly name: string;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly attributes: Readonly<Record<string, string | number>>;
  readonly error: string | undefined;
}

export interface RecordingTracer extends Tracer {
  readonly ended: RecordedSpan[];
}

export function createRecordingTracer(rng: Rng): RecordingTracer {
  const ids = createIdTracer(rng);
  const ended: RecordedSpan[] = [];
  return {
    ended,
    startSpan(name, options = {}) {
      const { traceparent } = ids.startSpan(name, options);
      const { traceId, spanId } = parseTraceparent(traceparent)!;
      let attributes = exportedAttributes(options.attributes ?? {});
      let over = false;
      return {
        traceparent,
        set: (more) => void (attributes = { ...attributes, ...exportedAttributes(more) }),
        end: ({ error, attributes: last = {} } = {}) => {
          if (over) return;
          over = true;
          ended.push({ name, traceId, spanId, parentSpanId: parseTraceparent(options.parent)?.spanId, attributes: { ...attributes, ...exportedAttributes(last) }, error });
        },
      };
    },
  };
}
