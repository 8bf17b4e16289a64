/** One event, one line. */
import type { EventJson } from "@skep/protocol";
import { toned, type Line } from "../text/line.ts";
import { formatTime } from "../text/time.ts";
import { state } from "./tones.ts";

const KIND_COLUMNS = 22;

export const eventLine = (event: EventJson): Line => [
  toned(formatTime(event.at), "dim"), "  ", event.severity === "info" ? event.kind : { text: event.kind, tone: state(event.severity).tone }, " ".repeat(Math.max(2, KIND_COLUMNS - event.kind.length)), ...(event.host === null || event.host === undefined ? [] : [toned(`${event.host}: `, "dim")]), event.message,
];
