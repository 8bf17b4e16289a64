/**
 * Host ports of this agent's components. Invariants: no two components hold the same port and protocol; a component
 * keeps its allocated ports until it is removed, whatever restarts; a port is tried by binding before it is given,
 * because others on the host do not ask us.
 */
import { readFileSync } from "node:fs";
import { below, DriverError } from "@skep/core";
import type { PortSpec, Rng, WorkloadLabels } from "@skep/core";
import { keyOf, whose } from "../labels.ts";
import { isFree } from "../port-free.ts";

const FIRST = 10_000;
const LAST = 60_000;
/** With fewer left beside them, the kernel's own ports are given too. */
const ENOUGH = 5_000;
const MAX_TRIES = 200;

export interface Holding {
  readonly labels: WorkloadLabels;
  readonly specs: readonly PortSpec[];
  readonly ports: Readonly<Record<string, number>>;
}

export interface PortBook {
  /** Throws `port_in_use` naming the holder when a fixed port is taken. Reserves nothing. */
  checkFixed(labels: WorkloadLabels, specs: readonly PortSpec[]): Promise<void>;
  /** Ports by name, held from now on. */
  assign(labels: WorkloadLabels, specs: readonly PortSpec[]): Promise<Record<string, number>>;
  release(labels: WorkloadLabels): Promise<void>;
}

/**
 * `load` reads what is held from the state files; called once, at first use. `ephemeralFrom`: from where on the kernel
 * gives ports to outgoing connections. Those are left to it: a component is away for a moment at every restart, and
 * somebody's connection would get its port by chance.
 */
export function createPortBook(rng: Rng, load: () => Promise<readonly Holding[]>, ephemeralFrom = readEphemeralFrom()): PortBook {
  const last = ephemeralFrom - FIRST >= ENOUGH ? Math.min(LAST, ephemeralFrom - 1) : LAST;
  let loading: Promise<Map<string, Holding>> | undefined;
  let queue: Promise<unknown> = Promise.resolve();

  const book = (): Promise<Map<string, Holding>> => {
    loading ??= load().then((held) => new Map(held.map((holding) => [keyOf(holding.labels), holding])));
    // A failed read must be tried again: an empty book would hand out ports that are held.
    loading.catch(() => (loading = undefined));
    return loading;
  };
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const mine = queue.then(work, work);
    queue = mine.catch(() => undefined);
    return mine;
  };

  const refuseHeld = async (held: Map<string, Holding>, labels: WorkloadLabels, spec: PortSpec, port: number): Promise<void> => {
    const holder = holderOf(held, spec.protocol, port);
    if (holder !== undefined && keyOf(holder.labels) !== keyOf(labels)) throw new DriverError("port_in_use", `port ${port}/${spec.protocol} is held by ${whose(holder.labels)} of placement ${holder.labels.placementId}`);
    if (holder === undefined && !(await isFree(port, spec.protocol))) throw new DriverError("port_in_use", `port ${port}/${spec.protocol} is in use by a process that is not Skep's`);
  };

  return {
    checkFixed: (labels, specs) => inTurn(async () => {
      const held = await book();
      for (const spec of specs) if (spec.host !== undefined) await refuseHeld(held, labels, spec, spec.host);
    }),
    assign: (labels, specs) => inTurn(async () => {
      const held = await book();
      const before = held.get(keyOf(labels))?.ports ?? {};
      const others = new Map([...held].filter(([key]) => key !== keyOf(labels)));
      const ports: Record<string, number> = {};
      for (const spec of specs) {
        if (spec.host !== undefined) await refuseHeld(others, labels, spec, spec.host);
        ports[spec.name] = spec.host ?? (await pick(others, Object.values(ports), spec, before[spec.name], () => FIRST + below(rng, last - FIRST + 1)));
      }
      held.set(keyOf(labels), { labels, specs, ports });
      return ports;
    }),
    release: (labels) => inTurn(async () => void (await book()).delete(keyOf(labels))),
  };
}

function readEphemeralFrom(): number {
  try {
    return Number(readFileSync("/proc/sys/net/ipv4/ip_local_port_range", "utf8").trim().split(/\s+/)[0]);
  } catch {
    return LAST + 1;
  }
}

function holderOf(held: Map<string, Holding>, protocol: PortSpec["protocol"], port: number): Holding | undefined {
  return [...held.values()].find(({ specs, ports }) => specs.some((spec) => spec.protocol === protocol && ports[spec.name] === port));
}

async function pick(others: Map<string, Holding>, mine: readonly number[], spec: PortSpec, before: number | undefined, roll: () => number): Promise<number> {
  for (let tries = 0; tries < MAX_TRIES; tries++) {
    const port = tries === 0 && before !== undefined ? before : roll();
    if (!mine.includes(port) && holderOf(others, spec.protocol, port) === undefined && (await isFree(port, spec.protocol))) return port;
  }
  throw new DriverError("port_in_use", `no free port from ${FIRST} on was found for "${spec.name}" in ${MAX_TRIES} tries`);
}
