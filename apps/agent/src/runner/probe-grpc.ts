/**
 * The standard gRPC health check, `grpc.health.v1.Health/Check`. Its two messages have one field each and are written
 * out by hand: a schema compiler would cost every probe a start-up. Everything but SERVING is unhealthy, and each
 * reason has words of its own, for "UNAVAILABLE" sends nobody to the right file (defect 1-7).
 * Imported only when a component has such a probe.
 */
import { isIP } from "node:net";
import { credentials, Client, status, type ServiceError } from "@grpc/grpc-js";
import type { AbortSignalLike, ProbeTls } from "@skep/core";
import type { PortTarget } from "./probe.ts";
import { openConnection } from "./probe-socket.ts";
import { expectedName, tlsOptions } from "./probe-tls.ts";

const CHECK = "/grpc.health.v1.Health/Check";
const SERVING = 1;
const STATUS_NAMES = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"];

export async function checkServing(at: PortTarget, wish: ProbeTls & { readonly service?: string | undefined }, over: AbortSignalLike): Promise<string | undefined> {
  const client = new Client(`${at.host.includes(":") ? `[${at.host}]` : at.host}:${at.port}`, await credentialsFor(wish), {
    // A probe asks this port and nothing between; each one with a connection of its own.
    "grpc.enable_http_proxy": 0,
    "grpc.use_local_subchannel_pool": 1,
    "grpc.enable_retries": 0,
    "grpc.default_authority": expectedName(wish),
    // Only what is sent as the server's name, where an address has no place; what is believed is `checkServerIdentity`'s.
    ...(isPlain(wish) ? {} : { "grpc.ssl_target_name_override": isIP(expectedName(wish)) === 0 ? expectedName(wish) : "localhost" }),
  });
  const outcome = await new Promise<ServiceError | number>((resolve) => {
    const call = client.makeUnaryRequest(CHECK, encodeRequest, decodeStatus, wish.service ?? "", (error: ServiceError | null, answer?: number) => resolve(error ?? answer ?? 0));
    const cancel = (): void => call.cancel();
    over.addEventListener("abort", cancel, { once: true });
    if (over.aborted) cancel();
  });
  client.close();
  if (typeof outcome === "number") return judge(outcome, wish.service);
  if (outcome.code !== status.UNAVAILABLE && outcome.code !== status.INTERNAL) return explain(outcome, at.port, wish.service);
  // The conversation failed: a plain connection tells whether the port is closed or the certificate not believed, in the words of every other probe.
  const { problem, socket } = await openConnection(at, wish, over);
  socket.destroy();
  if (problem !== undefined) return problem;
  return `port ${at.port} accepts connections and does not speak gRPC ${isPlain(wish) ? "in plaintext; if it wants TLS, the probe's tls must say so" : "over TLS"} (${outcome.details})`;
}

const isPlain = ({ tls }: ProbeTls): boolean => (tls ?? "off") === "off";

async function credentialsFor(wish: ProbeTls): Promise<ReturnType<typeof credentials.createSsl>> {
  if (isPlain(wish)) return credentials.createInsecure();
  const { ca, rejectUnauthorized, checkServerIdentity } = await tlsOptions(wish);
  return credentials.createSsl(ca === undefined ? null : Buffer.from(ca), null, null, { rejectUnauthorized, checkServerIdentity });
}

const named = (service: string | undefined): string => (service === undefined || service === "" ? "the server" : `service ${service}`);

function judge(answer: number, service: string | undefined): string | undefined {
  return answer === SERVING ? undefined : `${named(service)} says ${STATUS_NAMES[answer] ?? `status ${answer}`}`;
}

function explain({ code, details }: ServiceError, port: number, service: string | undefined): string {
  if (code === status.NOT_FOUND) return `its health service knows no service ${JSON.stringify(service ?? "")} (NOT_FOUND)`;
  if (code === status.UNIMPLEMENTED) return `port ${port} speaks gRPC and has no health service (UNIMPLEMENTED)`;
  return `port ${port}: ${status[code] ?? code}: ${details}`;
}

/** HealthCheckRequest { string service = 1 } */
function encodeRequest(service: string): Buffer {
  const text = Buffer.from(service, "utf8");
  return text.length === 0 ? text : Buffer.concat([Buffer.from([0x0a, ...varint(text.length)]), text]);
}

function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...varint(value >>> 7)];
}

/** HealthCheckResponse { ServingStatus status = 1 }; absent = UNKNOWN. Statuses are small: one byte. */
function decodeStatus(message: Buffer): number {
  return message[0] === 0x08 ? (message[1] ?? 0) : 0;
}
