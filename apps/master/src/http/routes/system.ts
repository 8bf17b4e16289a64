/** Is it alive, can it work, what is it. */
import { healthz, readyz, versionView } from "@skep/protocol";
import { defineRoute, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";

/** Probes come from everywhere and without a token: they share one look at the checks per second. */
const READINESS_AGE_MS = 1_000;

export function systemRoutes(deps: OperatorDeps): RouteDefinition[] {
  let last: { at: number; checks: Promise<Readonly<Record<string, string>>> } | undefined;
  const checks = (): Promise<Readonly<Record<string, string>>> => {
    const mono = deps.clock.mono();
    if (last === undefined || mono - last.at >= READINESS_AGE_MS) {
      const looking = deps.readiness().catch((err: unknown): Readonly<Record<string, string>> => {
        deps.logger.warn({ err }, "the readiness checks failed");
        return { readiness: "the checks themselves failed" };
      });
      last = { at: mono, checks: looking };
    }
    return last.checks;
  };
  return [
    defineRoute("getHealthz", { replies: { 200: healthz }, handle: async () => ({ status: 200, body: { status: "ok" as const } }) }),
    defineRoute("getReadyz", {
      replies: { 200: readyz, 503: readyz },
      handle: async ({ reply }) => {
        const seen = { ...(await checks()) };
        const ready = Object.values(seen).every((value) => value === "ok");
        if (!ready) void reply.header("retry-after", "1");
        return { status: ready ? 200 : 503, body: { status: ready ? ("ready" as const) : ("not_ready" as const), checks: seen } };
      },
    }),
    defineRoute("getVersion", {
      replies: { 200: versionView },
      handle: async () => ({ status: 200, body: { version: deps.version, heartbeat_interval_ms: deps.timings.heartbeatIntervalMs, trust_domain: deps.trustDomain, ca_sha256: deps.caSha256 } }),
    }),
  ];
}
