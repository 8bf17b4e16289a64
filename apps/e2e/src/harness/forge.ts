/**
 * Certificates that should not get in, and some that should, made with the fleet's own CA: what somebody could hold
 * who stole one thing but not another. And a listener that pretends to be somebody.
 */
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { uuidv7, type HostId } from "@skep/core";
import { createCsr, enrolTls, generateKeyPem, issueHostCert, issueMasterCert, loadAuthority, readCsr, type Authority } from "@skep/pki";
import { systemClock, systemRng } from "@skep/runtime";
import type { Fleet } from "./fleet.ts";
import type { Credential } from "./plain-https.ts";

const clock = systemClock();
const rng = systemRng();

export async function authorityOf(fleet: Fleet): Promise<Authority> {
  const authority = await loadAuthority(join(fleet.dir, "master", "ca"));
  if (authority === undefined) throw new Error("the fleet has no CA");
  return authority;
}

const newKey = (): { keyPem: string; spkiDer: Uint8Array } => {
  const keyPem = generateKeyPem();
  return { keyPem, spkiDer: readCsr(createCsr({ keyPem, commonName: "forged" })).spkiDer };
};

/** A certificate for a host that no master has ever pinned. */
export function forgeHost(authority: Authority, wish: { readonly hostId?: string; readonly validityMs?: number } = {}): Credential {
  const { keyPem, spkiDer } = newKey();
  const hostId = (wish.hostId ?? uuidv7(clock.now(), rng)) as HostId;
  const { certPem } = issueHostCert(authority, { hostId, name: "forged", addresses: ["127.0.0.1"], masterNames: [], spkiDer, now: clock.now(), rng, ...(wish.validityMs === undefined ? {} : { validityMs: wish.validityMs }) });
  return { certPem, keyPem };
}

/** What a real master of this CA has. */
export function forgeMaster(authority: Authority, validityMs?: number): Credential {
  const { keyPem, spkiDer } = newKey();
  const { certPem } = issueMasterCert(authority, { names: ["localhost"], addresses: ["127.0.0.1"], spkiDer, now: clock.now(), rng, ...(validityMs === undefined ? {} : { validityMs }) });
  return { certPem, keyPem };
}

export interface Impostor {
  readonly url: string;
  /** Everything that was said to it after a handshake. */
  readonly heard: readonly { readonly path: string; readonly body: string }[];
  close(): Promise<void>;
}

/** Serves HTTPS with somebody's credential, takes every request and answers 503 to all. */
export async function startImpostor(credential: Credential, caPem: string): Promise<Impostor> {
  const heard: { path: string; body: string }[] = [];
  const server: Server = createServer(enrolTls({ ...credential, caPem }), (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      heard.push({ path: request.url ?? "", body: Buffer.concat(chunks).toString() });
      response.writeHead(503).end();
    });
  });
  server.on("tlsClientError", () => undefined);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `https://127.0.0.1:${(server.address() as AddressInfo).port}`,
    heard,
    close: () => new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
  };
}
