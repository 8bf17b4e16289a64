/** What a probe's TLS settings mean to Node: `on` verifies chain and name, `skip_verify` encrypts and believes anybody. */
import type { PeerCertificate } from "node:tls";
import { isIP } from "node:net";
import type { ProbeTls } from "@skep/core";

export interface ProbeTlsOptions {
  readonly rejectUnauthorized: boolean;
  readonly ca?: string;
  readonly servername?: string;
  readonly checkServerIdentity: (host: string, cert: PeerCertificate) => Error | undefined;
}

/** Probes dial an address and expect a name: a workload's certificate is for what its clients call it. */
export const expectedName = ({ tls_server_name }: ProbeTls): string => tls_server_name ?? "localhost";

export async function tlsOptions(wish: ProbeTls): Promise<ProbeTlsOptions> {
  const { checkServerIdentity } = await import("node:tls");
  const name = expectedName(wish);
  return {
    rejectUnauthorized: wish.tls !== "skip_verify",
    ...(wish.tls_ca_pem === undefined ? {} : { ca: wish.tls_ca_pem }),
    // An address is no server name (RFC 6066); it is checked against the certificate all the same.
    ...(isIP(name) === 0 ? { servername: name } : {}),
    checkServerIdentity: (_dialled, cert) => checkServerIdentity(name, cert),
  };
}
