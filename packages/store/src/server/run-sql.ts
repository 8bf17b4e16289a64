/** One statement batch on a connection of its own, for administration: making databases, templates, checks. */
import pg from "pg";

/** Rows of the last statement. Without `params` the text may hold several statements. */
export async function runSql(url: string, text: string, params?: readonly unknown[]): Promise<Record<string, unknown>[]> {
  return withConnection(url, async (run) => run(text, params));
}

export type RunSql = (text: string, params?: readonly unknown[]) => Promise<Record<string, unknown>[]>;

/** Several statements on one connection, as session locks need it. The connection is closed whatever happens. */
export async function withConnection<T>(url: string, use: (run: RunSql) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 10_000 });
  // A server that ends while we are idle emits an error; the next statement reports it, the process must not die of it.
  client.on("error", () => undefined);
  await client.connect();
  try {
    return await use(async (text, params) => {
      const result = await client.query(params === undefined ? { text } : { text, values: [...params] });
      const last = (Array.isArray(result) ? result.at(-1) : result) as pg.QueryResult<Record<string, unknown>> | undefined;
      return last?.rows ?? [];
    });
  } finally {
    await client.end();
  }
}
