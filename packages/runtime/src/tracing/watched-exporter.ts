/** Export that can only fail quietly: a collector that is away is one log line when it goes and one when it is back. */
import type { ReadableSpan, SpanExporter } from "@opentelemetry/sdk-trace";
import type { Logger } from "@skep/core";

/** Of OpenTelemetry's ExportResultCode; its package is not worth a dependency for two numbers. */
const SUCCESS = 0;

export function watchExporter(exporter: SpanExporter, logger: Logger, url: string): SpanExporter {
  let failing = false;
  let lost = 0;
  const note = (ok: boolean, spans: number, error: unknown): void => {
    if (!ok) lost += spans;
    if (!ok && !failing) logger.warn({ url, because: reasonOf(error) }, "traces cannot be exported: they are dropped until the collector takes them again, and nothing else suffers; look whether it runs and OTEL_EXPORTER_OTLP_ENDPOINT and _HEADERS are right");
    else if (ok && failing) logger.info({ url, lost_spans: lost }, "traces are exported again");
    failing = !ok;
    if (ok) lost = 0;
  };
  return {
    export: (spans: ReadableSpan[], done) =>
      exporter.export(spans, (result) => {
        note(result.code === SUCCESS, spans.length, result.error);
        done(result);
      }),
    shutdown: () => exporter.shutdown(),
    ...(exporter.forceFlush === undefined ? {} : { forceFlush: () => exporter.forceFlush!() }),
  };
}

/** A status or a transport code; never the error's text, which may hold what the collector answered. */
function reasonOf(error: unknown): string {
  const { code } = Object(error) as { code?: unknown };
  if (typeof code === "number") return `status ${code}`;
  return typeof code === "string" && /^[A-Z0-9_]{1,40}$/.test(code) ? code : "no usable answer";
}
