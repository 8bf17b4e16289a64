/**
 * The enrolment door, `/enrol`: the one listener that talks to clients without a certificate, so it knows a single
 * route, a small body and few tries. It trusts nobody: what comes out of it is decided by the token (redeem.ts).
 */
import { fullBucket, isUuid, SkepError, takeToken, type Bucket, type BucketLimits, type Clock, type Logger } from "@skep/core";
import { enrolTls, type Credentials } from "@skep/pki";
import { ENROL_ROUTES, enrolRequest } from "@skep/protocol";
import type { IdentityControl } from "../control/control.ts";
import { DEFAULT_GATE } from "../channel/handshake-gate.ts";
import { parseBody } from "../channel/parse-body.ts";
import { createSlots } from "../channel/slots.ts";
import { createTlsListener, type ListenerLimits, type TlsListener } from "../channel/tls-listener.ts";

export interface DoorLimits extends ListenerLimits {
  /** Failed tries per source address: a token of 256 bits is not guessed, but guessing costs database time. */
  readonly perAddress: BucketLimits;
}

export const DOOR_LIMITS: DoorLimits = {
  handshakeTimeoutMs: 5_000,
  headersTimeoutMs: 5_000,
  requestTimeoutMs: 10_000,
  // One request is all there is to do here.
  keepAliveTimeoutMs: 1_000,
  socketTimeoutMs: 10_000,
  checkIntervalMs: 1_000,
  bodyLimitBytes: 16_384,
  maxConnections: 500,
  gate: { ...DEFAULT_GATE, maxInProgress: 20, perSecond: 20 },
  perAddress: { perMinute: 5, burst: 20 },
};

/** Addresses remembered. When full, the oldest are forgotten: an attacker with more addresses gets a burst from each anyway. */
const MAX_ADDRESSES = 10_000;
/** Redemptions at once, so that a flood at this door cannot fill the operators' database pool. */
const REDEEM_SLOTS = 4;
const MAX_WAITING = 200;
/** A uuid that names nothing, so that a malformed id costs what an unknown one costs. */
const NO_TOKEN = "00000000-0000-0000-0000-000000000000";

export interface Door extends Pick<TlsListener, "listen" | "close"> {
  setCredentials(credentials: Credentials): void;
}

export function createDoor(deps: { readonly identity: Pick<IdentityControl, "redeem">; readonly credentials: Credentials; readonly clock: Clock; readonly logger: Logger; readonly limits: DoorLimits }): Door {
  const listener = createTlsListener({ tls: enrolTls(deps.credentials), limits: deps.limits, clock: deps.clock, logger: deps.logger, routes: ENROL_ROUTES });
  const redemptions = createSlots(REDEEM_SLOTS, MAX_WAITING);
  const buckets = new Map<string, Bucket>();

  const take = (address: string): void => {
    const now = deps.clock.mono();
    const taken = takeToken(buckets.get(address) ?? fullBucket(deps.limits.perAddress, now), deps.limits.perAddress, now);
    // Deleted and set again, so that the first key is always the one unused for longest.
    buckets.delete(address);
    buckets.set(address, taken.bucket);
    const [oldest] = buckets.keys();
    if (buckets.size > MAX_ADDRESSES && oldest !== undefined) buckets.delete(oldest);
    if (!taken.ok) throw new SkepError("rate_limited", "too many enrolment attempts from this address", { retryAfterMs: taken.retryAfterMs });
  };

  /** A try that enrolled a host was no guess: a fleet behind one address is not slowed by its own success. */
  const giveBack = (address: string): void => {
    const bucket = buckets.get(address);
    if (bucket !== undefined) buckets.set(address, { ...bucket, tokens: Math.min(deps.limits.perAddress.burst, bucket.tokens + 1) });
  };

  const [route] = ENROL_ROUTES;
  listener.app.route({
    method: route.method,
    url: route.path,
    handler: async (request, reply) => {
      take(request.socket.remoteAddress ?? "");
      const { token_id: tokenId } = request.params as { token_id: string };
      const body = parseBody(enrolRequest, request.body);
      const certificate = await redemptions(() => deps.identity.redeem(isUuid(tokenId) ? tokenId : NO_TOKEN, body));
      giveBack(request.socket.remoteAddress ?? "");
      return reply.send(certificate);
    },
  });
  return {
    listen: (host, port) => listener.listen(host, port),
    close: () => listener.close(),
    setCredentials: (credentials) => listener.setTls(enrolTls(credentials)),
  };
}
