/** A driver without processes: it does at once what it is told, unless its script says otherwise, and remembers every call. */
import { DriverError, type AbortSignalLike, type ComponentSpec, type ComponentState, type Driver, type LogChunk, type ObservedComponent, type WorkloadLabels } from "@skep/core";

export type Verb = "prepare" | "start" | "wait" | "stop" | "remove" | "observe";
type Fault = (labels: WorkloadLabels | undefined, signal: AbortSignalLike | undefined) => Promise<void> | void;

export class ScriptedDriver implements Driver {
  readonly name = "noop";
  readonly calls: string[] = [];
  readonly components = new Map<string, { labels: WorkloadLabels; state: ComponentState }>();
  readonly #faults = new Map<string, Fault>();
  readonly #listeners: (() => void)[] = [];

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

  async #enter(verb: Verb, labels?: WorkloadLabels, signal?: AbortSignalLike): Promise<void> {
    if (labels !== undefined) this.calls.push(`${verb} ${labels.component}@${labels.generation}`);
    await (this.#faults.get(`${verb} ${labels?.component}@${labels?.generation}`) ?? this.#faults.get(`${verb} ${labels?.component}`) ?? this.#faults.get(verb))?.(labels, signal);
  }

  static key = (labels: { placementId: string; component: string }): string => `${labels.placementId}/${labels.component}`;

  async prepare(labels: WorkloadLabels, _spec: ComponentSpec, signal: AbortSignalLike): Promise<void> {
    await this.#enter("prepare", labels, signal);
  }
  async start(labels: WorkloadLabels, _spec: ComponentSpec, signal: AbortSignalLike): Promise<void> {
    await this.#enter("start", labels, signal);
    const there = this.components.get(ScriptedDriver.key(labels));
    if (there !== undefined && there.state === "running" && there.labels.jobId !== labels.jobId) throw new DriverError("already_running", `${labels.component} runs under other labels`);
    this.components.set(ScriptedDriver.key(labels), { labels, state: "running" });
  }
  async wait(labels: WorkloadLabels, _spec: ComponentSpec, signal: AbortSignalLike): Promise<void> {
    await this.#enter("wait", labels, signal);
  }
  async stop(labels: WorkloadLabels): Promise<void> {
    await this.#enter("stop", labels);
    const there = this.components.get(ScriptedDriver.key(labels));
    if (there !== undefined) there.state = "stopped";
  }
  async remove(labels: WorkloadLabels): Promise<void> {
    await this.#enter("remove", labels);
    this.components.delete(ScriptedDriver.key(labels));
  }
  async observe(): Promise<readonly ObservedComponent[]> {
    await this.#enter("observe");
    return [...this.components.values()].map(({ labels, state }) => ({ labels, state, restarts: 0, ports: {}, since: 0 }));
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
