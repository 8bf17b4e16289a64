/**
 * The worst first, found among the hosts that the store names, against the plain way that judges the whole fleet: random
 * fleets in which every reason occurs alone and with others. `SKEP_SEED` replays.
 */
import { readFileSync } from "node:fs";
import { CLOSED_BREAKER, below, createCallMetrics, instant, seededRng, timingsFor, viewBreaker, type Attention, type HostId, type HostRecord, type Rng, type Store } from "@skep/core";
import { runSql } from "@skep/store/server";
import { seedFromEnv } from "@skep/testkit";
import { useDatabase } from "@skep/testkit/vitest";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createHealthList, everybody, firstOf, type HealthQuery } from "../../src/http/list-health.ts";
import type { OperatorDeps } from "../../src/http/settings.ts";
import { openStore } from "./use-api.ts";

const FLEETS = 16;
const HOSTS = 40;
const timings = timingsFor(30_000);
const database = useDatabase();
let store: Store;
beforeAll(async () => {
  store = await openStore(database.url);
  // A collation that looks past hyphens, as that of many a server does: core compares names by their bytes.
  await runSql(database.url, "CREATE COLLATION shifted (provider = icu, locale = 'und-u-ka-shifted')");
  await runSql(database.url, "ALTER TABLE hosts ALTER COLUMN name TYPE text COLLATE shifted");
});
afterAll(() => store.close());

const idAt = (n: number): HostId => `00000000-0000-7000-8000-${n.toString(16).padStart(12, "0")}` as HostId;
const pick = <T>(rng: Rng, items: readonly T[]): T => items[below(rng, items.length)]!;

/** One host's facts. Ages and terms lie minutes away from every limit, so that a slow test sees what a fast one sees. */
interface Facts {
  status: string; schedulable: boolean; zone: string; silentS: number | undefined; phase: string | undefined;
  report: { error: string | undefined; boot: string | undefined; disk: readonly [free: number | undefined, size: number | undefined] } | undefined;
  reach: { state: string; flapping: boolean } | undefined;
  certs: readonly { status: string; begunDays: number; leftDays: number }[];
  placements: readonly { desired: string; observed: string | undefined; removed: boolean }[];
  open: boolean;
}

const calm = (rng: Rng): Facts => ({
  status: "active", schedulable: true, zone: pick(rng, ["eu1", "us1"]), silentS: below(rng, 2), phase: pick(rng, ["ready", undefined]),
  report: pick(rng, [undefined, { error: undefined, boot: pick(rng, [undefined, "complete"]), disk: pick(rng, [[undefined, undefined], [50, 100], [10.2, 100], [1, 0], [undefined, 100], [5, undefined]]) }]),
  reach: pick(rng, [undefined, { state: pick(rng, ["reachable", "unknown"]), flapping: false }]),
  certs: pick(rng, [[], [{ status: "active", begunDays: 10, leftDays: 80 }], [{ status: "active", begunDays: 1, leftDays: 3 }], [{ status: "active", begunDays: 1, leftDays: 300 }, { status: "retiring", begunDays: 300, leftDays: 1 }], [{ status: "revoked", begunDays: 89, leftDays: 1 }]]),
  placements: pick(rng, [[], [{ desired: "running", observed: "running", removed: false }], [{ desired: "running", observed: undefined, removed: false }, { desired: "absent", observed: "failed", removed: true }]]),
  open: false,
});

