/**
 * Where traces go, in the words of OpenTelemetry's own specification, so that an environment that was written for
 * other programs holds for Skep too. Invariant: what may hold a secret is reached by a call only, so that settings
 * that are printed or logged as JSON do not show it.
 */
import type { FieldError } from "@skep/core";

export interface TraceSettings {
  /** Where spans are posted to, without its query, which is where some vendors take a key. For people. */
  readonly shownUrl: string;
  readonly url: () => string;
  readonly serviceName: string;
  /** Share of the traces that begin here and are recorded, 0 to 1. What comes in is recorded as its sender decided. */
  readonly ratio: number;
  readonly headers: () => Readonly<Record<string, string>>;
}

export interface ReadTraceSettings {
  /** `undefined` = traces go nowhere. */
  readonly settings: TraceSettings | undefined;
  /** By the name of the variable; what was given is not repeated. */
  readonly errors: readonly FieldError[];
}

type Env = Readonly<Record<string, string | undefined>>;

const ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT";
const TRACES_ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT";
/** What is read of an environment, but for the name: a supervisor hands these to its children. */
export const TRACE_VARIABLES = [
  ENDPOINT, TRACES_ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
  "OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_COMPRESSION", "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG", "OTEL_SDK_DISABLED",
] as const;
const SAMPLERS = ["parentbased_always_on", "parentbased_always_off", "parentbased_traceidratio"];
/** RFC 9110's token. */
const HEADER_NAME = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const HEADER_VALUE = /^[\t\x20-\x7e]*$/;
const SERVICE_NAME = /^[A-Za-z0-9][A-Za-z0-9_.:/-]{0,127}$/;

/** An empty variable counts as not set. `serviceName`: who we are when the environment does not say. */
export function readTraceSettings(env: Env, serviceName: string): ReadTraceSettings {
  const of = (name: string): string | undefined => (env[name] === "" ? undefined : env[name]);
  const base = of(ENDPOINT);
  const exact = of(TRACES_ENDPOINT);
  const where = exact === undefined ? ENDPOINT : TRACES_ENDPOINT;
  if ((exact ?? base) === undefined || of("OTEL_SDK_DISABLED")?.toLowerCase() === "true") return { settings: undefined, errors: [] };
  const errors: FieldError[] = [];
  const refuse = (pointer: string, message: string): undefined => void errors.push({ pointer, message });

  const text = exact ?? base!;
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !["http:", "https:"].includes(url.protocol)) refuse(where, "must be an http:// or https:// URL");
  else if (url.username !== "" || url.password !== "") refuse(where, "must hold no user or password: put the credentials into OTEL_EXPORTER_OTLP_HEADERS");
  else if (exact === undefined) url.pathname = `${url.pathname.replace(/\/$/, "")}/v1/traces`;

  const protocol = of("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") ?? of("OTEL_EXPORTER_OTLP_PROTOCOL");
  // Collectors take both HTTP forms on one port; gRPC is another port, and every export to it would fail.
  if (protocol !== undefined && !["http/json", "http/protobuf"].includes(protocol)) refuse("OTEL_EXPORTER_OTLP_PROTOCOL", "must be http/json, which is what is spoken: point the endpoint at the collector's HTTP port (4318)");

  const name = of("OTEL_SERVICE_NAME") ?? serviceName;
  if (!SERVICE_NAME.test(name)) refuse("OTEL_SERVICE_NAME", "must be 1–128 of letters, digits and _ . : / -");

  const sampler = of("OTEL_TRACES_SAMPLER") ?? SAMPLERS[0]!;
  if (!SAMPLERS.includes(sampler)) refuse("OTEL_TRACES_SAMPLER", `must be one of ${SAMPLERS.join(", ")}: each process deciding by itself would tear traces apart`);
  const arg = of("OTEL_TRACES_SAMPLER_ARG") ?? "1";
  const share = Number(arg);
  if (sampler === "parentbased_traceidratio" && !(/^\d*\.?\d+$/.test(arg) && share >= 0 && share <= 1)) refuse("OTEL_TRACES_SAMPLER_ARG", "must be a share from 0 to 1");
  const ratio = sampler === "parentbased_traceidratio" ? share : sampler === "parentbased_always_off" ? 0 : 1;

  const headers = { ...readHeaders("OTEL_EXPORTER_OTLP_HEADERS", of, refuse), ...readHeaders("OTEL_EXPORTER_OTLP_TRACES_HEADERS", of, refuse) };
  return { settings: errors.length > 0 || url === undefined ? undefined : { url: () => url.href, shownUrl: `${url.origin}${url.pathname}`, serviceName: name, ratio, headers: () => headers }, errors };
}

/** `key=value,key=value`, values percent-encoded where they must be. */
function readHeaders(variable: string, of: (name: string) => string | undefined, refuse: (pointer: string, message: string) => void): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const pair of (of(variable) ?? "").split(",").filter((text) => text.trim() !== "")) {
    const at = pair.indexOf("=");
    const name = pair.slice(0, Math.max(at, 0)).trim();
    const value = decoded(pair.slice(at + 1).trim());
    if (!HEADER_NAME.test(name) || value === undefined || !HEADER_VALUE.test(value)) refuse(variable, "must be name=value pairs with commas between them, special characters percent-encoded");
    else headers[name.toLowerCase()] = value;
  }
  return headers;
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}
