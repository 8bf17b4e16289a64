/**
 * The part of the Engine API that the driver uses, one function per endpoint, at a version that both sides know. What
 * comes back is read with every field optional: Podman's compatible service leaves some out.
 */
import type { Duplex } from "node:stream";
import { DriverError } from "@skep/core";
import type { AbortSignalLike } from "@skep/core";
import { EngineRefusal } from "./engine-error.ts";
import type { EngineStream, Transport } from "./transport.ts";

/** The newest API whose documentation this code was written against, and the oldest it was tried on. */
const NEWEST = "1.47";
const OLDEST = "1.40";

export interface Listed {
  readonly Id: string;
  readonly Names?: readonly string[];
  readonly Labels?: Readonly<Record<string, string>> | null;
  readonly State?: string;
  readonly Ports?: readonly { readonly IP?: string; readonly PrivatePort?: number; readonly PublicPort?: number; readonly Type?: string }[] | null;
}

export interface PortBinding {
  readonly HostIp?: string;
  readonly HostPort?: string;
}
export interface NetworkEnd {
  readonly NetworkID?: string;
  readonly IPAddress?: string;
  readonly GlobalIPv6Address?: string;
}
export interface Inspected {
  readonly Id: string;
  readonly Name?: string;
  readonly Created?: string;
  readonly Image?: string;
  readonly State?: {
    readonly Status?: string; readonly Running?: boolean; readonly Paused?: boolean; readonly OOMKilled?: boolean; readonly Dead?: boolean; readonly Pid?: number;
    readonly ExitCode?: number; readonly Error?: string; readonly StartedAt?: string; readonly FinishedAt?: string;
  };
  readonly Config?: { readonly Image?: string; readonly Labels?: Readonly<Record<string, string>> | null };
  readonly HostConfig?: {
    readonly Memory?: number; readonly NanoCpus?: number; readonly CpuQuota?: number; readonly PidsLimit?: number | null; readonly MemoryReservation?: number;
    readonly NetworkMode?: string; readonly RestartPolicy?: { readonly Name?: string };
    readonly PortBindings?: Readonly<Record<string, readonly PortBinding[] | null>> | null;
  };
  readonly NetworkSettings?: { readonly Networks?: Readonly<Record<string, NetworkEnd | null>> | null; readonly Ports?: Readonly<Record<string, readonly PortBinding[] | null>> | null };
}
export interface NetworkInfo {
  readonly Id: string;
  readonly Name: string;
  readonly Created?: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
}
export interface VolumeInfo {
  readonly Name: string;
  readonly CreatedAt?: string;
  readonly Labels?: Readonly<Record<string, string>> | null;
}
export interface ExecInfo {
  readonly Running?: boolean;
  readonly ExitCode?: number | null;
  readonly Pid?: number;
}
export type Filters = Readonly<Record<string, readonly string[]>>;

type Signal = AbortSignalLike | undefined;

