/** Holds what the hosts report against what the ledger says. Empty = they agree. */
import type { Api } from "./api.ts";

export async function ledgerProblems(api: Api): Promise<string[]> {
  const problems: string[] = [];
  const deployments = (await api.get("/v1/deployments?include_deleted=true&limit=500")).items as any[];
  const placements = (await api.get("/v1/placements?limit=500")).items as any[];
  for (const placement of placements) {
    if (placement.removed_at !== null) continue;
    const name = `${placement.deployment} on ${placement.host}`;
    const observed = placement.observed;
    if (observed === null) problems.push(`${name}: not observed`);
    else if (placement.desired === "running" && observed.state !== "running") problems.push(`${name}: should run and is ${observed.state}`);
    else if (placement.desired === "running" && observed.generation !== placement.generation) problems.push(`${name}: runs generation ${observed.generation}, wanted ${placement.generation}`);
    else if (placement.desired === "absent") problems.push(`${name}: should be gone and is ${observed.state}`);
  }
  for (const deployment of deployments) {
    const own = placements.filter((placement) => placement.deployment_id === deployment.id && placement.removed_at === null);
    if (deployment.desired === "absent" && deployment.status !== "torn_down") problems.push(`${deployment.name}: desired absent, is ${deployment.status}`);
    if (deployment.desired === "running" && deployment.status !== "active") problems.push(`${deployment.name}: desired running, is ${deployment.status}, with ${own.length} placements`);
  }
  return problems;
}
