/**
 * Where a reader of logs is, as something to keep: a token to paste, or whatever `logs --json` wrote. Pure. Output that
 * was appended to for hours is as good as its last word on each component; a last line that was cut off in the middle
 * was not seen by anybody and is read again.
 */
import { logPositions, positionKey, type LogPositions } from "@skep/protocol";
import { usageError } from "./cli-error.ts";

const PREFIX = "pos_";
/** Longer than this nobody pastes it, and some shells will not take it. */
const MAX_TOKEN_CHARS = 4_000;

/** undefined: too many to be pasted. */
export function positionToken(positions: LogPositions): string | undefined {
  const token = `${PREFIX}${Buffer.from(JSON.stringify(positions)).toString("base64url")}`;
  return token.length <= MAX_TOKEN_CHARS ? token : undefined;
}

export const isPositionToken = (text: string): boolean => text.startsWith(PREFIX);

/** Throws a usage error. `what`: where the text is from. */
export function parsePositions(text: string, what: string): LogPositions {
  const trimmed = text.trim();
  if (isPositionToken(trimmed)) return checked(parse(Buffer.from(trimmed.slice(PREFIX.length), "base64url").toString("utf8")), what);
  const positions: Record<string, number> = {};
  const lines = text.split("\n");
  lines.forEach((line, index) => {
    if (line.trim() === "") return;
    const document = parse(line);
    if (typeof document !== "object" || document === null) {
      if (index === lines.length - 1) return;
      throw usageError(`${what}, line ${index + 1}: not a JSON document.`, FIX);
    }
    apply(positions, document as Record<string, unknown>);
  });
  if (Object.keys(positions).length === 0) throw usageError(`${what} holds no position.`, FIX);
  return checked(positions, what);
}

const FIX = "Give a token (pos_…), or a file that skep logs --json wrote.";

/** One document of `logs --json`: a line, or something beside the lines. */
function apply(positions: Record<string, number>, document: Record<string, unknown>): void {
  if (typeof document["positions"] === "object" && !Array.isArray(document["positions"])) Object.assign(positions, document["positions"]);
  // A reply of `logs --json` without -f.
  if (Array.isArray(document["positions"])) for (const item of document["positions"]) set(positions, item, "offset");
  set(positions, document, "next");
  set(positions, document["position"], "offset");
  set(positions, document["gap"], "to");
  const ended = Object(document["end"]) as { placement_id?: unknown; component?: unknown };
  if (typeof ended.placement_id === "string" && typeof ended.component === "string") delete positions[positionKey({ placement_id: ended.placement_id, component: ended.component })];
}

function set(positions: Record<string, number>, item: unknown, field: "next" | "offset" | "to"): void {
  const { placement_id: placementId, component, [field]: at } = Object(item) as Record<string, unknown>;
  if (typeof placementId === "string" && typeof component === "string" && typeof at === "number") positions[positionKey({ placement_id: placementId, component })] = at;
}

function checked(value: unknown, what: string): LogPositions {
  const parsed = logPositions.safeParse(value);
  if (!parsed.success) throw usageError(`${what} holds no positions of skep's.`, FIX);
  return parsed.data;
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
