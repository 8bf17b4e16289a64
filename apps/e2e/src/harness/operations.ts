/** One operation from its request to the end of its rows, the way an operator lives through it. */
import { eventually } from "@skep/testkit";
import type { Api } from "./api.ts";

export interface Row {
  readonly id: string;
  readonly deployment: string;
  readonly host: string;
  readonly host_id: string;
  readonly placement_id: string;
  readonly operation: string;
  readonly status: string;
  readonly generation: number;
  readonly epoch: number;
  readonly failure_code: string | null;
  readonly error: string | null;
  readonly because: string | null;
  readonly steps: readonly { readonly name: string; readonly ok: boolean }[];
}

/** Sends it and returns its rows' ids. Throws with the whole answer when it was not accepted. */
export async function accepted(api: Api, path: string, body: unknown): Promise<string[]> {
  const answer = await api.post(path, body, { "idempotency-key": crypto.randomUUID() });
  if (answer.status !== 202) throw new Error(`POST ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body.lifecycle_ids as string[];
}

const OPEN = ["pending", "running", "lost"];

/** The rows, once all of them have ended. */
export async function ended(api: Api, ids: readonly string[], timeoutMs = 30_000): Promise<Row[]> {
  return eventually(async (status) => {
    const { items } = await api.get<{ items: Row[] }>(`/v1/lifecycle?ids=${ids.join(",")}&limit=200`);
    status(items.map((row) => `${row.operation} of ${row.deployment} on ${row.host}: ${row.status} (${row.because})`).join("; "));
    return items.length === ids.length && items.every((row) => !OPEN.includes(row.status)) ? items : undefined;
  }, { what: `the rows ${ids.join(", ")} have ended`, timeoutMs });
}

/** Sends it and waits for success on every host. */
export async function succeeds(api: Api, path: string, body: unknown): Promise<Row[]> {
  const rows = await ended(api, await accepted(api, path, body));
  const others = rows.filter((row) => row.status !== "succeeded");
  if (others.length > 0) throw new Error(`POST ${path}: ${JSON.stringify(others)}`);
  return rows;
}

/** Every row there is, oldest first. */
export async function allRows(api: Api): Promise<Row[]> {
  const rows: Row[] = [];
  let cursor = "";
  do {
    const page = await api.get<{ items: Row[]; next_cursor: string | null }>(`/v1/lifecycle?newest_first=false&limit=500${cursor === "" ? "" : `&cursor=${encodeURIComponent(cursor)}`}`);
    rows.push(...page.items);
    cursor = page.next_cursor ?? "";
  } while (cursor !== "");
  return rows;
}
