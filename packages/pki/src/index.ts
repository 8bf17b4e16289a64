/** Keys, certificates, identities and the TLS settings that make them count. Forge encodes; OpenSSL verifies and decides. */
export { generateKeyPem } from "./keys.ts";
export { createCsr, readCsr, MAX_CSR_BYTES, type CsrKey } from "./csr.ts";
export { createAuthority, openAuthority, DEFAULT_AUTHORITY_DAYS, type Authority } from "./authority.ts";
export { issueHostCert, issueMasterCert, renewalDueAt, DEFAULT_VALIDITY_MS, type HostCertWish, type MasterCertWish } from "./issue.ts";
export { BACKDATE_MS, type SignedCert } from "./sign-cert.ts";
export { certFacts, fingerprintOf, type CertFacts } from "./cert-facts.ts";
export { checkTrustDomain, hostUri, masterUri, type Identity, type NoIdentity } from "./identity.ts";
export { readPeer, type PeerFacts } from "./peer.ts";
export { agentTls, clientContext, clientTls, enrolTls, masterSwarmTls, HANDSHAKE_TIMEOUT_MS, type ClientTls, type ClientWish, type Credentials, type ExpectedPeer } from "./tls.ts";
export { parseBundle, MAX_BUNDLE_BYTES, type Bundle } from "./bundle.ts";
export { createPrivateFile, makePrivateDir, writePrivateFile } from "./files.ts";
export { loadIdentity, resolveAgentDir, saveIdentity, SYSTEM_AGENT_DIR, type AgentIdentity } from "./identity-files.ts";
export { loadAuthority, openOrCreateAuthority } from "./authority-files.ts";
