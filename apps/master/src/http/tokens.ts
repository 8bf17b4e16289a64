/**
 * API tokens: `skp_<id>_<secret>`. The id finds the record, the secret proves it; only the secret's SHA-256 is kept.
 * Invariant: the comparison takes the same time for an unknown id, a wrong secret and a right one.
 */
import { timingSafeEqual } from "node:crypto";
import { isUuid, uuidv7, type Instant, type Rng, type TokenId } from "@skep/core";
import { randomToken, sha256Hex } from "@skep/runtime";

const TOKEN = /^skp_([0-9a-f]{32})_([0-9A-Za-z]{43})$/;
const NOBODY = sha256Hex("no token has this secret");

export interface NewToken {
  readonly id: TokenId;
  /** What the store keeps. */
  readonly secretHash: string;
  /** What a person is shown, once. */
  readonly token: string;
}

/** A fresh token with 256 random bits. */
export function newToken(now: Instant, rng: Rng): NewToken {
  const id = uuidv7(now, rng) as TokenId;
  const secret = randomToken("s").slice(2);
  return { id, secretHash: sha256Hex(secret), token: formatToken(id, secret) };
}

export const formatToken = (id: string, secret: string): string => `skp_${id.replaceAll("-", "")}_${secret}`;

/** `undefined` when the text is not of the form of a token. */
export function parseToken(text: string): { readonly id: TokenId; readonly secret: string } | undefined {
  const match = TOKEN.exec(text);
  if (match === null) return undefined;
  const [, hex, secret] = match as unknown as [string, string, string];
  const id = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
  return isUuid(id) ? { id: id as TokenId, secret } : undefined;
}

/** Whether the secret is the stored one; `undefined` = no record, which takes as long to deny. */
export function secretMatches(secret: string, storedHash: string | undefined): boolean {
  const given = Buffer.from(sha256Hex(secret), "hex");
  const stored = Buffer.from(storedHash ?? NOBODY, "hex");
  return given.length === stored.length && timingSafeEqual(given, stored) && storedHash !== undefined;
}
