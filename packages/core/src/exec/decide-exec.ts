/**
 * Where a command is to run. Nothing is guessed: where there are several places or components and none is named, the
 * answer lists them. Whether the component runs just now is for its host to say; what the host's owner allows is known
 * here and judged here, and once more on the host itself.
 */
import type { ErrorCode, FieldError } from "../errors.ts";
import { allowancesOf } from "../placement/decide-allowances.ts";

export interface ExecPlace {
  readonly placementId: string;
  readonly hostName: string;
  /** As its last full beat said. */
  readonly capabilities: readonly string[];
  /** What was last observed of the components, for the list. */
  readonly states: Readonly<Record<string, string>>;
}

export interface ExecQuestion {
  readonly deployment: string;
  /** Of the present spec. */
  readonly components: readonly string[];
  /** Already only those on the named host, if one was named. */
  readonly places: readonly ExecPlace[];
  readonly component: string | undefined;
  readonly host: string | undefined;
}

export type ExecDecision =
  | { readonly kind: "run"; readonly place: ExecPlace; readonly component: string }
  | { readonly kind: "refuse"; readonly code: ErrorCode; readonly detail: string; readonly errors?: readonly FieldError[]; readonly place?: ExecPlace };

const MAX_LISTED = 50;

export function decideExec({ deployment, components, places, component, host }: ExecQuestion): ExecDecision {
  if (component !== undefined && !components.includes(component)) return { kind: "refuse", code: "unknown_component", detail: `There are: ${components.join(", ")}.` };
  const name = component ?? (components.length === 1 ? components[0] : undefined);
  if (name === undefined) {
    if (components.length === 0) return { kind: "refuse", code: "component_not_running", detail: `${deployment} has no components.` };
    return { kind: "refuse", code: "placement_ambiguous", detail: `${deployment} has several components: name one, as ${deployment}/COMPONENT.`, errors: components.slice(0, MAX_LISTED).map((one) => ({ pointer: "/component", message: one })) };
  }
  const [place, ...others] = places;
  if (place === undefined) return { kind: "refuse", code: "component_not_running", detail: host === undefined ? `${deployment} is placed nowhere.` : `${deployment} is not placed on ${host}.` };
  if (others.length > 0) {
    return {
      kind: "refuse", code: "placement_ambiguous", detail: `${deployment} is placed on ${places.length} hosts: name one.`,
      errors: places.toSorted((a, b) => (a.hostName < b.hostName ? -1 : 1)).slice(0, MAX_LISTED).map((one) => ({ pointer: "/host", message: `${one.hostName} (${name} ${one.states[name] ?? "not observed"})` })),
    };
  }
  if (!allowancesOf(place.capabilities).exec) return { kind: "refuse", code: "exec_not_allowed", detail: `Host ${place.hostName} does not allow it.`, place };
  return { kind: "run", place, component: name };
}
