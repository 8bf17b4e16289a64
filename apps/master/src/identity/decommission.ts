/**
 * The end of a host: one transaction makes the tombstone, revokes its certificates and closes what was open on it.
 * It holds from the next request on, on connections that are open already too, because pins are judged per request.
 */
import { SkepError, type Tx, type HostId } from "@skep/core";
import { applyChanges, refreshDeployment } from "../control/outcome.ts";
import type { IdentityControl } from "../control/control.ts";
import type { IdentityDeps } from "./deps.ts";

export function createDecommission(deps: IdentityDeps): Pick<IdentityControl, "decommission"> {
  return {
    async decommission(hostRef, force, context) {
      const host = await deps.store.transaction(async (tx) => {
        const found = await tx.findHost(hostRef);
        if (found === undefined) throw new SkepError("host_not_found");
        // Asked again: it is already as wanted.
        if (found.status === "decommissioned") return found;
        const placements = await tx.listPlacements({ hostId: found.id });
        if (placements.length > 0 && !force) {
          const names = placements.slice(0, 10).map(({ placement }) => placement.deployment).join(", ");
          throw new SkepError("host_not_empty", `${found.name} still has ${placements.length} placement(s): ${names}; tear them down, or use force to give them up`);
        }
        await giveUpWork(tx, found.id, placements.map(({ placement }) => placement));
        await tx.decommissionHost(found.id);
        await tx.appendAudit({ actor: context.actor, action: "host.decommission", subject: `host:${found.id}`, outcome: "allowed", requestId: context.requestId, detail: { force, placements: placements.length } });
        await tx.appendEvent({ kind: "host.decommissioned", severity: "warning", message: `host ${found.name} was decommissioned`, hostId: found.id, data: { force, placements: placements.length } });
        return (await tx.findHost(found.id)) ?? found;
      });
      await deps.pins.refresh();
      return { status: 200, body: { host }, replayed: false };
    },
  };
}

async function giveUpWork(tx: Tx, hostId: HostId, placements: readonly { readonly id: Parameters<Tx["casPlacement"]>[0]; readonly deploymentId: Parameters<Tx["lockDeployment"]>[0] }[]): Promise<void> {
  // Deployments before rows and placements, in id order: the order of every other writer.
  const deployments = [...new Set(placements.map((placement) => placement.deploymentId))].sort();
  for (const id of deployments) await tx.lockDeployment(id);
  const because = "the host was decommissioned: it will never answer";
  const rows = await tx.lockLifecycle((await tx.openRowsOf([hostId])).map((row) => row.id));
  await applyChanges(tx, rows.map((row) => ({ row, needsDecision: false, change: { id: row.id, expectedVersion: row.version, status: "failed", failureCode: "host_lost", error: because, because } })));
  for (const { placement } of await tx.listPlacements({ hostId })) await tx.casPlacement(placement.id, placement.version, { removed: true, desired: "absent" });
  for (const id of deployments) await refreshDeployment(tx, id);
}
