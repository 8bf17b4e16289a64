/** A host's boot sequence: what is started before the agent takes commands, in stages, and what it says of that. */
import type { ProbeSpec } from "../spec/spec.ts";

/** How a stage judges its members. */
export type StageHealth =
  /** Each component's own probe; running, if it has none. */
  | { readonly kind: "own" }
  /** Started is enough. */
  | { readonly kind: "none" }
  /** tcp: every tcp port of every component; http and grpc: the member's only tcp port. */
  | { readonly kind: "ports"; readonly type: "tcp" | "http" | "grpc" }
  /** Of the component named, or the one that has the port. */
  | { readonly kind: "probe"; readonly probe: ProbeSpec; readonly component?: string | undefined };

export interface BootStage {
  readonly name: string;
  /** Deployments by their exact names: a prefix is another deployment (defect 1-8). */
  readonly members: readonly string[];
  /** For the whole stage, all members at once, ms. Too short: a slow disk reads as a failure; too long: later stages wait for a hopeless one. */
  readonly timeoutMs: number;
  readonly health: StageHealth;
  /** It blocks: nothing after it is started before it is healthy. Otherwise the sequence goes on without it. */
  readonly foundation: boolean;
}

export const BOOT_STATES = ["waiting", "starting", "blocked", "degraded", "complete"] as const;
/**
 * `waiting` nothing started yet · `starting` a stage is on its way · `blocked` a foundation stage failed and is retried ·
 * `degraded` all stages were gone through, some unhealthy · `complete` all healthy.
 */
export type BootState = (typeof BOOT_STATES)[number];

export interface BootMember {
  readonly name: string;
  readonly healthy: boolean;
  readonly error?: string | undefined;
}

/** What an agent says of its boot sequence, in every beat while one runs and after. */
export interface BootReport {
  /** The stage it is at; null when it has none left. */
  readonly stage: string | null;
  readonly state: BootState;
  /** Of the stage it is at; of all stages once they have been gone through. */
  readonly members: readonly BootMember[];
  readonly alerts: number;
}
