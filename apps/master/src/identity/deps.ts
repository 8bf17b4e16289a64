/** What the identity operations need; one object, built once by createIdentity. */
import type { Clock, Logger, Rng, Store } from "@skep/core";
import type { Authority } from "@skep/pki";
import type { PinCache } from "./pin-cache.ts";

export interface IdentityOptions {
  readonly store: Store;
  readonly authority: Authority;
  readonly clock: Clock;
  readonly rng: Rng;
  readonly logger: Logger;
  /** Where hosts find this master; asked when a bundle is made, because free ports are known only after listening. */
  readonly urls: () => { readonly enrolUrls: readonly string[]; readonly masterUrls: readonly string[] };
  /** The master's names and addresses: never put into a host's certificate (defect 4-17). */
  readonly masterNames: readonly string[];
  readonly allowLoopbackAgents: boolean;
  /** Default 30 days; the agent renews at two thirds. */
  readonly hostCertValidityMs?: number;
}

export interface IdentityDeps extends IdentityOptions {
  readonly pins: PinCache;
}
