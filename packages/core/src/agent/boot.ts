/** What an agent says of its boot sequence, in every beat while one runs and after. */
export const BOOT_STATES = ["waiting", "starting", "blocked", "degraded", "complete"] as const;
/**
 * `waiting` nothing started yet · `starting` a stage is on its way · `blocked` a foundation stage failed and is retried ·
 * `degraded` all stages were gone through, some unhealthy · `complete` all healthy.
 */
export type BootState = (typeof BOOT_STATES)[number];

export interface BootReport {
  /** The stage it is at; null when it has none left. */
  readonly stage: string | null;
  readonly state: BootState;
  readonly members: readonly { readonly name: string; readonly healthy: boolean; readonly error?: string | undefined }[];
  readonly alerts: number;
}
