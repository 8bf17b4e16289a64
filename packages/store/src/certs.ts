/** Certificates and the pins made of them. Any change here makes `pin_version` grow, by trigger, at commit. */
import type { Fingerprint, HostCert, HostId, Instant, Pin, Tx } from "@skep/core";
import { and, asc, eq, gt, inArray, ne, or, sql } from "drizzle-orm";
import type { Db } from "./db.ts";
import { known, rowsOf } from "./db.ts";
import { clusterMeta, hostCerts, hosts } from "./schema/index.ts";
import { parseInstant } from "./schema/columns.ts";

export async function listHostCerts(db: Db, hostId: HostId): Promise<readonly HostCert[]> {
  const rows = await db.select().from(hostCerts).where(eq(hostCerts.hostId, hostId)).orderBy(asc(hostCerts.createdAt), asc(hostCerts.fingerprint));
  return rows.map(certOf);
}

export async function listPresentCerts(db: Db, hostIds: readonly HostId[]): Promise<readonly HostCert[]> {
  if (hostIds.length === 0) return [];
  const rows = await db.select().from(hostCerts).where(and(inArray(hostCerts.hostId, [...hostIds]), inArray(hostCerts.status, ["active", "retiring"])));
  return rows.map(certOf);
}

const certOf = (row: typeof hostCerts.$inferSelect): HostCert => ({
  fingerprint: row.fingerprint,
  hostId: row.hostId,
  spkiSha256: row.spkiSha256,
  status: row.status,
  notBefore: row.notBefore,
  notAfter: row.notAfter,
  retireAt: known(row.retireAt),
  createdAt: row.createdAt,
});

/**
 * The version is read first: pins that change in between are newer than their version says, and are loaded again.
 * Expired ones are kept for a day, so that their holders are told why they are refused.
 */
export async function loadPins(db: Db): Promise<{ version: number; pins: readonly Pin[] }> {
  const meta = await db.select({ version: clusterMeta.pinVersion }).from(clusterMeta);
  const rows = await db
    .select({ cert: hostCerts, hostStatus: hosts.status, rotationWanted: hosts.rotationWanted })
    .from(hostCerts)
    .innerJoin(hosts, eq(hosts.id, hostCerts.hostId))
    .where(
      or(
        and(ne(hostCerts.status, "revoked"), gt(hostCerts.notAfter, sql`now() - interval '1 day'`)),
        and(eq(hostCerts.status, "revoked"), gt(hostCerts.revokedAt, sql`now() - interval '1 day'`)),
      ),
    );
  return {
    version: meta[0]?.version ?? 0,
    pins: rows.map(({ cert, hostStatus, rotationWanted }) => ({
      fingerprint: cert.fingerprint,
      hostId: cert.hostId,
      hostStatus,
      status: cert.status,
      notAfter: cert.notAfter,
      retireAt: known(cert.retireAt),
      rotationWanted,
    })),
  };
}

export async function pinVersion(db: Db): Promise<{ version: number; now: Instant }> {
  const rows = await rowsOf<{ version: string; now: string }>(db.execute(sql`SELECT pin_version AS version, clock_timestamp() AS now FROM cluster_meta`));
  return { version: Number(rows[0]!.version), now: parseInstant(rows[0]!.now) };
}

export async function insertCert(db: Db, cert: Parameters<Tx["insertCert"]>[0]): Promise<boolean> {
  const rows = await db
    .insert(hostCerts)
    .values({ ...cert, ...(cert.status === "revoked" ? { revokedAt: sql`now()` } : {}), ...(cert.status === "retiring" ? { retireAt: sql`now()` } : {}) })
    .onConflictDoNothing()
    .returning({ fingerprint: hostCerts.fingerprint });
  if (rows.length > 0 && cert.status === "active") await wantRotation(db, cert.hostId, false);
  return rows.length > 0;
}

export const requestRotation = (db: Db, id: HostId): Promise<void> => wantRotation(db, id, true);

async function wantRotation(db: Db, id: HostId, wanted: boolean): Promise<void> {
  await db.update(hosts).set({ rotationWanted: wanted, version: sql`${hosts.version} + 1` }).where(and(eq(hosts.id, id), ne(hosts.rotationWanted, wanted)));
}

export async function retireCerts(db: Db, hostId: HostId, keep: Fingerprint, overlapMs: number): Promise<void> {
  const others = and(eq(hostCerts.hostId, hostId), ne(hostCerts.fingerprint, keep));
  await db.update(hostCerts).set({ status: "retiring", retireAt: sql`now() + ${overlapMs} * interval '1 millisecond'` }).where(and(others, eq(hostCerts.status, "active")));
  await db.update(hostCerts).set({ status: "revoked", revokedAt: sql`now()` }).where(and(others, eq(hostCerts.status, "pending")));
}

export async function revokeCerts(db: Db, hostId: HostId): Promise<void> {
  await db.update(hostCerts).set({ status: "revoked", revokedAt: sql`now()` }).where(and(eq(hostCerts.hostId, hostId), ne(hostCerts.status, "revoked")));
}
