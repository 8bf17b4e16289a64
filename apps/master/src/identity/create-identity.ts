/** Hosts and their identities, put together: enrolment, rotation, decommission, and the pins in memory. */
import type { IdentityControl } from "../control/control.ts";
import { createBundles } from "./bundles.ts";
import { createDecommission } from "./decommission.ts";
import type { IdentityDeps, IdentityOptions } from "./deps.ts";
import { createPinCache, type PinCache } from "./pin-cache.ts";
import { createRedeem } from "./redeem.ts";
import { createRotate } from "./rotate.ts";

export interface Identity extends IdentityControl {
  readonly pins: PinCache;
}

/** Reads the pins once; throws `database_unavailable` when it cannot. */
export async function createIdentity(options: IdentityOptions): Promise<Identity> {
  const pins = await createPinCache(options);
  const deps: IdentityDeps = { ...options, pins };
  return {
    ...createBundles(deps),
    ...createRedeem(deps),
    ...createRotate(deps),
    ...createDecommission(deps),
    pinOf: (fingerprint) => pins.pinOf(fingerprint),
    now: () => pins.now(),
    pins,
  };
}
