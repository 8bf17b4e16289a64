/** `skep explain KIND NAME`: why something is as it is. The words are the master's own. */
import type { Command } from "commander";
import { isUuid } from "@skep/core";
import { EXPLAIN_KINDS, explanation, placementList } from "@skep/protocol";
import { usageError } from "../cli-error.ts";
import { oneOf } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { toned, type Line } from "../text/line.ts";
import { reasonLines } from "../views/hosts.ts";
import { eventLine } from "../views/events.ts";

type Kind = (typeof EXPLAIN_KINDS)[number];

export function registerExplain(program: Command, act: Act): void {
  program.command("explain").description("why a host, deployment, placement or lifecycle row is as it is")
    .argument("<kind>", EXPLAIN_KINDS.join(", "), oneOf(EXPLAIN_KINDS)).argument("<name>", "name or id; of a placement also DEPLOYMENT@HOST")
    .action(act(async (session, kind: Kind, name: string) => {
      const id = kind === "placement" && !isUuid(name) ? await placementId(session, name) : name;
      const { data, raw } = await session.api.call("explain", explanation, { params: { kind, id } });
      if (session.json) return session.terminal.json(raw);
      session.terminal.show(
        [toned(`${data.kind} ${data.name}`, "bold"), `  ${data.id}`], data.summary, ...reasonLines(data.reasons),
        ...(typeof data.trace_id === "string" ? [`trace ${data.trace_id}`] : []),
        ...(data.events.length === 0 ? [] : ["", toned("Last events", "bold"), ...data.events.map((event): Line => eventLine(event))]),
      );
    }));
}

async function placementId({ api }: Session, name: string): Promise<string> {
  const [deployment, host, more] = name.split("@");
  if (!deployment || !host || more !== undefined) throw usageError(`${name} is not a placement.`, "Give its id, or DEPLOYMENT@HOST.");
  const { data } = await api.call("listPlacements", placementList, { query: { deployment, host, limit: 1 } });
  if (data.items[0] === undefined) throw usageError(`${deployment} has no placement on ${host}.`, `skep status ${deployment} shows where it is placed.`);
  return data.items[0].id;
}
