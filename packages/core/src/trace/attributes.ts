/**
 * What a span may say. An allow-list, because a trace leaves the fleet for a system of somebody else's: names, numbers
 * and words of ours; never an environment, an argument, a command, a token or an error's text.
 */
export type HttpMethod = "GET" | "POST" | "PUT" | "PATCH" | "DELETE";

export interface SpanAttributes {
  readonly method?: HttpMethod | undefined;
  /** The pattern of the route table. */
  readonly route?: string | undefined;
  /** HTTP's. */
  readonly httpStatus?: number | undefined;
  readonly deployment?: string | undefined;
  readonly component?: string | undefined;
  /** A host's name, or its id where the name is not at hand. */
  readonly host?: string | undefined;
  readonly operation?: string | undefined;
  readonly generation?: number | undefined;
  /** The lifecycle row's id, which is the job's. */
  readonly lifecycleId?: string | undefined;
  /** The step's. */
  readonly phase?: string | undefined;
  readonly status?: string | undefined;
  readonly code?: string | undefined;
  /** Which try it was, from 1. */
  readonly attempt?: number | undefined;
}

const EXPORTED: Readonly<Record<keyof SpanAttributes, string>> = {
  method: "http.request.method", route: "http.route", httpStatus: "http.response.status_code",
  deployment: "skep.deployment", component: "skep.component", host: "skep.host", operation: "skep.operation", generation: "skep.generation",
  lifecycleId: "skep.lifecycle_id", phase: "skep.phase", status: "skep.status", code: "skep.code", attempt: "skep.attempt",
};
/** Names, ids, codes and route patterns look like this; what does not is somebody's text. */
const WORD = /^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$|^\/[a-z0-9_:/{}*-]{0,127}$/;
const LEFT_OUT = "[left out]";

/** Under the names of the semantic conventions and our own. Keys that are not of the list are dropped, values that are no words are not shown. */
export function exportedAttributes(attributes: SpanAttributes): Record<string, string | number> {
  const exported: Record<string, string | number> = {};
  for (const [key, name] of Object.entries(EXPORTED)) {
    const value: unknown = attributes[key as keyof SpanAttributes];
    if (typeof value === "number" && Number.isFinite(value)) exported[name] = value;
    else if (typeof value === "string") exported[name] = WORD.test(value) ? value : LEFT_OUT;
  }
  return exported;
}
