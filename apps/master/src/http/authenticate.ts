/**
 * Who asks. Every request looks its token up in the ledger, so that a revocation holds from the next request on, on
 * every master (faults F52). Invariants: a token is judged by database time; a secret is never logged or repeated.
 */
import { SkepError, type ApiToken, type Instant, type Reads, type Role, type TokenId } from "@skep/core";
import { parseToken, secretMatches } from "./tokens.ts";

export interface Principal {
  readonly tokenId: TokenId;
  readonly name: string;
  readonly role: Role;
  /** `token:<id>`, for the audit log. */
  readonly actor: string;
}

export interface Authenticator {
  /** The principal of an Authorization header; throws `unauthenticated`. */
  authenticate(header: string | undefined): Promise<Principal>;
  /** Whether a principal admitted earlier still is one: for streams. */
  stillValid(principal: Principal): Promise<boolean>;
}

const RANK: Readonly<Record<Role, number>> = { viewer: 0, operator: 1, admin: 2 };
export const roleAllows = (has: Role, needed: Role): boolean => RANK[has] >= RANK[needed];

export function createAuthenticator(store: Pick<Reads, "findApiToken">, now: () => number): Authenticator {
  const live = (token: ApiToken): boolean => token.revokedAt === undefined && now() < (token.expiresAt as Instant);
  return {
    authenticate: async (header) => {
      if (header === undefined) throw new SkepError("unauthenticated", "No Authorization header.");
      const match = /^Bearer ([\x21-\x7e]{1,200})$/i.exec(header);
      const given = match === null ? undefined : parseToken(match[1]!);
      if (given === undefined) throw new SkepError("unauthenticated", "The Authorization header is not `Bearer skp_…`.");
      const token = await store.findApiToken(given.id);
      // One answer for unknown and wrong: the difference would tell a guesser that an id exists.
      if (!secretMatches(given.secret, token?.secretHash) || token === undefined) throw new SkepError("unauthenticated", "The token is not valid.");
      if (token.revokedAt !== undefined) throw new SkepError("unauthenticated", "The token was revoked.");
      if (!live(token)) throw new SkepError("unauthenticated", "The token has expired.");
      return { tokenId: token.id, name: token.name, role: token.role, actor: `token:${token.id}` };
    },
    stillValid: async (principal) => {
      const token = await store.findApiToken(principal.tokenId);
      return token !== undefined && live(token);
    },
  };
}
