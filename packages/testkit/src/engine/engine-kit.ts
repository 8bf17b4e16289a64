/** What tests do with an engine beside the driver: make images, look at everything that is there, change things behind its back. */
import { makeImage } from "./busybox-image.ts";
import type { ImageConfig } from "./busybox-image.ts";
import { askEngine, callEngine } from "./engine-api.ts";
import type { EngineAnswer, EngineCall } from "./engine-api.ts";

export interface Labelled {
  /** Names: containers running or not, networks, volumes. */
  readonly containers: readonly string[];
  readonly networks: readonly string[];
  readonly volumes: readonly string[];
}

export interface EngineKit {
  readonly socketPath: string;
  /** Makes "name:tag" from a static busybox; with neither entrypoint nor cmd it runs nothing by itself. */
  image(reference: string, config?: ImageConfig): Promise<void>;
  /** Any call of the Engine API; throws on a refusal, with its words. */
  ask<T = unknown>(method: string, path: string, call?: EngineCall): Promise<T>;
  /** Any call, whatever the answer. */
  call(method: string, path: string, call?: EngineCall): Promise<EngineAnswer>;
  /** Everything that carries the label ("skep.host=…", or a key alone). Empty lists are the proof that nothing was left behind. */
  labelled(label: string): Promise<Labelled>;
  /** Containers, then networks and volumes, whoever made them. */
  removeEverything(label?: string): Promise<void>;
}

interface Named {
  readonly Id?: string;
  readonly Name?: string;
  readonly Names?: readonly string[];
}

const BUILT_IN = ["bridge", "host", "none"];

export function createEngineKit(socketPath: string, busybox: string): EngineKit {
  const ask = <T>(method: string, path: string, call?: EngineCall): Promise<T> => askEngine<T>(socketPath, method, path, call);
  const labelled = async (label: string | undefined): Promise<Labelled> => {
    const filters = label === undefined ? "" : `&filters=${encodeURIComponent(JSON.stringify({ label: [label] }))}`;
    const [containers, networks, volumes] = await Promise.all([
      ask<Named[]>("GET", `/containers/json?all=1${filters}`),
      ask<Named[]>("GET", `/networks?${filters}`),
      ask<{ Volumes: Named[] | null }>("GET", `/volumes?${filters}`),
    ]);
    return {
      containers: containers.map(({ Names, Id }) => Names?.[0]?.slice(1) ?? Id!).sort(),
      networks: networks.map(({ Name }) => Name!).filter((name) => !BUILT_IN.includes(name)).sort(),
      volumes: (volumes.Volumes ?? []).map(({ Name }) => Name!).sort(),
    };
  };
  const removeEverything = async (label?: string): Promise<void> => {
    const { containers, networks, volumes } = await labelled(label);
    const call = { timeoutMs: 20_000 };
    await Promise.all(containers.map((name) => callEngine(socketPath, "DELETE", `/containers/${name}?force=1&v=1`, call)));
    await Promise.all([...networks.map((name) => callEngine(socketPath, "DELETE", `/networks/${name}`, call)), ...volumes.map((name) => callEngine(socketPath, "DELETE", `/volumes/${name}`, call))]);
  };
  return {
    socketPath,
    image: (reference, config = {}) => makeImage(socketPath, busybox, reference, config),
    ask,
    call: (method, path, call) => callEngine(socketPath, method, path, call),
    labelled,
    removeEverything,
  };
}
