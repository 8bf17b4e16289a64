/** What goes wrong, and when: a plan drawn from the seed before anything happens, played against the cluster. */
import { below, type Rng } from "@skep/core";
import { type Cluster, type Host } from "./cluster.ts";
import { exponential } from "./operators.ts";
import type { Truth } from "./truth.ts";
import type { World } from "./world.ts";

const MINUTE = 60_000;

/** Lengths of what lasts: a hiccup, an outage, or long enough for every deadline there is; `long` is the share of the last. */
function lastsMs(rng: Rng, long: number): number {
  const dice = rng.float();
  if (dice < long) return 9 * MINUTE + below(rng, 10 * MINUTE);
  return dice < long + (1 - long) * 0.6 ? 5_000 + below(rng, 60_000) : MINUTE + below(rng, 5 * MINUTE);
}

export function playFaults(world: World, cluster: Cluster, truth: Truth, untilMs: number): void {
  const rng = world.rng("faults");
  const long = rng.float() * rng.float();
  const again = (meanMs: number, strike: () => void): void => {
    // Some runs are calmer than others: a bug may need a quiet stretch to show itself.
    const mean = meanMs * 0.4 * 25 ** rng.float();
    const next = (): void => {
      if (world.nowMs() >= untilMs) return;
      strike();
      world.after(exponential(rng, mean), next);
    };
    world.after(exponential(rng, mean), next);
  };

  for (const host of cluster.hosts) {
    again(6 * MINUTE, () => host.kill("killed -9", false));
    again(25 * MINUTE, () => host.kill("the host rebooted", true));
    again(9 * MINUTE, () => partition(host));
    again(12 * MINUTE, () => host.workloads.failOne(rng));
    again(30 * MINUTE, () => {
      host.disk.setFull(true);
      world.trace(`${host.name} disk full`);
      world.after(lastsMs(rng, 0), () => host.disk.setFull(false));
    });
  }
  for (const master of cluster.masters) again(8 * MINUTE, () => master.kill("killed -9"));
  again(15 * MINUTE, () => {
    cluster.setDatabaseDown(true);
    world.after(lastsMs(rng, 0), () => cluster.setDatabaseDown(false));
  });
  // Silence long enough for the hard limit while every host is well: nothing of it may look like the death of hosts.
  again(40 * MINUTE, () => {
    cluster.setDatabaseDown(true);
    world.after(4 * MINUTE, () => cluster.setDatabaseDown(false));
  });

  function partition(host: Host): void {
    const dice = rng.float();
    const cuts: [string, string][] = dice < 0.4 ? [[host.name, "*"], ["*", host.name]] : dice < 0.75 ? [[host.name, "*"]] : [["*", host.name]];
    if (cuts.some(([from, to]) => cluster.network.isCut(from, to))) return;
    world.trace(`${host.name} is cut off: ${cuts.map(([from, to]) => `${from}>${to}`).join(" ")}`);
    for (const [from, to] of cuts) {
      cluster.network.cut(from, to);
      truth.linkDown(host.id, `${from}>${to}`);
    }
    world.after(lastsMs(rng, long), () => {
      for (const [from, to] of cuts) {
        cluster.network.heal(from, to);
        truth.linkUp(host.id, `${from}>${to}`);
      }
      world.trace(`${host.name} is connected again`);
    });
  }
}
