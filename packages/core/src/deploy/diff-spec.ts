/** What differs between two specs, path by path: what a person reads before saying yes. Components are matched by name, not by place. */
import { canonicalJson } from "../spec/canonical.ts";
import type { Spec } from "../spec/spec.ts";

export interface SpecChange {
  /** Such as `components.web.env.POOL`. */
  readonly path: string;
  /** Undefined = it is not there. */
  readonly from: unknown;
  readonly to: unknown;
}

export const diffSpec = (from: Spec, to: Spec): readonly SpecChange[] => diff("", shaped(from), shaped(to));

const shaped = (spec: Spec): unknown => ({ ...spec, components: Object.fromEntries(spec.components.map((component) => [component.name, component])) });
const isObject = (value: unknown): value is Readonly<Record<string, unknown>> => typeof value === "object" && value !== null && !Array.isArray(value);

function diff(path: string, from: unknown, to: unknown): readonly SpecChange[] {
  if (isObject(from) && isObject(to)) {
    return [...new Set([...Object.keys(from), ...Object.keys(to)])].sort().flatMap((key) => diff(path === "" ? key : `${path}.${key}`, from[key], to[key]));
  }
  const same = from === undefined || to === undefined ? from === to : canonicalJson(from) === canonicalJson(to);
  return same ? [] : [{ path, from, to }];
}
