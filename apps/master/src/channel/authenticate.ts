/**
 * Who speaks, asked on every request: the certificate of this very connection, its pin in memory, core's verdict.
 * Nothing a peer writes into a request is looked at (defect 3-14). Sockets are remembered under their pin, so that a
 * revocation can end those that are open.
 */
import type { Socket } from "node:net";
import type { TLSSocket } from "node:tls";
import { decidePin, instant, MINUTE_MS, SkepError, type Clock, type Fingerprint, type HostId, type Logger, type Store } from "@skep/core";
import { readPeer, type PeerFacts } from "@skep/pki";
import type { BackgroundTasks } from "@skep/runtime";
import type { IdentityControl } from "../control/control.ts";

export interface Authenticator {
  /** The host behind the connection. Throws the refusal's SkepError. */
  admit(socket: Socket, purpose: "report" | "rotate"): HostId;
  /** The body names another host than the certificate does. Throws always. */
  refuseClaim(socket: Socket, hostId: HostId): never;
  /** A request on this connection is being worked on, until `ended`. */
  began(socket: Socket): void;
  ended(socket: Socket): void;
  /**
   * Ends the open connections of these hosts whose certificate is not good any more (faults F15). One that waits for
   * its answer ends after it: the answer may be the very certificate that replaces this one.
   */
  dropRefused(hostIds: ReadonlySet<HostId>): void;
}

export interface AuthenticatorDeps {
  readonly identity: Pick<IdentityControl, "pinOf" | "now">;
  readonly store: Store;
  readonly trustDomain: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tasks: BackgroundTasks;
}

/** One audit entry per certificate, code and minute: a stubborn agent must not fill the audit log. */
const AUDIT_EVERY_MS = MINUTE_MS;
const MAX_REMEMBERED_DENIALS = 10_000;

export function createAuthenticator(deps: AuthenticatorDeps): Authenticator {
  const { identity, clock, logger } = deps;
  const sockets = new Map<Fingerprint, { readonly facts: PeerFacts; readonly open: Set<Socket> }>();
  const seen = new WeakSet<Socket>();
  const denials = new Map<string, number>();
  /** Requests under way; a client that pipelines has several. */
  const busy = new WeakMap<Socket, number>();
  const doomed = new WeakSet<Socket>();

  const remember = (socket: Socket, facts: PeerFacts): void => {
    if (seen.has(socket)) return;
    seen.add(socket);
    const entry = sockets.get(facts.fingerprint) ?? { facts, open: new Set<Socket>() };
    sockets.set(facts.fingerprint, entry);
    entry.open.add(socket);
    socket.once("close", () => {
      entry.open.delete(socket);
      if (entry.open.size === 0 && sockets.get(facts.fingerprint) === entry) sockets.delete(facts.fingerprint);
    });
  };

  const deny = (facts: PeerFacts | undefined, code: ConstructorParameters<typeof SkepError>[0], because: string): SkepError => {
    const key = `${facts?.fingerprint ?? ""} ${code}`;
    const now = clock.mono();
    if (now - (denials.get(key) ?? Number.NEGATIVE_INFINITY) >= AUDIT_EVERY_MS) {
      if (denials.size >= MAX_REMEMBERED_DENIALS) denials.clear();
      denials.set(key, now);
      const subject = facts?.identity?.role === "host" ? `host:${facts.identity.hostId}` : "host:unknown";
      logger.warn({ code, because, subject, sha256: facts?.fingerprint }, "a request on the agent channel was refused");
      deps.tasks.track("audit a refusal", deps.store.transaction(
        (tx) => tx.appendAudit({ actor: subject, action: "swarm.request", subject, outcome: "denied", detail: { code, because, ...(facts === undefined ? {} : { sha256: facts.fingerprint }) } }),
        { pool: "background" },
      ));
    }
    return new SkepError(code, because);
  };

  const judge = (facts: PeerFacts | undefined, purpose: "report" | "rotate") =>
    decidePin(facts, facts === undefined ? undefined : identity.pinOf(facts.fingerprint), undefined, purpose, instant(identity.now()));

  return {
    admit(socket, purpose) {
      const facts = readPeer(socket as TLSSocket, deps.trustDomain);
      const verdict = judge(facts, purpose);
      if (verdict.kind === "refuse") throw deny(facts, verdict.code, verdict.because);
      remember(socket, facts!);
      return verdict.hostId;
    },
    refuseClaim(socket, hostId) {
      throw deny(readPeer(socket as TLSSocket, deps.trustDomain), "cert_mismatch", `the body names another host than the certificate, which is host ${hostId}'s`);
    },
    began: (socket) => void busy.set(socket, (busy.get(socket) ?? 0) + 1),
    ended(socket) {
      const left = (busy.get(socket) ?? 1) - 1;
      busy.set(socket, left);
      // Gently: what was answered must still reach the peer.
      if (left === 0 && doomed.has(socket)) socket.end();
    },
    dropRefused(hostIds) {
      for (const { facts, open } of [...sockets.values()]) {
        if (facts.identity?.role !== "host" || !hostIds.has(facts.identity.hostId)) continue;
        // A pending credential may still rotate; judged for that, only what may do nothing at all is cut.
        if (judge(facts, "rotate").kind === "admit") continue;
        for (const socket of [...open]) {
          if ((busy.get(socket) ?? 0) > 0) doomed.add(socket);
          else socket.destroy();
        }
      }
    },
  };
}
