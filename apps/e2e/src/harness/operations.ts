/** One operation from its request to the end of its rows, the way an operator lives through it. */
import { eventually } from "@skep/testkit";
import type { Answer, Api } from "./api.ts";

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
export const accepted = async (api: Api, path: string, body: unknown): Promise<string[]> => (await sent(api, path, body)).lifecycle_ids;

/** The same, with all that the 202 said. */
export async function sent(api: Api, path: string, body: unknown): Promise<{ readonly lifecycle_ids: string[]; readonly rollout_id: string | null; readonly generation: number }> {
  const headers = { "idempotency-key": crypto.randomUUID() };
  const first = await api.post(path, body, headers);
  const answer = !isForSilence(first) ? first : await eventually(async (status) => {
    const again = await api.post(path, body, headers);
    status(`${again.status} ${JSON.stringify(again.body)}`);
    return isForSilence(again) ? undefined : again;
  }, { what: `POST ${path} finds its hosts heard`, timeoutMs: 90_000 });
  if (answer.status !== 202) throw new Error(`POST ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
  return answer.body;
}

/**
 * Beats of half a second are late whenever this machine is busy for longer, and until the host is heard again it gets no new
 * placement: that is promised, and no fault. Every other refusal is the answer.
 */
export const isForSilence = ({ status, body }: Answer): boolean =>
  status === 409 && body?.code === "no_eligible_host" && body.errors.some((one: { readonly message: string }) => SILENT.test(one.message));
const SILENT = /^(suspect: its heartbeat is late|unreachable$|masters cannot reach it|the circuit to it is open)/;

const OPEN = ["pending", "running", "lost"];

/** The rows, once all of them have ended. */
export async function ended(api: Api, ids: readonly string[], timeoutMs = 60_000): Promise<Row[]> {
  return eventually(async (status) => {
    const { items } = await api.get<{ items: Row[] }>(`/v1/lifecycle?ids=${ids.join(",")}&limit=200`);
    status(items.map((row) => `${row.operation} of ${row.deployment} on ${row.host}: ${row.status} (${row.because})`).join("; "));
    return items.length === ids.length && items.every((row) => !OPEN.includes(row.status)) ? items : undefined;
  }, { what: `the rows ${ids.join(", ")} have ended`, timeoutMs });
}

export interface RolloutView {
  readonly id: string;
  readonly status: string;
  readonly because: string;
  readonly generation: number;
  readonly base_generation: number | null;
  readonly rollback_generation: number | null;
  readonly wave: number;
  readonly waves: number;
  readonly counts: Readonly<Record<string, number>>;
  readonly waiting_for: string | null;
  readonly placements: readonly { readonly host: string; readonly state: string; readonly wave: number | null; readonly lifecycle_id: string | null; readonly rollback_lifecycle_id: string | null; readonly because: string | null }[];
}

/** Every row that a rollout has opened so far, there and back. */
export const rowsOfRollout = (rollout: RolloutView): string[] => rollout.placements.flatMap((item) => [item.lifecycle_id ?? [], item.rollback_lifecycle_id ?? []].flat());

/** The rollout, once it is in one of these states. */
export async function rolloutIs(api: () => Api, id: string, statuses: readonly string[], timeoutMs = 60_000): Promise<RolloutView> {
  return eventually(async (status) => {
    const rollout = await api().get<RolloutView>(`/v1/rollouts/${id}`);
    status(`${rollout.status}, wave ${rollout.wave}: ${rollout.because}; waits for ${rollout.waiting_for}`);
    return statuses.includes(rollout.status) ? rollout : undefined;
  }, { what: `the rollout ${id} is ${statuses.join(" or ")}`, timeoutMs });
}

/** Every rollout there is, oldest first. */
export async function allRollouts(api: Api): Promise<RolloutView[]> {
  const found: RolloutView[] = [];
  let cursor = "";
  do {
    const page = await api.get<{ items: RolloutView[]; next_cursor: string | null }>(`/v1/rollouts?newest_first=false&limit=500${cursor === "" ? "" : `&cursor=${cursor}`}`);
    found.push(...page.items);
    cursor = page.next_cursor ?? "";
  } while (cursor !== "");
  return found;
}

/** Sends it and waits for success on every host, through all its waves. */
export async function succeeds(api: Api, path: string, body: unknown): Promise<Row[]> {
  const answer = await sent(api, path, body);
  const { rollout_id: rolloutId } = answer;
  const rollout = rolloutId === null ? undefined : await rolloutIs(() => api, rolloutId, ["succeeded", "failed", "rolled_back", "superseded"]);
  if (rollout !== undefined && rollout.status !== "succeeded") throw new Error(`POST ${path}: ${JSON.stringify(rollout)}`);
  const rows = await ended(api, [...new Set([...answer.lifecycle_ids, ...(rollout === undefined ? [] : rowsOfRollout(rollout))])]);
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