export interface Engine {
  containers(filters: Filters, signal?: Signal): Promise<readonly Listed[]>;
  /** undefined = there is none. */
  inspect(id: string, signal?: Signal): Promise<Inspected | undefined>;
  create(name: string | undefined, body: object, signal: Signal): Promise<string>;
  start(id: string, signal: Signal, deadlineMs: number): Promise<void>;
  /** Stop signal, then SIGKILL `seconds` later. Resolves when it has ended or is gone. */
  stop(id: string, seconds: number, deadlineMs: number): Promise<void>;
  kill(id: string): Promise<void>;
  unpause(id: string): Promise<void>;
  remove(id: string, deadlineMs: number): Promise<void>;
  logs(id: string, query: { readonly follow: boolean; readonly since?: string | undefined }, idleMs: number, signal: Signal): Promise<EngineStream>;
  events(filters: Filters, idleMs: number, signal: Signal): Promise<EngineStream>;
  /** The image's id; undefined = it is not here. */
  image(reference: string, signal: Signal): Promise<string | undefined>;
  pull(query: { readonly fromImage: string; readonly tag: string }, auth: string | undefined, idleMs: number, signal: Signal): Promise<EngineStream>;
  networks(filters: Filters, signal?: Signal): Promise<readonly NetworkInfo[]>;
  network(nameOrId: string, signal?: Signal): Promise<NetworkInfo | undefined>;
  createNetwork(body: object, signal: Signal): Promise<string>;
  connect(network: string, body: object, signal: Signal): Promise<void>;
  removeNetwork(id: string, signal: Signal): Promise<void>;
  volumes(filters: Filters, signal?: Signal): Promise<readonly VolumeInfo[]>;
  volume(name: string, signal?: Signal): Promise<VolumeInfo | undefined>;
  createVolume(body: object, signal: Signal): Promise<VolumeInfo>;
  removeVolume(name: string, signal: Signal): Promise<void>;
  createExec(container: string, body: object, signal: Signal): Promise<string>;
  startExec(id: string, signal: Signal, idleMs: number): Promise<EngineStream>;
  hijackExec(id: string, signal: Signal): Promise<Duplex>;
  inspectExec(id: string, deadlineMs?: number): Promise<ExecInfo>;
}

export function createEngine(transport: Transport): Engine {
  const version = createNegotiation(transport);
  const at = async (path: string): Promise<string> => `/v${await version()}${path}`;
  const get = async <T>(path: string, query: Record<string, string | number | boolean | undefined>, signal: Signal, deadlineMs?: number): Promise<T> => transport.json<T>("GET", await at(path), { query, signal, deadlineMs });
  const post = async <T = void>(path: string, query: Record<string, string | number | undefined>, body: object | undefined, signal: Signal, deadlineMs?: number): Promise<T> => transport.json<T>("POST", await at(path), { query, body, signal, deadlineMs });
  const del = async (path: string, query: Record<string, string | number>, signal: Signal, deadlineMs?: number): Promise<void> => transport.json("DELETE", await at(path), { query, signal, deadlineMs });
  const text = (filters: Filters): string => JSON.stringify(filters);

  return {
    containers: async (filters, signal) => (await get<readonly Listed[] | null>("/containers/json", { all: true, filters: text(filters) }, signal)) ?? [],
    inspect: (id, signal) => orUndefined(get<Inspected>(`/containers/${id}/json`, {}, signal)),
    create: async (name, body, signal) => (await post<{ Id: string }>("/containers/create", { name }, body, signal, LONG_MS)).Id,
    start: (id, signal, deadlineMs) => post(`/containers/${id}/start`, {}, undefined, signal, deadlineMs),
    stop: (id, seconds, deadlineMs) => unlessGone(post(`/containers/${id}/stop`, { t: seconds }, undefined, undefined, deadlineMs)),
    kill: (id) => unlessGone(post(`/containers/${id}/kill`, { signal: "SIGKILL" }, undefined, undefined)),
    unpause: (id) => unlessGone(post(`/containers/${id}/unpause`, {}, undefined, undefined)),
    remove: (id, deadlineMs) => unlessGone(del(`/containers/${id}`, { v: 1 }, undefined, deadlineMs)),
    logs: async (id, { follow, since }, idleMs, signal) => transport.stream("GET", await at(`/containers/${id}/logs`), { query: { follow, stdout: true, stderr: true, timestamps: true, since }, deadlineMs: idleMs, signal }),
    events: async (filters, idleMs, signal) => transport.stream("GET", await at("/events"), { query: { filters: text(filters) }, deadlineMs: idleMs, signal }),
    image: async (reference, signal) => (await orUndefined(get<{ Id: string }>(`/images/${encodeImage(reference)}/json`, {}, signal)))?.Id,
    pull: async (query, auth, idleMs, signal) => transport.stream("POST", await at("/images/create"), { query, deadlineMs: idleMs, signal, headers: auth === undefined ? {} : { "x-registry-auth": auth } }),
    networks: async (filters, signal) => (await get<readonly NetworkInfo[] | null>("/networks", { filters: text(filters) }, signal)) ?? [],
    network: (nameOrId, signal) => orUndefined(get<NetworkInfo>(`/networks/${encodeURIComponent(nameOrId)}`, {}, signal)),
    createNetwork: async (body, signal) => (await post<{ Id: string }>("/networks/create", {}, body, signal, LONG_MS)).Id,
    connect: (network, body, signal) => post(`/networks/${network}/connect`, {}, body, signal),
    removeNetwork: (id, signal) => unlessGone(del(`/networks/${id}`, {}, signal, LONG_MS)),
    volumes: async (filters, signal) => (await get<{ Volumes?: readonly VolumeInfo[] | null }>("/volumes", { filters: text(filters) }, signal)).Volumes ?? [],
    volume: (name, signal) => orUndefined(get<VolumeInfo>(`/volumes/${encodeURIComponent(name)}`, {}, signal)),
    createVolume: (body, signal) => post<VolumeInfo>("/volumes/create", {}, body, signal, LONG_MS),
    removeVolume: (name, signal) => unlessGone(del(`/volumes/${encodeURIComponent(name)}`, {}, signal, LONG_MS)),
    createExec: async (container, body, signal) => (await post<{ Id: string }>(`/containers/${container}/exec`, {}, body, signal)).Id,
    startExec: async (id, signal, idleMs) => transport.stream("POST", await at(`/exec/${id}/start`), { body: { Detach: false, Tty: false }, deadlineMs: idleMs, signal }),
    hijackExec: async (id, signal) => transport.hijack(await at(`/exec/${id}/start`), { body: { Detach: false, Tty: false }, signal }),
    inspectExec: (id, deadlineMs) => get<ExecInfo>(`/exec/${id}/json`, {}, undefined, deadlineMs),
  };
}

