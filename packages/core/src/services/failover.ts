/** What a deployment says of its own failing: who answers its callers while it cannot. */
export interface FailoverWish {
  /** Names or ids of other deployments, in the order in which they are tried. A name means whoever bears it when it is asked. */
  readonly fallbacks?: readonly string[] | undefined;
}

/** More is no longer a fallback but a search, and every one of them is read when all before it are down. */
export const MAX_FALLBACKS = 8;

/** Places in `fallbacks` that name the deployment itself: a service that falls back on itself never falls back. */
export const ownFallbacks = (fallbacks: readonly string[], self: { readonly id: string; readonly name: string }): readonly number[] =>
  fallbacks.flatMap((ref, index) => (ref === self.name || ref === self.id ? [index] : []));
