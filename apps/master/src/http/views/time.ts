/** Times on the wire: RFC 3339, UTC, milliseconds. */
import { toIso, type Instant } from "@skep/core";

export const timeOrNull = (at: Instant | undefined): string | null => (at === undefined ? null : toIso(at));
