/**
 * Tokens that the ledger vouched for a short while ago, for the one route that must answer while the database is away:
 * the metrics that tell of it. A token can hardly be revoked meanwhile, and what it opens are numbers. Invariant: what the
 * ledger says now always wins; memory speaks only where the ledger does not answer.
 */
import { SkepError, type ApiToken, type Clock, type Reads, type TokenId } from "@skep/core";

/** Longer than most outages; not so long that a token revoked through another master's database connection lives on. */
export const REMEMBERED_MS = 15 * 60_000;
/** A scrape has 10 s for everything. */
const PATIENCE_MS = 2_000;
/** Prometheus servers and their spares; more are people with curl, who may be told that the database is away. */
const MAX_REMEMBERED = 32;

export function rememberTokens(store: Pick<Reads, "findApiToken">, clock: Clock): Pick<Reads, "findApiToken"> {
  const known = new Map<TokenId, { readonly token: ApiToken; readonly atMs: number }>();
  const ask = async (id: TokenId): Promise<ApiToken | undefined> => {
    const token = await store.findApiToken(id);
    known.delete(id);
    if (token === undefined) return undefined;
    if (known.size >= MAX_REMEMBERED) known.delete(known.keys().next().value!);
    known.set(id, { token, atMs: clock.mono() });
    return token;
  };
  return {
    async findApiToken(id) {
      const asked = ask(id);
      const before = known.get(id);
      if (before === undefined || clock.mono() - before.atMs > REMEMBERED_MS) return asked;
      const done = new AbortController();
      try {
        return await Promise.race([asked, clock.sleep(PATIENCE_MS, done.signal).then(() => before.token)]);
      } catch (error) {
        if (!(error instanceof SkepError && error.retryable)) throw error;
        return before.token;
      } finally {
        done.abort();
        asked.catch(() => undefined);
      }
    },
  };
}
