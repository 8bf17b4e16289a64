/** Deployments and their generations: desired state, changed by compare-and-set on `version`. */
import { isUuid } from "@skep/core";
import type { DeploymentId, DeploymentRecord, GenerationRecord, Page, Tx } from "@skep/core";
import { and, asc, eq, gt, isNull, ne, or, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { afterId, first, known } from "./db.ts";
import { deploymentGenerations, deployments } from "./schema/index.ts";

export const deploymentOf = (row: typeof deployments.$inferSelect): DeploymentRecord => ({
  ...row,
  lastError: known(row.lastError),
  deletedAt: known(row.deletedAt),
});

export async function findDeployment(db: Db, idOrName: string): Promise<DeploymentRecord | undefined> {
  const byName = and(eq(deployments.name, idOrName), isNull(deployments.deletedAt));
  const row = await first(
    db
      .select()
      .from(deployments)
      .where(isUuid(idOrName) ? or(eq(deployments.id, idOrName as DeploymentId), byName) : byName)
      .orderBy(sql`(${deployments.id}::text = ${idOrName}) DESC`)
      .limit(1),
  );
  return row && deploymentOf(row);
}

export async function listDeployments(db: Db, query: Page & { readonly includeDeleted?: boolean | undefined; readonly unsettled?: boolean | undefined }): Promise<readonly DeploymentRecord[]> {
  const rows = await db
    .select()
    .from(deployments)
    .where(
      and(
        query.includeDeleted === true ? undefined : isNull(deployments.deletedAt),
        query.unsettled === true ? ne(deployments.status, "active") : undefined,
        query.after === undefined ? undefined : gt(deployments.id, afterId<DeploymentId>(query.after)),
      ),
    )
    .orderBy(asc(deployments.id))
    .limit(query.limit);
  return rows.map(deploymentOf);
}

export async function findGeneration(db: Db, id: DeploymentId, generation: number): Promise<GenerationRecord | undefined> {
  return first(
    db
      .select()
      .from(deploymentGenerations)
      .where(and(eq(deploymentGenerations.deploymentId, id), eq(deploymentGenerations.generation, generation))),
  );
}

/** Oldest first. */
export async function listGenerations(db: Db, id: DeploymentId): Promise<readonly Omit<GenerationRecord, "spec">[]> {
  const { deploymentId, generation, specHash, createdAt } = deploymentGenerations;
  return db.select({ deploymentId, generation, specHash, createdAt }).from(deploymentGenerations).where(eq(deploymentId, id)).orderBy(asc(generation));
}

export async function lockDeployment(db: Db, id: DeploymentId): Promise<DeploymentRecord | undefined> {
  const row = await first(db.select().from(deployments).where(eq(deployments.id, id)).for("update"));
  return row && deploymentOf(row);
}

export async function insertDeployment(db: Db, deployment: Parameters<Tx["insertDeployment"]>[0]): Promise<"inserted" | "deployment_exists"> {
  const rows = await db.insert(deployments).values(deployment).onConflictDoNothing().returning({ id: deployments.id });
  return rows.length > 0 ? "inserted" : "deployment_exists";
}

export async function casDeployment(db: Db, id: DeploymentId, expectedVersion: number, patch: Parameters<Tx["casDeployment"]>[2]): Promise<boolean> {
  const { deleted, ...columns } = patch;
  const rows = await db
    .update(deployments)
    .set({
      ...columns,
      ...(deleted === undefined ? {} : { deletedAt: deleted ? sql`coalesce(${deployments.deletedAt}, now())` : null }),
      updatedAt: sql`now()`,
      version: sql`${deployments.version} + 1`,
    })
    .where(and(eq(deployments.id, id), eq(deployments.version, expectedVersion)))
    .returning({ id: deployments.id });
  return rows.length > 0;
}

export async function insertGeneration(db: Db, generation: Parameters<Tx["insertGeneration"]>[0]): Promise<void> {
  await db.insert(deploymentGenerations).values(generation);
}
