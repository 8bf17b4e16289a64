/** Deployments as their callers need them. Five statements whatever their number: names, places, hosts, ports and load. */
import { isUuid } from "@skep/core";
import type { DeploymentId, DeploymentRecord, GenerationPorts, HostId, PlacementView, ServiceQuery, ServiceSnapshot } from "@skep/core";
import { and, asc, eq, gt, inArray, isNull, or, sql } from "drizzle-orm";
import type { SQL } from "drizzle-orm";
import type { AnyPgColumn } from "drizzle-orm/pg-core";
import { readNow } from "./clock.ts";
import type { Db } from "./db.ts";
import { afterId, rowsOf } from "./db.ts";
import { deploymentOf } from "./deployments.ts";
import { findViews } from "./hosts.ts";
import { findPlacementViews } from "./placements.ts";
import { deployments, hosts, observed, placements } from "./schema/index.ts";

export async function serviceSnapshot(db: Db, query: ServiceQuery): Promise<ServiceSnapshot> {
  const now = await readNow(db);
  const found = await listDeployments(db, query);
  if (found.length === 0) return { now, deployments: [], placements: [], hosts: new Map(), ports: [], running: new Map() };
  const views = await findPlacementViews(db, and(isAny(placements.deploymentId, found.map((one) => one.id)), isNull(placements.removedAt)));
  const hostIds = [...new Set(views.map((view) => view.placement.hostId))];
  const hostViews = await findViews(db, isAny(hosts.id, hostIds), [asc(hosts.id)], hostIds.length);
  return {
    now, deployments: found, placements: views, hosts: new Map(hostViews.map((view) => [view.host.id, view])),
    ports: await portsOf(db, found, views), running: query.load === true ? await runningOn(db, hostIds) : new Map(),
  };
}

async function listDeployments(db: Db, { refs, after, limit }: ServiceQuery): Promise<readonly DeploymentRecord[]> {
  const named = refs === undefined ? undefined : or(inArray(deployments.name, [...refs]), inArray(deployments.id, refs.filter(isUuid) as DeploymentId[]));
  const select = db.select().from(deployments)
    .where(and(isNull(deployments.deletedAt), named, after === undefined ? undefined : gt(deployments.id, afterId<DeploymentId>(after))))
    .orderBy(asc(deployments.id));
  return (await (limit === undefined ? select : select.limit(limit))).map(deploymentOf);
}

/** The ports alone: a spec may be a megabyte of everything else. */
async function portsOf(db: Db, found: readonly DeploymentRecord[], views: readonly PlacementView[]): Promise<readonly GenerationPorts[]> {
  const wanted = new Map<string, readonly [DeploymentId, number]>();
  const want = (id: DeploymentId, generation: number | undefined): void => void (generation === undefined || wanted.set(`${id}/${generation}`, [id, generation]));
  for (const { id, generation } of found) want(id, generation);
  for (const { placement, observed: seen } of views) {
    want(placement.deploymentId, placement.generation);
    want(placement.deploymentId, seen?.generation);
  }
  const pairs = [...wanted.values()];
  const rows = await rowsOf<{ deployment_id: DeploymentId; generation: string; components: GenerationPorts["components"] }>(db.execute(sql`
    SELECT g.deployment_id, g.generation,
      (SELECT coalesce(jsonb_agg(jsonb_build_object('name', c.value->>'name', 'ports', coalesce(c.value->'ports', '[]')) ORDER BY c.ordinality), '[]')
        FROM jsonb_array_elements(g.spec->'components') WITH ORDINALITY AS c) AS components
    FROM unnest(${sql.param(pairs.map(([id]) => id))}::uuid[], ${sql.param(pairs.map(([, generation]) => generation))}::bigint[]) AS w (deployment_id, generation)
    JOIN deployment_generations g ON g.deployment_id = w.deployment_id AND g.generation = w.generation
    ORDER BY g.deployment_id, g.generation`));
  return rows.map((row) => ({ deploymentId: row.deployment_id, generation: Number(row.generation), components: row.components }));
}

async function runningOn(db: Db, hostIds: readonly HostId[]): Promise<ReadonlyMap<HostId, number>> {
  const rows = await db.select({ hostId: placements.hostId, count: sql<string>`count(*)` })
    .from(placements)
    .innerJoin(observed, eq(observed.placementId, placements.id))
    .where(and(isAny(placements.hostId, hostIds), isNull(placements.removedAt), eq(observed.state, "running")))
    .groupBy(placements.hostId);
  return new Map(rows.map((row) => [row.hostId, Number(row.count)]));
}

/** One parameter, however many ids there are. */
const isAny = (column: AnyPgColumn, ids: readonly string[]): SQL => sql`${column} = ANY(${sql.param([...ids])}::uuid[])`;