type Trouble = (facts: Facts) => void;
const report = (patch: Partial<NonNullable<Facts["report"]>>): Trouble => (facts) => void (facts.report = { error: undefined, boot: undefined, disk: [50, 100], ...patch });
/** Each is one way in which a host may differ from a calm one; the last few are none, and look like it. */
const TROUBLES: readonly Trouble[] = [
  ...["pending", "enrolled", "suspect", "unreachable", "decommissioned"].map((status): Trouble => (facts) => void (facts.status = status)),
  (facts) => void (facts.schedulable = false),
  ...[undefined, 600, 86_400].map((silentS): Trouble => (facts) => void (facts.silentS = silentS)),
  ...["booting", "draining", "stopping"].map((phase): Trouble => (facts) => void (facts.phase = phase)),
  report({ error: "the engine is away" }),
  (facts) => {
    facts.phase = "ready";
    report({ boot: "degraded" })(facts);
  },
  (facts) => {
    facts.phase = "booting";
    report({ boot: "blocked" })(facts);
  },
  report({ disk: [9.99, 100] }), report({ disk: [0, 1] }),
  (facts) => void (facts.reach = { state: "unreachable", flapping: false }),
  (facts) => void (facts.reach = { state: "reachable", flapping: true }),
  ...[-3, 2, 29].flatMap((leftDays) => ["active", "retiring"].map((status): Trouble => (facts) => void (facts.certs = [{ status, begunDays: 90, leftDays }]))),
  (facts) => void (facts.certs = [{ status: "active", begunDays: 9, leftDays: 2 }]),
  (facts) => void (facts.placements = [{ desired: "running", observed: "failed", removed: false }]),
  (facts) => void (facts.placements = [{ desired: "absent", observed: "running", removed: false }]),
  (facts) => void (facts.open = true),
  report({ disk: [10, 100] }), report({ disk: [10.01, 100] }),
  (facts) => void (facts.certs = [{ status: "active", begunDays: 90, leftDays: 31 }]),
  (facts) => void (facts.placements = [{ desired: "absent", observed: "absent", removed: false }]),
];
/** Of hosts that are silent, and of those that are not active: both are named for that alone. */
const OF_THE_NAMED = ["decommissioned", "not_enrolled", "never_heard", "unreachable", "heartbeat_lost_but_reachable", "heartbeat_late", "warming_up"];

function fleetOf(rng: Rng): Facts[] {
  // Some fleets are calm all over, in some everybody has something.
  const share = pick(rng, [0, 0.2, 0.5, 1]);
  return Array.from({ length: HOSTS }, () => {
    const facts = calm(rng);
    if (rng.float() < share) for (let n = pick(rng, [1, 1, 2, 3]); n > 0; n--) pick(rng, TROUBLES)(facts);
    return facts;
  });
}

/** Names whose order depends on who compares them. */
const nameOf = (n: number): string => `${["a-", "a", "a1-", "b"][n % 4]}${(n * 7) % HOSTS}`;

