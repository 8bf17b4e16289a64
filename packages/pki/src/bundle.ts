/**
 * The enrolment bundle, NAME.skep: the one file that carries a host into the fleet. It is read before anything is
 * trusted, so it is bounded, checked whole (every fault is named at once), and its CA must match its own pin: a
 * CA swapped in a file whose pin was pasted separately must not survive (faults F45). Unknown fields are ignored,
 * because bundles of a newer master must enrol older agents.
 */
import { createPrivateKey } from "node:crypto";
import { isName, isUuid, SkepError, type FieldError } from "@skep/core";
import { fingerprintOf, readCert } from "./cert-facts.ts";
import { checkTrustDomain, identityOf } from "./identity.ts";

export const MAX_BUNDLE_BYTES = 65_536;
const MAX_URLS = 16;

/** As on the wire. `token` and `key_pem` are secrets: the file is 0600 and neither belongs in a log. */
export interface Bundle {
  readonly version: 1;
  readonly host_id: string;
  readonly name: string;
  readonly enrol_urls: string[];
  readonly master_urls: string[];
  readonly ca_cert_pem: string;
  /** SHA-256 of the CA certificate's DER, lower-case hex. */
  readonly ca_sha256: string;
  readonly trust_domain: string;
  readonly token_id: string;
  readonly token: string;
  /** RFC 3339. Not judged here: parsing has no clock, and the master has the last word. */
  readonly expires_at: string;
  readonly agent_port?: number | undefined;
  /** With `key_pem`: a credential good only for rotating at first contact. */
  readonly cert_pem?: string | undefined;
  readonly key_pem?: string | undefined;
}

/**
 * Throws `payload_too_large`, `malformed_json`, `invalid_request` (all faulty fields in `errors`) or `cert_mismatch`
 * (the CA is not the pinned one, or the certificate is not this host's). No message quotes a value.
 */
export function parseBundle(text: string): Bundle {
  if (text.length > MAX_BUNDLE_BYTES || Buffer.byteLength(text) > MAX_BUNDLE_BYTES) throw new SkepError("payload_too_large", `A bundle has at most ${MAX_BUNDLE_BYTES} bytes.`);
  const bundle = checkFields(parseObject(text));
  if (fingerprintOf(bundle.ca_cert_pem) !== bundle.ca_sha256) throw mismatch("its CA certificate is not the one it pins");
  if (bundle.cert_pem !== undefined && bundle.key_pem !== undefined) checkCredential(bundle, bundle.cert_pem, bundle.key_pem);
  return bundle;
}

function parseObject(text: string): Record<string, unknown> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // The parser's message quotes the text, which holds a secret.
    throw new SkepError("malformed_json", "The bundle is not valid JSON. Copy the whole file, or ask for a new one: `skep host bundle`.");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw new SkepError("invalid_request", "The bundle is not a JSON object.");
  return value as Record<string, unknown>;
}

const isText = (value: unknown): value is string => typeof value === "string" && value.length > 0 && value.length <= MAX_BUNDLE_BYTES;
const isPemCert = (value: unknown): boolean => isText(value) && attempt(() => readCert(value));
const isHttpsUrl = (value: unknown): boolean => {
  if (!isText(value) || !URL.canParse(value)) return false;
  const url = new URL(value);
  return url.protocol === "https:" && url.username === "" && url.password === "";
};
const isUrlList = (value: unknown): boolean => Array.isArray(value) && value.length >= 1 && value.length <= MAX_URLS && value.every(isHttpsUrl);

/** One line a field: whether it is good, and what it should have been. */
const FIELDS: { readonly [K in keyof Required<Bundle>]: { readonly ok: (value: unknown) => boolean; readonly want: string; readonly optional?: true } } = {
  version: { ok: (value) => value === 1, want: "must be 1; a newer bundle needs a newer skep" },
  host_id: { ok: (value) => isText(value) && isUuid(value), want: "must be a lower-case UUID" },
  name: { ok: (value) => isText(value) && isName(value), want: "must be 1 to 63 of a-z, 0-9 and dash" },
  enrol_urls: { ok: isUrlList, want: `must be 1 to ${MAX_URLS} https URLs without credentials` },
  master_urls: { ok: isUrlList, want: `must be 1 to ${MAX_URLS} https URLs without credentials` },
  ca_cert_pem: { ok: isPemCert, want: "must be a PEM certificate" },
  ca_sha256: { ok: (value) => isText(value) && /^[0-9a-f]{64}$/.test(value), want: "must be 64 lower-case hex digits" },
  trust_domain: { ok: (value) => isText(value) && attempt(() => checkTrustDomain(value)), want: "must be a trust domain such as skep.local" },
  token_id: { ok: (value) => isText(value) && isUuid(value), want: "must be a lower-case UUID" },
  token: { ok: (value) => isText(value) && /^[\x21-\x7e]{20,200}$/.test(value), want: "must be 20 to 200 printable characters" },
  expires_at: { ok: (value) => isText(value) && /^\d{4}-\d\d-\d\dT/.test(value) && !Number.isNaN(Date.parse(value)), want: "must be an RFC 3339 time" },
  agent_port: { ok: (value) => Number.isInteger(value) && Number(value) >= 0 && Number(value) <= 65_535, want: "must be a port, 0 to 65535", optional: true },
  cert_pem: { ok: isPemCert, want: "must be a PEM certificate", optional: true },
  key_pem: { ok: (value) => isText(value) && attempt(() => createPrivateKey(value)), want: "must be a PEM private key", optional: true },
};

function checkFields(found: Record<string, unknown>): Bundle {
  const errors: FieldError[] = [];
  const bundle: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(FIELDS)) {
    const value = Object.hasOwn(found, name) ? found[name] : undefined;
    if (value === undefined && field.optional === true) continue;
    if (field.ok(value)) bundle[name] = value;
    else errors.push({ pointer: `/${name}`, message: field.want });
  }
  if ((bundle["cert_pem"] === undefined) !== (bundle["key_pem"] === undefined)) errors.push({ pointer: "/key_pem", message: "cert_pem and key_pem come together or not at all" });
  if (errors.length > 0) {
    const list = errors.map(({ pointer, message }) => `${pointer.slice(1)} ${message}`).join("; ");
    throw new SkepError("invalid_request", `The bundle cannot be used: ${list}.`, { errors });
  }
  return bundle as unknown as Bundle;
}

/** The credential of a `--with-key` bundle must be this host's, of this CA, and fit its key. */
function checkCredential(bundle: Bundle, certPem: string, keyPem: string): void {
  const cert = readCert(certPem);
  const { identity } = identityOf(cert, bundle.trust_domain);
  if (!cert.checkPrivateKey(createPrivateKey(keyPem))) throw mismatch("its key does not belong to its certificate");
  if (!cert.verify(readCert(bundle.ca_cert_pem).publicKey)) throw mismatch("its certificate is not signed by its CA");
  if (identity?.role !== "host" || identity.hostId !== bundle.host_id) throw mismatch("its certificate is another host's");
}

const mismatch = (why: string): SkepError => new SkepError("cert_mismatch", `The bundle was refused: ${why}. Do not use it; ask for a new one: \`skep host bundle\`.`);

function attempt(act: () => unknown): boolean {
  try {
    act();
    return true;
  } catch {
    return false;
  }
}
