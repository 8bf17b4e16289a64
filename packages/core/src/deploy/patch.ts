/** Mutation as arithmetic on specs: the master computes the full result, the agent never merges anything. */
import type { ComponentSpec, ContainerSpec, Spec, UpdateOrder } from "../spec/spec.ts";

export interface SpecPatch {
  readonly components?: Readonly<Record<string, ComponentPatch>> | undefined;
  /** Set on every component; null unsets. */
  readonly env?: Readonly<Record<string, string | null>> | undefined;
  readonly restart?: boolean | undefined;
  readonly update_order?: UpdateOrder | undefined;
}

export interface ComponentPatch {
  readonly command?: readonly string[] | undefined;
  readonly env?: Readonly<Record<string, string | null>> | undefined;
  readonly ports?: ComponentSpec["ports"] | undefined;
  readonly probe?: ComponentSpec["probe"] | null | undefined;
  readonly restart?: ComponentSpec["restart"] | undefined;
  readonly stop_timeout_s?: number | undefined;
  /** Field by field over the container as it is. */
  readonly container?: { readonly [K in keyof ContainerSpec]?: ContainerSpec[K] | undefined } | undefined;
  readonly noop?: ComponentSpec["noop"] | undefined;
}

export type PatchOutcome = { readonly kind: "patched"; readonly spec: Spec } | { readonly kind: "unknown_component"; readonly names: readonly string[] };

export function patchSpec(spec: Spec, patch: SpecPatch): PatchOutcome {
  const known = new Set(spec.components.map((component) => component.name));
  const names = Object.keys(patch.components ?? {}).filter((name) => !known.has(name));
  if (names.length > 0) return { kind: "unknown_component", names };
  const components = spec.components.map((component) => patchComponent(component, patch.components?.[component.name] ?? {}, patch.env ?? {}));
  const restartCount = (spec.restart_count ?? 0) + (patch.restart === true ? 1 : 0);
  const order = patch.update_order === undefined ? {} : { update_order: patch.update_order };
  return { kind: "patched", spec: { ...spec, components, ...order, ...(restartCount === 0 ? {} : { restart_count: restartCount }) } };
}

function patchComponent(component: ComponentSpec, patch: ComponentPatch, everywhere: Readonly<Record<string, string | null>>): ComponentSpec {
  const { env, probe, container, ...rest } = patch;
  const kept = Object.fromEntries(Object.entries(rest).filter(([, value]) => value !== undefined));
  const result = { ...component, ...kept, env: patchEnv(patchEnv(component.env, everywhere), env ?? {}) };
  if (container !== undefined) {
    const given = Object.fromEntries(Object.entries(container).filter(([, value]) => value !== undefined));
    (result as { container?: unknown }).container = { ...component.container, ...given };
  }
  if (probe === null) delete (result as { probe?: unknown }).probe;
  return probe === undefined || probe === null ? result : { ...result, probe };
}

function patchEnv(env: Readonly<Record<string, string>>, patch: Readonly<Record<string, string | null>>): Record<string, string> {
  const result: Record<string, string> = { ...env };
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) delete result[name];
    else result[name] = value;
  }
  return result;
}
