/** What a deployment declares of its fallbacks, checked when it is declared. */
import { SkepError, ownFallbacks, type DeploymentRecord, type FailoverWish, type Tx } from "@skep/core";
import type { FailoverRequest } from "@skep/protocol";

export const failoverOf = (request: FailoverRequest | undefined): FailoverWish => (request?.fallbacks === undefined ? {} : { fallbacks: request.fallbacks });

/**
 * Warnings about fallbacks that are not there. They are no refusal: two services that stand in for each other could
 * otherwise not be declared in any order, and one that is there today may be torn down tomorrow, so that every resolution
 * has to live with it anyway. Throws `invalid_request` for a deployment that names itself: that mends nothing, ever.
 */
export async function checkFallbacks(tx: Pick<Tx, "findDeployment">, self: Pick<DeploymentRecord, "id" | "name">, { fallbacks = [] }: FailoverWish): Promise<readonly string[]> {
  const own = ownFallbacks(fallbacks, self);
  if (own.length > 0) {
    throw new SkepError("invalid_request", `${self.name} is its own fallback.`, { errors: own.map((index) => ({ pointer: `/failover/fallbacks/${index}`, message: "is the deployment itself: name another one" })) });
  }
  const warnings: string[] = [];
  for (const ref of fallbacks) {
    const found = await tx.findDeployment(ref);
    if (found === undefined || found.deletedAt !== undefined) warnings.push(`its fallback ${ref} is not deployed: until it is, nobody answers there instead`);
  }
  return warnings;
}
