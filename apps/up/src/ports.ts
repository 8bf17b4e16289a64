/**
 * Which ports the master gets. A port that was once chosen is kept as long as it is free: agents, contexts and
 * bookmarks hold it. A port that was asked for by number is that one or a refusal; a default gives way, and says so.
 */
import { createServer } from "node:net";
import { SkepError } from "@skep/core";

export const PORT_NAMES = ["api", "swarm", "enrol"] as const;
export type PortName = (typeof PORT_NAMES)[number];
export type Ports = Readonly<Record<PortName, number>>;

export const DEFAULT_PORTS: Ports = { api: 8080, swarm: 8443, enrol: 8442 };
/** Where the master binds each: looking at another address would miss a conflict. */
const ADDRESSES: Readonly<Record<PortName, string>> = { api: "127.0.0.1", swarm: "0.0.0.0", enrol: "0.0.0.0" };

export interface PortWish {
  readonly name: PortName;
  readonly asked: number | undefined;
  readonly remembered: number | undefined;
}

/** 0 in the answer: any free one. `because` is for a person, when the answer is not what they may expect. */
export interface PortChoice {
  readonly port: number;
  readonly because?: string;
}

/** Pure. Throws `invalid_request` when the port that was asked for is taken. */
export function decidePort(wish: PortWish, isFree: (port: number) => boolean): PortChoice {
  const { name, asked, remembered } = wish;
  if (asked !== undefined && asked !== 0) {
    if (isFree(asked)) return { port: asked };
    throw new SkepError("invalid_request", `port ${asked} is taken; give another with --${name}-port, or 0 for any free one`);
  }
  const wanted = remembered ?? (asked === 0 ? 0 : DEFAULT_PORTS[name]);
  if (wanted === 0 || isFree(wanted)) return { port: wanted };
  return { port: 0, because: `port ${wanted} (${name}) is taken: any free one is used instead` };
}

export async function choosePorts(asked: Readonly<Record<PortName, number | undefined>>, remembered: Partial<Ports>): Promise<Record<PortName, PortChoice>> {
  const choices = await Promise.all(
    PORT_NAMES.map(async (name) => {
      const candidates = [asked[name], remembered[name], DEFAULT_PORTS[name]].filter((port): port is number => port !== undefined && port !== 0);
      const free = new Set<number>();
      for (const port of candidates) if (await canBind(port, ADDRESSES[name])) free.add(port);
      return [name, decidePort({ name, asked: asked[name], remembered: remembered[name] }, (port) => free.has(port))] as const;
    }),
  );
  return Object.fromEntries(choices) as Record<PortName, PortChoice>;
}

function canBind(port: number, address: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once("error", () => resolve(false));
    probe.listen(port, address, () => probe.close(() => resolve(true)));
  });
}
