/** Addresses from the protocol's route table: the CLI knows no path of its own. */
import { OPERATOR_ROUTES, type Method, type OperatorRouteId } from "@skep/protocol";

export interface Target {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
}

export function addressOf(id: OperatorRouteId, { params = {}, query = {} }: Target): { method: Method; path: string } {
  const route = OPERATOR_ROUTES.find((candidate) => candidate.id === id)!;
  const path = route.path.replace(/:([a-z_]+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ""));
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    for (const item of Array.isArray(value) ? (value as readonly string[]) : [value]) if (item !== undefined) search.append(name, String(item));
  }
  return { method: route.method, path: search.size === 0 ? path : `${path}?${search.toString()}` };
}
