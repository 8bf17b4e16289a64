/** Bundles: a good one, and each way in which one can be bad. */
import { SkepError } from "@skep/core";
import { describe, expect, it } from "vitest";
import { MAX_BUNDLE_BYTES, parseBundle } from "../src/index.ts";
import { HOST_ID, makeFleet, OTHER_HOST_ID, TRUST_DOMAIN } from "./fleet.ts";

const fleet = makeFleet();
const other = makeFleet();
const TOKEN = "ske_0123456789abcdefghijklmnopqrstuvwxyzSECRET";
const good = {
  version: 1, host_id: HOST_ID, name: "web-01", enrol_urls: ["https://127.0.0.1:8442"], master_urls: ["https://127.0.0.1:8443", "https://[::1]:8443"],
  ca_cert_pem: fleet.authority.certPem, ca_sha256: fleet.authority.sha256, trust_domain: TRUST_DOMAIN,
  token_id: OTHER_HOST_ID, token: TOKEN, expires_at: "2026-11-20T19:00:00.000Z",
};
const withKey = { ...good, cert_pem: fleet.asHost.certPem, key_pem: fleet.asHost.keyPem };

function refusal(bundle: unknown): { code: string; pointers: string[]; detail: string } | "accepted" {
  try {
    parseBundle(typeof bundle === "string" ? bundle : JSON.stringify(bundle));
    return "accepted";
  } catch (error) {
    if (!(error instanceof SkepError)) throw error;
    expect(`${error.detail} ${String(error.cause)}`).not.toMatch(/SECRET|PRIVATE/);
    return { code: error.code, pointers: error.errors.map(({ pointer }) => pointer), detail: error.detail };
  }
}

describe("parseBundle", () => {
  it("reads a good bundle and leaves out what it does not know", () => {
    expect(parseBundle(JSON.stringify({ ...good, colour: "green", agent_port: 8444 }))).toEqual({ ...good, agent_port: 8444 });
    expect(parseBundle(JSON.stringify(withKey, null, 2))).toEqual(withKey);
  });

  it.each([
    ["version", 2], ["host_id", HOST_ID.replace("a0b0", "A0B0")], ["name", "../etc"], ["enrol_urls", []], ["enrol_urls", ["http://127.0.0.1:8442"]],
    ["master_urls", "https://127.0.0.1"], ["master_urls", ["https://user:pw@127.0.0.1"]], ["master_urls", Array(17).fill("https://a")], ["ca_cert_pem", "hello"],
    ["ca_sha256", fleet.authority.sha256.toUpperCase()], ["trust_domain", "a/b"], ["token_id", ""], ["token", "short"], ["token", `${TOKEN}\r\nX-Evil: 1`],
    ["expires_at", "tomorrow"], ["agent_port", 65_536], ["agent_port", null],
  ])("names %s when it is %j", (field, value) => {
    expect(refusal({ ...good, [field]: value })).toMatchObject({ code: "invalid_request", pointers: [`/${field}`] });
  });

  it("names every missing field at once", () => {
    expect(refusal({})).toMatchObject({ code: "invalid_request", pointers: Object.keys(good).map((field) => `/${field}`) });
    expect(refusal({ ...good, key_pem: fleet.asHost.keyPem })).toMatchObject({ pointers: ["/key_pem"] });
  });

  it("refuses what is not a JSON object, without quoting it", () => {
    expect(refusal(`{"token": "${TOKEN}"`)).toMatchObject({ code: "malformed_json" });
    for (const text of ["null", "[]", "3"]) expect(refusal(text)).toMatchObject({ code: "invalid_request" });
    expect(refusal(`{"__proto__": ${JSON.stringify(good)}}`)).toMatchObject({ code: "invalid_request" });
  });

  it("refuses one byte too many", () => {
    const text = JSON.stringify(good);
    expect(refusal(text.padEnd(MAX_BUNDLE_BYTES))).toBe("accepted");
    expect(refusal(text.padEnd(MAX_BUNDLE_BYTES + 1))).toMatchObject({ code: "payload_too_large" });
    expect(refusal("é".repeat(MAX_BUNDLE_BYTES - 1))).toMatchObject({ code: "payload_too_large" });
  });

  it("refuses a CA that is not the pinned one, and a credential that is not this host's", () => {
    expect(refusal({ ...good, ca_cert_pem: other.authority.certPem })).toMatchObject({ code: "cert_mismatch", detail: expect.stringMatching(/not the one it pins/) });
    expect(refusal({ ...withKey, key_pem: fleet.asOther.keyPem })).toMatchObject({ code: "cert_mismatch", detail: expect.stringMatching(/key does not belong/) });
    expect(refusal({ ...withKey, cert_pem: fleet.asOther.certPem, key_pem: fleet.asOther.keyPem })).toMatchObject({ code: "cert_mismatch", detail: expect.stringMatching(/another host's/) });
    expect(refusal({ ...withKey, cert_pem: fleet.asMaster.certPem, key_pem: fleet.asMaster.keyPem })).toMatchObject({ code: "cert_mismatch", detail: expect.stringMatching(/another host's/) });
    expect(refusal({ ...withKey, cert_pem: other.asHost.certPem, key_pem: other.asHost.keyPem })).toMatchObject({ code: "cert_mismatch", detail: expect.stringMatching(/not signed by its CA/) });
  });
});