async function write(fleet: readonly Facts[]): Promise<void> {
  const rows = fleet.map((facts, n) => ({ ...facts, id: idAt(n + 1), name: nameOf(n) }));
  const each = "FROM jsonb_array_elements($1::jsonb) AS t (f)";
  const run = (sql: string) => runSql(database.url, sql, [JSON.stringify(rows)]);
  await runSql(database.url, `TRUNCATE hosts, deployments, host_certs CASCADE`);
  await runSql(database.url, `INSERT INTO deployments (id, name, generation, desired, reconcile, placement) SELECT ('00000000-0000-7000-8001-' || lpad(to_hex(n), 12, '0'))::uuid, 'app-' || n, 1, 'running', 'auto', '{}' FROM generate_series(0, 2) n`);
  await run(`INSERT INTO hosts (id, name, status, agent_port, schedulable, labels, decommissioned_at)
    SELECT (f->>'id')::uuid, f->>'name', f->>'status', 1, (f->>'schedulable')::boolean, jsonb_build_object('zone', f->>'zone'), CASE WHEN f->>'status' = 'decommissioned' THEN now() END ${each}`);
  await run(`INSERT INTO host_liveness (host_id, last_heartbeat_at, seq, taken, changed, phase) SELECT (f->>'id')::uuid, now() - (f->>'silentS')::float8 * interval '1 second', 1, true, false, f->>'phase' ${each} WHERE f->>'silentS' IS NOT NULL`);
  await run(`INSERT INTO host_reports (host_id, boot_id, op_seq, received_at, since_seq, jobs_truncated, resources, observed_error, boot)
    SELECT (f->>'id')::uuid, 'b', 1, now(), 1, false, jsonb_strip_nulls(jsonb_build_object('disk_free_bytes', f->'report'->'disk'->0, 'disk_bytes', f->'report'->'disk'->1)), f->'report'->>'error',
      CASE WHEN f->'report'->>'boot' IS NOT NULL THEN jsonb_build_object('state', f->'report'->>'boot', 'stage', NULL, 'members', '[]'::jsonb) END ${each} WHERE f->'report' IS NOT NULL`);
  await run(`INSERT INTO host_reachability (host_id, state, flapping) SELECT (f->>'id')::uuid, f->'reach'->>'state', (f->'reach'->>'flapping')::boolean ${each} WHERE f->'reach' IS NOT NULL`);
  await run(`INSERT INTO host_certs (sha256, host_id, spki_sha256, status, not_before, not_after, retire_at, revoked_at)
    SELECT encode(sha256((f->>'id' || nth)::bytea), 'hex'), (f->>'id')::uuid, encode(sha256((f->>'id' || nth)::bytea), 'hex'), c->>'status', now() - (c->>'begunDays')::float8 * interval '1 day', now() + (c->>'leftDays')::float8 * interval '1 day',
      CASE WHEN c->>'status' = 'retiring' THEN now() END, CASE WHEN c->>'status' = 'revoked' THEN now() END ${each}, jsonb_array_elements(f->'certs') WITH ORDINALITY AS cs (c, nth)`);
  const placement = `('00000000-0000-7000-8002-' || lpad(to_hex(nth), 2, '0') || right(f->>'id', 10))::uuid`;
  await run(`INSERT INTO placements (id, deployment_id, host_id, desired, epoch, generation, removed_at)
    SELECT ${placement}, ('00000000-0000-7000-8001-' || lpad(to_hex(nth), 12, '0'))::uuid, (f->>'id')::uuid, p->>'desired', 1, 1, CASE WHEN (p->>'removed')::boolean THEN now() END ${each}, jsonb_array_elements(f->'placements') WITH ORDINALITY AS ps (p, nth)`);
  await run(`INSERT INTO observed (placement_id, host_id, state, generation, epoch, spec_hash, components, changed_at)
    SELECT ${placement}, (f->>'id')::uuid, p->>'observed', 1, 1, '', '[]', now() ${each}, jsonb_array_elements(f->'placements') WITH ORDINALITY AS ps (p, nth) WHERE p->>'observed' IS NOT NULL`);
}

function depsOf(fleet: readonly Facts[]): { readonly deps: OperatorDeps; readonly named: () => number; readonly walks: () => number } {
  const open = new Set(fleet.flatMap((facts, n) => (facts.open ? [idAt(n + 1) as string] : [])));
  const closed = viewBreaker(CLOSED_BREAKER, 0);
  let named = 0;
  let walks = 0;
  const counting: Store = {
    ...store,
    attentionCandidates: async (query) => {
      const found = await store.attentionCandidates(query);
      named = found.ids.length;
      return found;
    },
    listHosts: (query) => {
      if (query.ids === undefined) walks += 1;
      return store.listHosts(query);
    },
  };
  const agents = {
    circuit: (host: HostRecord) => (open.has(host.id) ? { ...closed, state: "open" as const, consecutiveFailures: 5, cause: "failures" as const, openedForMs: 1, retryInMs: 1 } : closed),
    openCircuits: () => [...open] as HostId[],
    calls: () => createCallMetrics(0).summary(0),
  };
  return { named: () => named, walks: () => walks, deps: { store: counting, control: { listeningSince: () => instant(0) }, agents, timings } as unknown as OperatorDeps };
}

const keyOf = (cursor: string | null): Attention | undefined => {
  const [, rank, id, name] = cursor?.split(".") ?? [];
  return rank === undefined ? undefined : { rank: Number(rank), id: id as HostId, name: name! };
};

