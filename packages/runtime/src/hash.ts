/** SHA-256, in the one spelling used everywhere: lower-case hex. */
import { createHash } from "node:crypto";
import { canonicalJson } from "@skep/core";

export function sha256Hex(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}

/** The hash of a spec's canonical JSON: equal on master and agent for specs that mean the same. */
export function specHash(spec: unknown): string {
  return sha256Hex(canonicalJson(spec));
}
