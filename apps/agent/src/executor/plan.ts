/**
 * What a job changes, component by component. Pure: the same spec against the same sight gives the same plan, which
 * is why a dry run can be believed.
 */
import { componentIdentity, type ComponentSpec, type ComponentState, type Driver, type ObservedComponent, type Spec } from "@skep/core";
import type { PLAN_ACTIONS } from "@skep/protocol";
import type { PlacementEntry } from "../journal/records.ts";

export type PlanAction = (typeof PLAN_ACTIONS)[number];

/** A component that a driver reported, with the driver that must be used to touch it. */
export interface Seen {
  readonly driver: Driver;
  readonly component: ObservedComponent;
}

export interface PlannedComponent {
  readonly name: string;
  readonly action: PlanAction;
  /** What is to run; undefined for `remove`. */
  readonly spec: ComponentSpec | undefined;
  readonly hash: string | undefined;
  readonly keep: Seen | undefined;
  /** What must give way. */
  readonly old: readonly Seen[];
}

const KEEPABLE: readonly ComponentState[] = ["running", "starting", "exited"];
const ALIVE: readonly ComponentState[] = ["running", "starting", "unhealthy", "backoff"];
export const isAlive = (seen: Seen): boolean => ALIVE.includes(seen.component.state);
/** Changed behind our back: it is not what was started, whatever its hash says (B10). */
export const hasDrifted = (seen: Seen): boolean => (seen.component.drift?.length ?? 0) > 0;

/**
 * The hash each component should run under. A component that means the same as in the applied spec keeps the hash it
 * was really started with: after a restart of one component alone, the others must not look changed.
 */
export function wantedHashes(spec: Spec, applied: PlacementEntry | undefined, only: readonly string[] | undefined, hash: (value: object) => string): Record<string, string> {
  const before = new Map(applied?.spec.components.map((component) => [component.name, hash(componentIdentity(applied.spec, component))]));
  const wanted: Record<string, string> = {};
  for (const component of spec.components) {
    const fresh = hash(componentIdentity(spec, component));
    const running = applied?.hashes[component.name];
    const untouched = only !== undefined && !only.includes(component.name);
    wanted[component.name] = running !== undefined && (untouched || before.get(component.name) === fresh) ? running : fresh;
  }
  return wanted;
}

/** `only`: the components that may be touched; the rest is left exactly as it is. */
export function planComponents(spec: Spec, wanted: Readonly<Record<string, string>>, seen: readonly Seen[], only: readonly string[] | undefined): PlannedComponent[] {
  const plan: PlannedComponent[] = [];
  const names = new Set(spec.components.map((component) => component.name));
  for (const component of inStartOrder(spec.components)) {
    const hash = wanted[component.name]!;
    const here = seen.filter((item) => item.component.labels.component === component.name);
    const base = { name: component.name, spec: component, hash };
    if (only !== undefined && !only.includes(component.name)) {
      plan.push({ ...base, action: "keep", keep: undefined, old: [] });
      continue;
    }
    const keep = here.find((item) => item.component.labels.componentHash === hash && KEEPABLE.includes(item.component.state) && !hasDrifted(item));
    const old = here.filter((item) => item !== keep);
    plan.push({ ...base, action: keep !== undefined ? "keep" : old.some(isAlive) ? "recreate" : "create", keep, old });
  }
  for (const name of new Set(seen.map((item) => item.component.labels.component))) {
    if (names.has(name) || (only !== undefined && !only.includes(name))) continue;
    plan.push({ name, action: "remove", spec: undefined, hash: undefined, keep: undefined, old: seen.filter((item) => item.component.labels.component === name) });
  }
  return plan;
}

/** Components in groups: each group depends on earlier ones only. The spec was checked for cycles at the edge. */
export function startLevels(components: readonly ComponentSpec[]): ComponentSpec[][] {
  const levels: ComponentSpec[][] = [];
  const placed = new Set<string>();
  const names = new Set(components.map((component) => component.name));
  let left = [...components];
  while (left.length > 0) {
    let level = left.filter((component) => component.depends_on.every((name) => placed.has(name) || !names.has(name)));
    // A cycle cannot come through the schema; starting the rest in spec order beats looping for ever.
    if (level.length === 0) level = left;
    levels.push(level);
    for (const component of level) placed.add(component.name);
    left = left.filter((component) => !placed.has(component.name));
  }
  return levels;
}

export const inStartOrder = (components: readonly ComponentSpec[]): ComponentSpec[] => startLevels(components).flat();

/** Dependants first; what the spec does not know goes before everything. */
export function inStopOrder(seen: readonly Seen[], spec: Spec | undefined): Seen[] {
  const order = new Map(inStartOrder(spec?.components ?? []).map((component, index) => [component.name, index]));
  const rank = (item: Seen): number => order.get(item.component.labels.component) ?? Number.MAX_SAFE_INTEGER;
  return [...seen].sort((a, b) => rank(b) - rank(a));
}
