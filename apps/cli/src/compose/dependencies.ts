/**
 * `depends_on` of all services together: what a dependency has to be before its dependents start is in Skep a property
 * of the dependency (it is healthy where it is probed, it has ended with 0 where it runs to completion), so the
 * conditions of all dependents must agree with each other and with what the dependency is.
 */
import type { Context } from "./context.ts";
import type { Place } from "./fault.ts";
import { checkKeys } from "./keys.ts";
import { child, isEmpty } from "./read.ts";
import type { MapTree } from "./tree.ts";

type Condition = "service_started" | "service_healthy" | "service_completed_successfully";
interface Edge {
  readonly from: string;
  readonly to: string;
  readonly condition: Condition;
  /** Whether the condition is written, and not only Compose's default. */
  readonly explicit: boolean;
  readonly place: Place;
}
export interface Dependencies {
  /** Names of services. */
  readonly of: (service: string) => readonly string[];
  readonly runsToCompletion: (service: string) => boolean;
}

export function readDependencies(context: Context, isProbed: (service: string) => boolean): Dependencies {
  const edges = [...context.services].flatMap(([name, { value }]) => (value.kind === "map" ? edgesOf(context, name, value) : []));
  const completing = new Map(edges.filter((edge) => edge.condition === "service_completed_successfully").map((edge) => [edge.to, edge]));
  for (const edge of edges) judge(context, edge, isProbed(edge.to), completing.get(edge.to));
  for (const [to, edge] of completing) {
    if (isProbed(to)) context.reader.refuse("clash", edge.place, `${to} is to run to its end, where its exit code counts: it can have no healthcheck`);
  }
  refuseCycle(context, edges);
  return { of: (service) => [...new Set(edges.filter((edge) => edge.from === service).map((edge) => edge.to))], runsToCompletion: (service) => completing.has(service) };
}

function edgesOf({ reader, notes, services, disabled }: Context, from: string, service: MapTree): Edge[] {
  const tree = child(service, "depends_on");
  if (tree === undefined) return [];
  const wanted = tree.kind !== "map"
    ? reader.texts(tree).map(({ text, place }) => ({ to: text, place: place as Place, map: undefined }))
    : [...tree.entries].map(([to, { key, value }]) => ({ to, place: key as Place, map: isEmpty(value) ? undefined : reader.map(value) }));
  return wanted.flatMap(({ to, place, map }): Edge[] => {
    if (map !== undefined) checkKeys(notes, map, "depends_on");
    const required = map === undefined ? true : (reader.boolean(child(map, "required")) ?? true);
    if (!services.has(to)) {
      if (required) reader.refuse("unknown_reference", place, disabled.has(to) ? `${to} is in a profile that was not asked for: add --profile` : `there is no service ${to}`);
      return [];
    }
    if (!required) reader.refuse("unsupported_value", child(map!, "required")!, `Skep has no dependencies that may fail: leave required out, or remove ${to}`);
    const condition = map === undefined ? undefined : reader.text(child(map, "condition"));
    return [{ from, to, condition: (condition ?? "service_started") as Condition, explicit: condition !== undefined, place }];
  });
}

function judge({ reader, notes }: Context, { to, condition, explicit, place }: Edge, probed: boolean, completing: Edge | undefined): void {
  switch (condition) {
    case "service_healthy":
      if (completing !== undefined) reader.refuse("clash", place, `${to} is to run to its end at ${notes.locate(completing.place)}: nothing can wait for its health too`);
      else if (!probed) reader.refuse("unsupported_value", place, `${to} has no healthcheck in this file, and what its image brings is not looked into: give it one, or use service_started`);
      return;
    case "service_started":
      if (completing !== undefined) notes.warn(place, `${to} runs to its end (${notes.locate(completing.place)}): this service too starts only after it`);
      else if (probed && explicit) notes.warn(place, `${to} has a healthcheck: this service starts once it is healthy, not only started`);
      return;
    case "service_completed_successfully":
      return;
    default:
      // The schema has named it.
      return condition satisfies never;
  }
}

function refuseCycle({ reader }: Context, edges: readonly Edge[]): void {
  const done = new Set<string>();
  const walk = (name: string, trail: readonly Edge[]): boolean => {
    const start = trail.findIndex((edge) => edge.from === name);
    if (start >= 0) {
      const circle = trail.slice(start);
      reader.refuse("cycle", circle[0]!.place, `depends_on goes in a circle: ${[...circle.map((edge) => edge.from), name].join(" → ")}`);
      return true;
    }
    if (done.has(name)) return false;
    const found = edges.filter((edge) => edge.from === name).some((edge) => walk(edge.to, [...trail, edge]));
    done.add(name);
    return found;
  };
  for (const { from } of edges) if (!done.has(from) && walk(from, [])) return;
}
