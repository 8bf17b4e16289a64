/**
 * Many hosts with their health, by name or the worst first. Health is judged and nowhere stored, so a filter or an order
 * by it reads the hosts it may choose from; what is read at once is a page, and what is kept is at most what is answered.
 * The order of attention is found among hosts that the store names: all with anything to say about them, and of the calm
 * rest, which are equals, the first by name. Still a look at the whole fleet: one such pass at a time in this master.
 */
import { attentionRank, CALM_RANK, compareAttention, isUuid, SkepError, type Attention, type HealthSummary, type HostId, type HostStatus, type HostView } from "@skep/core";
import { judgeHosts, type LoadedHealth } from "./health-facts.ts";
import { createOneAtATime } from "./one-at-a-time.ts";
import type { OperatorDeps } from "./settings.ts";

export interface HealthQuery {
  readonly limit: number;
  readonly cursor?: string | undefined;
  readonly health?: HealthSummary | undefined;
  readonly status?: HostStatus | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly sort: "name" | "attention";
}

export interface HealthPage {
  readonly items: readonly LoadedHealth[];
  readonly next: string | null;
}

const PAGE = 500;
/**
 * Hosts judged for one page by name. More makes a rare word's page slow; fewer makes its reader ask more often, with
 * empty pages in between.
 */
const MAX_JUDGED = 5_000;

export function createHealthList(deps: OperatorDeps): (query: HealthQuery) => Promise<HealthPage> {
  const once = createOneAtATime();
  return (query) => (query.sort === "name" ? byName(deps, query) : once(JSON.stringify(query), () => byAttention(deps, query)));
}

const selected = ({ status, labels }: HealthQuery) => ({ status, labels, live: status !== "decommissioned" });
const fits = ({ health }: HealthQuery, loaded: LoadedHealth): boolean => health === undefined || loaded.judged.health === health;

async function byName(deps: OperatorDeps, query: HealthQuery): Promise<HealthPage> {
  const items: LoadedHealth[] = [];
  let after = query.cursor === undefined ? undefined : parseCursor("name", query.cursor);
  for (let judged = 0; judged < MAX_JUDGED; ) {
    // Without a filter the page is known to fill: one more than it holds tells whether another follows.
    const limit = query.health === undefined ? query.limit - items.length + 1 : PAGE;
    const views = await deps.store.listHosts({ ...selected(query), limit, byName: { after } });
    for (const loaded of await judgeHosts(deps, views)) {
      if (fits(query, loaded)) {
        if (items.length === query.limit) return { items, next: cursorOf("name", after!) };
        items.push(loaded);
      }
      const { name, id } = loaded.view.host;
      after = { rank: 0, name, id };
    }
    if (views.length < limit) return { items, next: null };
    judged += views.length;
  }
  return { items, next: cursorOf("name", after!) };
}

interface Ranked {
  readonly key: Attention;
  readonly loaded: LoadedHealth;
}

async function byAttention(deps: OperatorDeps, query: HealthQuery): Promise<HealthPage> {
  const from = query.cursor === undefined ? undefined : parseCursor("attention", query.cursor);
  // Before the store's look: a circuit that opens after it belongs to the next answer.
  const openCircuits = deps.agents.openCircuits();
  const wantsCalm = query.health === undefined || query.health === "healthy";
  const { ids, cut } = await deps.store.attentionCandidates({
    ...selected(query), suspectAfterMs: deps.timings.suspectAfterMs, openCircuits,
    calm: { limit: wantsCalm ? query.limit + 1 : 0, after: from !== undefined && from.rank >= CALM_RANK ? from : undefined },
  });
  const page = await firstOf(deps, query, from, pagesOf(deps, query, ids));
  // As many calm ones were named as the page needs, and it is not full: somebody of them is gone or fits no more, and who comes next was not asked for.
  return wantsCalm && cut && page.next === null ? firstOf(deps, query, from, everybody(deps, query)) : page;
}

async function* pagesOf(deps: OperatorDeps, query: HealthQuery, ids: readonly HostId[]): AsyncGenerator<readonly HostView[]> {
  for (let at = 0; at < ids.length; at += PAGE) yield await deps.store.listHosts({ ...selected(query), ids: ids.slice(at, at + PAGE), limit: PAGE });
}

/** The plain way: reads the whole fleet and leaves nobody out. */
export async function* everybody(deps: OperatorDeps, query: HealthQuery): AsyncGenerator<readonly HostView[]> {
  for (let after: string | undefined; ; ) {
    const views = await deps.store.listHosts({ ...selected(query), limit: PAGE, after });
    yield views;
    if (views.length < PAGE) return;
    after = views.at(-1)!.host.id;
  }
}

/** Judges them all and keeps the first after `from`. */
export async function firstOf(deps: OperatorDeps, query: HealthQuery, from: Attention | undefined, pages: AsyncIterable<readonly HostView[]>): Promise<HealthPage> {
  let best: Ranked[] = [];
  for await (const views of pages) {
    for (const loaded of await judgeHosts(deps, views)) {
      const { id, name, status } = loaded.view.host;
      const key = { rank: attentionRank(status, loaded.judged), name, id };
      if (fits(query, loaded) && (from === undefined || compareAttention(key, from) > 0)) best.push({ key, loaded });
    }
    best = best.sort((a, b) => compareAttention(a.key, b.key)).slice(0, query.limit + 1);
  }
  const shown = best.slice(0, query.limit);
  const last = shown.at(-1);
  return { items: shown.map(({ loaded }) => loaded), next: best.length > query.limit && last !== undefined ? cursorOf("attention", last.key) : null };
}

/** Where the last page ended, as a key and not as a number: hosts that come and go in between shift nobody. */
const cursorOf = (sort: HealthQuery["sort"], { rank, id, name }: Attention): string => `${sort}.${rank}.${id}.${name}`;

/** Throws `cursor_mismatch` for what this list never gave out, and for another order's. */
function parseCursor(sort: HealthQuery["sort"], cursor: string): Attention {
  const [given, rank = "", id = "", name = "", ...more] = cursor.split(".");
  if (given !== sort || !/^\d{1,3}$/.test(rank) || !isUuid(id) || name === "" || more.length > 0) throw new SkepError("cursor_mismatch", "The cursor is not one of this list in this order.");
  return { rank: Number(rank), id: id as HostId, name };
}
