/** The open connections to runners, one per run. A change heard on any of them wakes whoever listens. */
import type { Clock } from "@skep/core";
import type { ComponentDir } from "../component-dirs.ts";
import { connectRunner } from "./runner-link.ts";
import type { RunnerLink } from "./runner-link.ts";

export interface Links {
  to(dir: ComponentDir, runId: string): Promise<RunnerLink>;
  /** Returns how to stop listening. */
  onChange(listener: (runId: string) => void): () => void;
  closeAll(): void;
}

export const socketNameOf = (runId: string): string => `run-${runId}.sock`;
export const runIdOf = (socketName: string): string | undefined => /^run-([0-9a-f]+)\.sock$/.exec(socketName)?.[1];

export function createLinks(clock: Clock, askTimeoutMs: number): Links {
  const open = new Map<string, Promise<RunnerLink>>();
  const listeners = new Set<(runId: string) => void>();
  const wake = (runId: string): void => {
    for (const listener of [...listeners]) listener(runId);
  };

  const to = (dir: ComponentDir, runId: string): Promise<RunnerLink> => {
    const known = open.get(runId);
    if (known !== undefined) return known;
    const link = connectRunner(dir.path, socketNameOf(runId), askTimeoutMs, clock, () => wake(runId), () => {
      open.delete(runId);
      wake(runId);
    });
    open.set(runId, link);
    link.catch(() => open.delete(runId));
    return link;
  };
  return {
    to,
    onChange(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    closeAll() {
      for (const link of open.values()) link.then((opened) => opened.close(), () => {});
    },
  };
}
