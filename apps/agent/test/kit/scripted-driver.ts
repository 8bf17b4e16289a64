/** A driver without processes: it does at once what it is told, unless its script says otherwise, and remembers every call. */
import { DriverError, RUNTIME_UNAVAILABLE, type AbortSignalLike, type ComponentSpec, type ComponentState, type Driver, type LogChunk, type ObservedComponent, type PlacementLabels, type Progress, type SharedThings, type Spec, type WorkloadLabels } from "@skep/core";

export type Verb = "prepare" | "start" | "wait" | "stop" | "remove" | "observe" | "shared";
type Fault = (labels: WorkloadLabels | undefined, signal: AbortSignalLike | undefined, progress: Progress | undefined) => Promise<void> | void;

export interface ScriptedOptions {
  readonly name?: string | undefined;
  /** Old and new of one component live side by side, as containers do. */
  readonly overlaps?: boolean | undefined;
  /** It has networks and volumes. */
  readonly shared?: boolean | undefined;
}
interface Scripted {
  labels: WorkloadLabels;
  state: ComponentState;
  drift?: readonly string[];
  error?: string;
}

export class ScriptedDriver implements Driver {
  readonly name: string;
  readonly overlaps: boolean;
  readonly shared: SharedThings | undefined;
  readonly calls: string[] = [];
  readonly components = new Map<string, Scripted>();
  /** By placement: what exists of networks and volumes. */
  readonly networks = new Map<string, readonly string[]>();
  readonly volumes = new Map<string, readonly string[]>();
  readonly #faults = new Map<string, Fault>();
  readonly #listeners: (() => void)[] = [];

  constructor({ name = "noop", overlaps = false, shared = false }: ScriptedOptions = {}) {
    this.name = name;
    this.overlaps = overlaps;
    this.shared = shared ? this.#shared() : undefined;
  }

  #shared(): SharedThings {
    const names = (named: object | undefined): string[] => Object.keys(named ?? {});
    return {
      ensure: async ({ placementId }: PlacementLabels, spec: Spec) => {
        this.calls.push("ensure");
        await this.#enter("shared");
        this.networks.set(placementId, [...new Set([...(this.networks.get(placementId) ?? []), ...names(spec.networks)])]);
        this.volumes.set(placementId, [...new Set([...(this.volumes.get(placementId) ?? []), ...names(spec.volumes)])]);
      },
      prune: async (placementId: string, spec: Spec) => {
        this.calls.push("prune");
        await this.#enter("shared");
        this.networks.set(placementId, names(spec.networks));
      },
      remove: async (placementId: string, { volumes }: { readonly volumes: boolean }) => {
        this.calls.push(volumes ? "remove shared with volumes" : "remove shared");
        await this.#enter("shared");
        if ([...this.components.values()].some((one) => one.labels.placementId === placementId)) throw new DriverError("network_in_use", "containers are attached to it");
        this.networks.delete(placementId);
        if (volumes) this.volumes.delete(placementId);
      },
    };
  }

  /** The engine behind it is gone: nothing can be asked, nothing be seen. Returns its return. */
  goAway(): () => void {
    const away = (): never => {
      throw new DriverError(RUNTIME_UNAVAILABLE, "no answer from its socket");
    };
    const verbs: Verb[] = ["prepare", "start", "wait", "stop", "remove", "observe", "shared"];
    const before = new Map(this.#faults);
    this.#faults.clear();
    for (const verb of verbs) this.on(verb, away);
    return () => {
      this.#faults.clear();
      for (const [what, fault] of before) this.on(what, fault);
      this.change();
    };
  }

  /** `what`: a verb, or `verb component`. The fault runs before the verb's effect. */
  on(what: string, fault: Fault | undefined): void {
    if (fault === undefined) this.#faults.delete(what);
    else this.#faults.set(what, fault);
  }

  /** A gate: calls to `what` hang until it is opened. */
  gate(what: string): { open: () => void; reached: () => boolean } {
    let open = (): void => {};
    let reached = false;
    const opened = new Promise<void>((resolve) => (open = resolve));
    this.on(what, async (_labels, signal) => {
      reached = true;
      await Promise.race([opened, new Promise<void>((_, reject) => {
        if (signal?.aborted === true) reject(new DriverError("aborted", "aborted"));
        signal?.addEventListener("abort", () => reject(new DriverError("aborted", "aborted")), { once: true });
      })]);
    });
    return { open, reached: () => reached };
  }

  async #enter(verb: Verb, labels?: WorkloadLabels, signal?: AbortSignalLike, progress?: Progress): Promise<void> {
    if (labels !== undefined) this.calls.push(`${verb} ${labels.component}@${labels.generation}`);
    await (this.#faults.get(`${verb} ${labels?.component}@${labels?.generation}`) ?? this.#faults.get(`${verb} ${labels?.component}`) ?? this.#faults.get(verb))?.(labels, signal, progress);
  }

  static key = (labels: { placementId: string; component: string }): string => `${labels.placementId}/${labels.component}`;

  /** Where one of these labels is kept. */
  #at(labels: WorkloadLabels): string {
    return this.overlaps ? `${ScriptedDriver.key(labels)}/${labels.jobId}/${labels.generation}` : ScriptedDriver.key(labels);
  }

  async prepare(labels: WorkloadLabels, _spec: ComponentSpec, signal: AbortSignalLike, progress?: Progress): Promise<void> {
    await this.#enter("prepare", labels, signal, progress);
  }
  async start(labels: WorkloadLabels, _spec: ComponentSpec, signal: AbortSignalLike, progress?: Progress): Promise<void> {
    await this.#enter("start", labels, signal, progress);
    const there = this.components.get(this.#at(labels));
    if (there !== undefined && there.state === "running" && there.labels.jobId !== labels.jobId) throw new DriverError("already_running", `${labels.component} runs under other labels`);
    this.components.set(this.#at(labels), { labels, state: "running" });
  }
  async wait(labels: WorkloadLabels, _spec: ComponentSpec, signal: AbortSignalLike, progress?: Progress): Promise<void> {
    await this.#enter("wait", labels, signal, progress);
  }
  async stop(labels: WorkloadLabels): Promise<void> {
    await this.#enter("stop", labels);
    const there = this.components.get(this.#at(labels));
    if (there !== undefined) there.state = "stopped";
  }
  async remove(labels: WorkloadLabels): Promise<void> {
    await this.#enter("remove", labels);
    this.components.delete(this.#at(labels));
  }
  async observe(): Promise<readonly ObservedComponent[]> {
    await this.#enter("observe");
    return [...this.components.values()].map((one) => ({ ...one, restarts: 0, ports: {}, since: 0 }));
  }
  async logs(_placementId: string, component: string): Promise<LogChunk> {
    return { data: new TextEncoder().encode(`log of ${component}\n`), nextOffset: 10 };
  }
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }
  change(): void {
    for (const listener of this.#listeners) listener();
  }
  /** What runs, as `component@generation`. */
  running(): string[] {
    return [...this.components.values()].filter((one) => one.state === "running").map((one) => `${one.labels.component}@${one.labels.generation}`).toSorted();
  }
}
