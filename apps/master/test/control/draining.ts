/** What tests of drains, moves and placing ask again and again. */
import type { DrainRecord, MoveRecord } from "@skep/core";
import { deployRequest, drainRequest, type DrainJson, type PendingJob } from "@skep/protocol";
import type { Fleet, Outcome } from "./fleet.ts";

export const good = (): Outcome => "succeeded";
export const SPEC = { driver: "noop", components: [{ name: "web" }] };
export const deploy = (fleet: Fleet, name: string, placement: object, patch: object = {}, spec: object = SPEC) => fleet.control.deploy(deployRequest.parse({ name, spec, placement, ...patch }), fleet.context());
export const drain = async (fleet: Fleet, host: string, request: object = {}): Promise<DrainJson> => (await fleet.control.drainHost(host, drainRequest.parse(request), fleet.context())).body as DrainJson;
export const drainOf = async (fleet: Fleet, host: string): Promise<DrainRecord> => (await fleet.store.findDrain((await fleet.store.findHost(host))!.id))!;
export const moves = (fleet: Fleet): Promise<readonly MoveRecord[]> => fleet.store.listMoves({ limit: 100 });
export const where = async (fleet: Fleet, name: string): Promise<string[]> => (await fleet.store.listPlacements({})).filter((view) => view.placement.deployment === name).map((view) => view.hostName).sort();
export const kinds = async (fleet: Fleet): Promise<string[]> => (await fleet.store.recentEvents(500)).map((event) => event.kind).filter((kind) => kind.startsWith("host.dr") || kind.startsWith("move."));
export const label = async (fleet: Fleet, host: string, labels: Record<string, string>) => fleet.store.transaction(async (tx) => tx.updateHost((await tx.findHost(host))!.id, { labels }));
export const cordon = async (fleet: Fleet, host: string, schedulable = false) => fleet.store.transaction(async (tx) => tx.updateHost((await tx.findHost(host))!.id, { schedulable }));

/** Everything that is told to hosts, with who runs what at that moment. */
export function watched(answer: (host: string, job: PendingJob) => Outcome | undefined = good): { readonly told: string[]; readonly most: () => number; readonly answer: (host: string, job: PendingJob) => Outcome | undefined } {
  const told: string[] = [];
  const running = new Set<string>();
  let most = 0;
  return {
    told, most: () => most,
    answer: (host, job) => {
      const outcome = answer(host, job);
      const up = job.operation !== "teardown" && job.desired === "running";
      if (outcome !== undefined) told.push(`${job.operation === "teardown" ? "remove" : up ? "run" : "stop"} ${host}${outcome === "succeeded" ? "" : " failed"}`);
      if (outcome === "succeeded") {
        if (up) running.add(host);
        else running.delete(host);
        most = Math.max(most, running.size);
      }
      return outcome;
    },
  };
}
