/**
 * The tracer over OpenTelemetry's SDK, which is loaded by whoever calls this and by nobody else: 60 ms and some 18 MB
 * that a process without a collector does not pay. Invariants: parents are explicit; only what the allow-list passes
 * is recorded; the queue is bounded and what does not fit is dropped.
 */
import type { Attributes, Context, SpanKind as OtelSpanKind } from "@opentelemetry/api";
import { exportedAttributes, formatTraceparent, parseTraceparent, type Logger, type SpanKind, type Tracer } from "@skep/core";
import type { TraceSettings } from "./trace-settings.ts";
import { watchExporter } from "./watched-exporter.ts";

export interface TracerFacts {
  /** Of Skep. */
  readonly version: string;
  readonly logger: Logger;
}

export interface OtelTracer {
  readonly tracer: Tracer;
  /** Sends what is waiting. May take as long as the exporter does: bound it. */
  close(): Promise<void>;
}

/** Spans that wait for their export. More: memory while the collector is away; fewer: a burst of deploys loses some. */
const MAX_QUEUED = 2_048;
const MAX_BATCH = 512;
/** Shorter: a request to the collector per deploy; longer: people wait for the trace of what they just did. */
const EXPORT_EVERY_MS = 1_000;
const EXPORT_LIMIT_MS = 5_000;

export async function loadOtelTracer(settings: TraceSettings, { version, logger }: TracerFacts): Promise<OtelTracer> {
  const [api, sdk, { resourceFromAttributes }, { OTLPTraceExporter }] = await Promise.all([
    import("@opentelemetry/api"), import("@opentelemetry/sdk-trace"), import("@opentelemetry/resources"), import("@opentelemetry/exporter-trace-otlp-http"),
  ]);
  const exporter = watchExporter(new OTLPTraceExporter({ url: settings.url(), headers: { ...settings.headers() }, timeoutMillis: EXPORT_LIMIT_MS }), logger, settings.shownUrl);
  const provider = new sdk.TracerProvider({
    // No detectors: they would tell the host's processes and command lines.
    resource: resourceFromAttributes({ "service.name": settings.serviceName, "service.namespace": "skep", "service.version": version }),
    sampler: new sdk.ParentBasedSampler({ root: new sdk.TraceIdRatioBasedSampler(settings.ratio) }),
    spanProcessors: [new sdk.BatchSpanProcessor({ exporter, maxQueueSize: MAX_QUEUED, maxExportBatchSize: MAX_BATCH, scheduledDelayMillis: EXPORT_EVERY_MS, exportTimeoutMillis: EXPORT_LIMIT_MS })],
  });
  const otel = provider.getTracer("skep", version);
  const kinds: Readonly<Record<SpanKind, OtelSpanKind>> = {
    internal: api.SpanKind.INTERNAL, server: api.SpanKind.SERVER, client: api.SpanKind.CLIENT, producer: api.SpanKind.PRODUCER, consumer: api.SpanKind.CONSUMER,
  };

  const contextOf = (parent: string | undefined): Context => {
    const from = parseTraceparent(parent);
    if (from === undefined) return api.ROOT_CONTEXT;
    return api.trace.setSpanContext(api.ROOT_CONTEXT, { traceId: from.traceId, spanId: from.spanId, traceFlags: from.sampled ? api.TraceFlags.SAMPLED : api.TraceFlags.NONE, isRemote: true });
  };

  return {
    tracer: {
      startSpan(name, { parent, kind = "internal", attributes = {}, startedAt } = {}) {
        const span = otel.startSpan(name, { kind: kinds[kind], attributes: exportedAttributes(attributes) as Attributes, ...(startedAt === undefined ? {} : { startTime: startedAt }) }, contextOf(parent));
        const { traceId, spanId, traceFlags } = span.spanContext();
        let ended = false;
        return {
          traceparent: formatTraceparent({ traceId, spanId, sampled: (traceFlags & api.TraceFlags.SAMPLED) !== 0 }),
          set: (more) => void span.setAttributes(exportedAttributes(more)),
          end: ({ error, attributes: last } = {}) => {
            // The SDK complains about a second end; several ways out of one piece of work are no fault.
            if (ended) return;
            ended = true;
            if (last !== undefined) span.setAttributes(exportedAttributes(last));
            if (error !== undefined) {
              const shown = exportedAttributes({ code: error });
              span.setAttributes(shown);
              span.setStatus({ code: api.SpanStatusCode.ERROR, message: String(shown["skep.code"]) });
            }
            span.end();
          },
        };
      },
    },
    close: () => provider.shutdown(),
  };
}
