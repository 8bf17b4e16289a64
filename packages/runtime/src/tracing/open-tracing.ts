/** The tracer of a process: OpenTelemetry's when traces are to go somewhere, ids alone otherwise. */
import type { Clock, Rng, Tracer } from "@skep/core";
import { createIdTracer } from "./id-tracer.ts";
import { loadOtelTracer, type OtelTracer, type TracerFacts } from "./otel-tracer.ts";
import type { TraceSettings } from "./trace-settings.ts";

export interface Tracing {
  readonly tracer: Tracer;
  /** Sends what is waiting, for at most `limitMs`: a collector that hangs does not hold a stop up. Never rejects. */
  close(limitMs: number): Promise<void>;
}

export interface TracingDeps extends TracerFacts {
  readonly clock: Clock;
  readonly rng: Rng;
}

/** Never rejects: a process works without its traces. */
export async function openTracing(settings: TraceSettings | undefined, deps: TracingDeps): Promise<Tracing> {
  const { clock, rng, logger } = deps;
  const otel = settings === undefined ? undefined : await load(settings, deps);
  if (otel === undefined) return { tracer: createIdTracer(rng), close: () => Promise.resolve() };
  logger.info({ url: settings!.shownUrl, service: settings!.serviceName, ratio: settings!.ratio }, "traces are exported");
  return {
    tracer: otel.tracer,
    close: async (limitMs) => {
      const over = new AbortController();
      const flushed = otel.close().catch((err: unknown) => logger.debug({ err }, "the last traces could not be sent"));
      await Promise.race([flushed, clock.sleep(limitMs, over.signal)]);
      over.abort();
    },
  };
}

async function load(settings: TraceSettings, { logger, version }: TracingDeps): Promise<OtelTracer | undefined> {
  try {
    return await loadOtelTracer(settings, { logger, version });
  } catch (err) {
    logger.error({ err }, "OpenTelemetry could not be loaded: no traces are exported, logs carry their ids all the same; install Skep's dependencies again (npm ci)");
    return undefined;
  }
}
