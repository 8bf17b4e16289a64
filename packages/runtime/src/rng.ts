/** Real chance, from the operating system. Good enough for secrets, which a seeded generator never is. */
import { randomBytes } from "node:crypto";
import type { Rng } from "@skep/core";

const ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
/** 43 letters of 62 are 256 bits: more than can be guessed, and no `_` or `-` that would break a split or a double click. */
const TOKEN_LENGTH = 43;

/** Cryptographic randomness from node:crypto. */
export function systemRng(): Rng {
  return {
    float: () => {
      const bytes = randomBytes(7);
      // 53 bits, the precision of a double: 48 from the integer read, 5 from the last byte.
      return (bytes.readUIntBE(0, 6) * 32 + (bytes[6]! & 31)) / 9_007_199_254_740_992;
    },
    bytes: (length) => new Uint8Array(randomBytes(length)),
  };
}

/** `<prefix>_` and 256 bits in base 62. Shown once to a person, stored only as its hash. */
export function randomToken(prefix: string): string {
  let secret = "";
  while (secret.length < TOKEN_LENGTH) {
    for (const byte of randomBytes(64)) {
      // Bytes of 248 and above are thrown away: keeping them would make the first eight letters more likely.
      if (byte < 248 && secret.length < TOKEN_LENGTH) secret += ALPHABET[byte % 62];
    }
  }
  return `${prefix}_${secret}`;
}
