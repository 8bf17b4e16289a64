/**
 * Before the master's first start: its CA, and a certificate of that CA for the operator API, which is off loopback in a
 * container and therefore refuses to speak plain HTTP. Runs at every start and renews the latter; the CA is never replaced.
 */
import { join } from "node:path";
import { createAuthority, createCsr, generateKeyPem, issueMasterCert, makePrivateDir, openOrCreateAuthority, readCsr, writePrivateFile } from "@skep/pki";
import { systemClock, systemRng } from "@skep/runtime";

const DAY_MS = 86_400_000;
const stateDir = process.env.SKEP_STATE_DIR ?? "/var/lib/skep";
const now = systemClock().now();
const rng = systemRng();

const authority = await openOrCreateAuthority(join(stateDir, "ca"), () => createAuthority({ trustDomain: process.env.SKEP_TRUST_DOMAIN || "skep.local", now, rng }));
const keyPem = generateKeyPem();
const { spkiDer } = readCsr(createCsr({ keyPem, commonName: "skep-api" }));
// Containers are not restarted every month; this one is renewed only when they are.
const { certPem } = issueMasterCert(authority, { spkiDer, names: ["master", "localhost"], addresses: ["127.0.0.1"], now, rng, validityMs: 365 * DAY_MS });
await makePrivateDir(join(stateDir, "api"));
await writePrivateFile(join(stateDir, "api", "key.pem"), keyPem);
await writePrivateFile(join(stateDir, "api", "cert.pem"), certPem);
process.stdout.write(`CA sha256:${authority.sha256}, certificate of the API in ${join(stateDir, "api")}\n`);