/** Making and removing things waits for disks and for other calls on the same thing. */
const LONG_MS = 25_000;

async function orUndefined<T>(asked: Promise<T>): Promise<T | undefined> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof EngineRefusal && error.status === 404) return undefined;
    throw error;
  }
}

const unlessGone = (asked: Promise<void>): Promise<void> => orUndefined(asked);

/** A reference is a path of the API: its slashes stay. */
const encodeImage = (reference: string): string => reference.split("/").map(encodeURIComponent).join("/");

interface VersionReply {
  readonly ApiVersion?: string;
  readonly MinAPIVersion?: string;
  readonly Version?: string;
}

/** Asked once, and again after the engine was away: it may have come back as another version. */
function createNegotiation(transport: Transport): () => Promise<string> {
  let known: Promise<string> | undefined;
  const negotiate = async (): Promise<string> => decideVersion((await transport.json<VersionReply | undefined>("GET", "/version")) ?? {});
  return async () => {
    if (known !== undefined && !transport.answered()) known = undefined;
    known ??= negotiate();
    known.catch(() => (known = undefined));
    return known;
  };
}

/** Throws `engine_too_old` or `engine_too_new`. Pure. */
export function decideVersion({ ApiVersion = OLDEST, MinAPIVersion = OLDEST, Version = "?" }: VersionReply): string {
  if (compare(ApiVersion, OLDEST) < 0) throw new DriverError("engine_too_old", `the container engine ${Version} speaks API ${ApiVersion}, and ${OLDEST} is needed; upgrade the engine`);
  if (compare(MinAPIVersion, NEWEST) > 0) throw new DriverError("engine_too_new", `the container engine ${Version} speaks API ${MinAPIVersion} or newer, and this agent ${NEWEST}; upgrade the agent`);
  return compare(ApiVersion, NEWEST) < 0 ? ApiVersion : NEWEST;
}

function compare(a: string, b: string): number {
  const [aMajor = 0, aMinor = 0] = a.split(".").map(Number);
  const [bMajor = 0, bMinor = 0] = b.split(".").map(Number);
  return aMajor - bMajor || aMinor - bMinor;
}
