/** `skep events`: what happened, as it happens. No event is shown twice and none is passed over. */
import { Option, type Command } from "commander";
import { eventList, eventView, type EventJson } from "@skep/protocol";
import { follow } from "../api/follow.ts";
import { EXIT, type ExitCode } from "../exit-codes.ts";
import { integer, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { toned } from "../text/line.ts";
import { eventLine } from "../views/events.ts";

interface Flags {
  readonly follow?: boolean;
  readonly host?: string;
  readonly deployment?: string;
  readonly kind?: string;
  readonly sinceCursor?: string;
  readonly limit: number;
}

/** Enough for the repeats around the start of a stream; the ledger itself never repeats a cursor. */
const REMEMBERED = 2_000;

export function registerEvents(program: Command, act: Act): void {
  program.command("events").description("the newest events, or all that come; with --json one document per line when following")
    .option("-f, --follow", "go on showing what happens")
    .option("--host <host>", "about this host", ref)
    .option("--deployment <deployment>", "about this deployment", ref)
    .option("--kind <prefix>", "for example host or lifecycle.failed")
    .option("--since-cursor <cursor>", "those after it, oldest first")
    .addOption(new Option("--limit <n>", "at most that many of the past").default(50).argParser(integer(1, 1_000)))
    .action(act(events));
}

async function events(session: Session, flags: Flags): Promise<ExitCode> {
  const { json, terminal, signal } = session;
  const query = { host: flags.host, deployment: flags.deployment, kind: flags.kind };
  const print = (event: EventJson, raw: unknown): void => (json ? terminal.json(raw) : terminal.show(eventLine(event)));
  if (flags.follow !== true) {
    const { data, raw } = await session.api.call("listEvents", eventList, { query: { ...query, limit: flags.limit, cursor: flags.sinceCursor } });
    if (json) terminal.json(raw);
    else {
      terminal.show(...data.items.map(eventLine));
      terminal.say(toned(data.items.length === 0 ? "No events." : `Go on from here: --since-cursor ${data.next_cursor}`, "dim"));
    }
    return EXIT.ok;
  }

  const shown = new Set<string>();
  const once = (event: EventJson, raw: unknown): void => {
    if (shown.has(event.cursor)) return;
    shown.add(event.cursor);
    if (shown.size > REMEMBERED) shown.delete(shown.values().next().value!);
    print(event, raw);
  };
  let cursor = flags.sinceCursor;
  if (cursor === undefined) {
    const { data, raw } = await session.api.call("listEvents", eventList, { query: { ...query, limit: flags.limit } });
    const raws = (raw as { items: unknown[] }).items;
    data.items.forEach((event, index) => once(event, raws[index]));
    cursor = data.next_cursor;
  }
  await follow({ transport: session.api.transport, clock: session.clock, rng: session.rng, signal: AbortSignal.any([signal, terminal.gone]) }, {
    route: "listEvents",
    resume: () => ({ target: { query }, lastEventId: cursor }),
    onFrame: (frame) => {
      if (frame.data !== "") {
        const raw: unknown = JSON.parse(frame.data);
        once(eventView.parse(raw), raw);
      }
      // After it is shown: a crash between the two repeats an event, the other order would lose one.
      cursor = frame.id ?? cursor;
    },
    onTrouble: (words) => terminal.say(toned(words, "dim")),
  });
  if (!signal.aborted) return EXIT.ok;
  if (cursor !== undefined) terminal.say(toned(`Go on from here: skep events -f --since-cursor ${cursor}`, "dim"));
  return EXIT.detached;
}
