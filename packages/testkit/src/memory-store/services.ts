/** Deployments as their callers need them, put together from the tables. */
import type { GenerationPorts, HostId, HostView, Reads } from "@skep/core";
import { generationKey, placementViewOf } from "./deployments.ts";
import { viewOf } from "./hosts.ts";
import { afterPage, byId, type Context, type Sync } from "./state.ts";

export function serviceReads(context: Context): Sync<Pick<Reads, "serviceSnapshot">> {
  const { state } = context;
  return {
    serviceSnapshot: ({ refs, load, ...page }) => {
      const deployments = afterPage([...state.deployments.values()].filter((one) => one.deletedAt === undefined && (refs === undefined || refs.includes(one.name) || refs.includes(one.id))), page);
      const ids = new Set(deployments.map((one) => one.id));
      const present = [...state.placements.values()].filter((placement) => placement.removedAt === undefined);
      const placements = present.filter((placement) => ids.has(placement.deploymentId)).sort(byId).map((placement) => placementViewOf(context, placement));
      const hosts = new Map<HostId, HostView>(placements.map(({ placement: { hostId } }) => [hostId, viewOf(context, state.hosts.get(hostId)!)]));
      const wanted = new Set([
        ...deployments.map((one) => generationKey(one.id, one.generation)),
        ...placements.flatMap(({ placement, observed }) => [placement.generation, observed?.generation ?? placement.generation].map((generation) => generationKey(placement.deploymentId, generation))),
      ]);
      const ports = [...wanted].flatMap((key): GenerationPorts[] => {
        const found = state.generations.get(key);
        return found === undefined ? [] : [{ deploymentId: found.deploymentId, generation: found.generation, components: found.spec.components.map(({ name, ports: declared }) => ({ name, ports: declared })) }];
      }).sort((a, b) => (a.deploymentId < b.deploymentId ? -1 : a.deploymentId > b.deploymentId ? 1 : a.generation - b.generation));
      const running = new Map<HostId, number>();
      if (load === true) {
        for (const { id, hostId } of present) if (hosts.has(hostId) && state.observed.get(id)?.state === "running") running.set(hostId, (running.get(hostId) ?? 0) + 1);
      }
      return { now: context.now(), deployments, placements, hosts, ports, running };
    },
  };
}
