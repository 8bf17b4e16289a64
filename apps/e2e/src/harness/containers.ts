/** What is on a test engine, read by the tests' own eyes: the driver's word is never taken for its own truth. */
import { eventually, type EngineKit } from "@skep/testkit";
import { request } from "undici";

export interface Container {
  readonly id: string;
  readonly host: string;
  readonly deployment: string;
  readonly component: string;
  readonly placement: string;
  readonly generation: number;
  readonly image: string;
  readonly state: string;
  readonly ports: readonly { readonly container: number; readonly host: number }[];
}

interface Listed {
  readonly Id: string;
  readonly Image: string;
  readonly State: string;
  readonly Labels: Readonly<Record<string, string>>;
  readonly Ports: readonly { readonly PrivatePort: number; readonly PublicPort?: number; readonly IP?: string }[];
}

/** Every container of ours, running or not, in the order of host and component. */
export async function containersOf(engine: EngineKit, deployment?: string): Promise<Container[]> {
  const label = deployment === undefined ? ["skep.host"] : [`skep.deployment=${deployment}`];
  const listed = await engine.ask<readonly Listed[]>("GET", `/containers/json?all=1&filters=${encodeURIComponent(JSON.stringify({ label }))}`);
  return listed.map(({ Id, Image, State, Labels, Ports }) => ({
    id: Id, image: Image, state: State, host: Labels["skep.host"] ?? "", deployment: Labels["skep.deployment"] ?? "", component: Labels["skep.component"] ?? "",
    placement: Labels["skep.placement"] ?? "", generation: Number(Labels["skep.generation"]),
    ports: Ports.flatMap(({ PrivatePort, PublicPort }) => (PublicPort === undefined ? [] : [{ container: PrivatePort, host: PublicPort }])),
  })).sort((a, b) => (`${a.host}/${a.component}` < `${b.host}/${b.component}` ? -1 : 1));
}

/** One running copy of each component on each host (`done`: one that has ended), and nothing else of the deployment. */
export async function oneCopyEach(engine: EngineKit, deployment: string, hosts: readonly string[], images: Readonly<Record<string, string>>, done: readonly string[] = []): Promise<Container[]> {
  const wanted = hosts.flatMap((host) => Object.entries(images).map(([component, image]) => `${host}/${component} ${image}`)).sort();
  return eventually(async (status) => {
    const found = await containersOf(engine, deployment);
    const running = found.map((one) => `${one.host}/${one.component} ${one.image}${one.state === (done.includes(one.component) ? "exited" : "running") ? "" : ` (${one.state})`}`).sort();
    status(`found ${running.join(", ")}`);
    return running.join() === wanted.join() ? found : undefined;
  }, { what: `one copy of each component of ${deployment}`, timeoutMs: 120_000 });
}

/** What a web server on a published port of this machine says. */
export async function fetchFrom(port: number): Promise<string> {
  const { body } = await request(`http://127.0.0.1:${port}/`, { headersTimeout: 30_000 });
  return body.text();
}