test("whatever the fleet, each page is the one that judging everybody gives", async () => {
  const seed = seedFromEnv();
  let spared = 0;
  for (let fleets = 0; fleets < FLEETS; fleets++) {
    const rng = seededRng(seed + fleets);
    const fleet = fleetOf(rng);
    await write(fleet);
    const { deps, named } = depsOf(fleet);
    const list = createHealthList(deps);
    const query: HealthQuery = {
      sort: "attention", limit: 1 + below(rng, 12), health: pick(rng, [undefined, undefined, "healthy", "degraded", "unknown", "unhealthy"] as const), status: pick(rng, [undefined, undefined, "active", "decommissioned"] as const),
      labels: pick(rng, [undefined, undefined, { zone: "eu1" }]),
    };
    for (let cursor: string | undefined; ; ) {
      const fast = await list({ ...query, cursor });
      const plain = await firstOf(deps, query, keyOf(cursor ?? null), everybody(deps, query));
      const shown = ({ items, next }: typeof fast) => ({ items: items.map(({ view, judged }) => [view.host.name, judged.health, judged.reasons.map((reason) => reason.code)]), next });
      expect(shown(fast), `seed ${seed}, fleet ${fleets}, ${JSON.stringify(query)}`).toEqual(shown(plain));
      if (named() < HOSTS) spared += 1;
      if (fast.next === null) break;
      cursor = fast.next;
    }
  }
  // Control: it is not the same because everybody was named.
  expect(spared).toBeGreaterThan(FLEETS / 2);
});

test("every reason alone is named, and a calm fleet costs a page", async () => {
  const rng = seededRng(1);
  const query: HealthQuery = { sort: "attention", limit: 3 };
  const seen = new Set<string>(OF_THE_NAMED);
  for (const [nth, trouble] of TROUBLES.entries()) {
    const fleet = Array.from({ length: 12 }, () => calm(rng));
    // The last one by name: without a reason it is on no page of three.
    const last = Array.from(fleet.keys()).reduce((a, b) => (nameOf(a) > nameOf(b) ? a : b));
    trouble(fleet[last]!);
    await write(fleet);
    const { deps, named } = depsOf(fleet);
    const [page, plain] = [await createHealthList(deps)(query), await firstOf(deps, query, undefined, everybody(deps, query))];
    expect(page.items.map(({ view }) => view.host.name), `trouble ${nth}`).toEqual(plain.items.map(({ view }) => view.host.name));
    expect(named(), `trouble ${nth}`).toBeLessThanOrEqual(5);
    for (const { judged } of plain.items) for (const { code } of judged.reasons) seen.add(code);
  }
  const source = readFileSync(new URL("../../../../packages/core/src/liveness/decide-health.ts", import.meta.url), "utf8");
  const codes = [...new Set([...source.matchAll(/code: "([a-z_]+)"/g)].map((match) => match[1]!))];
  expect(codes.length).toBeGreaterThan(15);
  expect(codes.filter((code) => !seen.has(code)), "a reason that no trouble above brings about: add one, and the reason to packages/store/src/attention.ts").toEqual([]);
});

test("page after page of a calm fleet, only the page is judged", async () => {
  const rng = seededRng(2);
  const fleet = Array.from({ length: 12 }, () => calm(rng));
  await write(fleet);
  const { deps, named, walks } = depsOf(fleet);
  const list = createHealthList(deps);
  const names: string[] = [];
  for (let cursor: string | undefined; ; ) {
    const { items, next } = await list({ sort: "attention", limit: 3, cursor });
    expect(named()).toBeLessThanOrEqual(4);
    names.push(...items.map(({ view }) => view.host.name));
    if (next === null) break;
    cursor = next;
  }
  expect(names).toEqual(Array.from(fleet.keys(), nameOf).sort());
  expect(walks()).toBe(0);
});

test("calm hosts that are gone a moment later leave no gap: the page is made the plain way", async () => {
  const fleet = Array.from({ length: HOSTS }, () => ({ ...calm(seededRng(5)), status: "active" }));
  await write(fleet);
  const { deps } = depsOf(fleet);
  const hasty: OperatorDeps = { ...deps, store: { ...deps.store, attentionCandidates: async (query) => {
    const found = await store.attentionCandidates(query);
    await runSql(database.url, "UPDATE hosts SET status = 'decommissioned', decommissioned_at = now() WHERE id = ANY($1)", [found.ids.slice(0, 3)]);
    return found;
  } } };
  const page = await createHealthList(hasty)({ sort: "attention", limit: 5 });
  const plain = await firstOf(deps, { sort: "attention", limit: 5 }, undefined, everybody(deps, { sort: "attention", limit: 5 }));
  expect(page.items.map(({ view }) => view.host.name)).toEqual(plain.items.map(({ view }) => view.host.name));
  expect([page.items.length, page.next]).toEqual([5, plain.next]);
});
