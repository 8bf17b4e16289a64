/** `skep config explain`: which master this would talk to, and who says so. Asks nobody. */
import type { Command } from "commander";
import type { Act } from "../session.ts";
import { toned } from "../text/line.ts";
import { renderTable } from "../text/table.ts";

export function registerConfig(program: Command, act: Act): void {
  program.command("config").description("the settings in use").command("explain", { isDefault: true }).description("every setting with its source")
    .action(act(async ({ settings, json, terminal, env }) => {
      const rows = [
        { name: "url", ...settings.url },
        { name: "token", value: settings.token.value === undefined ? undefined : masked(settings.token.value), source: settings.token.source },
        { name: "ca", ...settings.ca },
      ];
      if (json) {
        terminal.json({ schema_version: 1, settings: Object.fromEntries(rows.map(({ name, value, source }) => [name, { value: value ?? null, source }])), context_file: env.contextFile, withheld: settings.withheld });
        return;
      }
      terminal.show(...renderTable(rows, [
        { title: "SETTING", cell: (row) => row.name },
        { title: "VALUE", cell: (row) => row.value ?? toned("none", "dim") },
        { title: "SOURCE", cell: (row) => row.source },
      ], undefined));
      terminal.say(...settings.withheld.map((why) => `not used: ${why}, which is not the url above`), toned(`context file: ${env.contextFile}`, "dim"));
    }));
}

/** The id is no secret and tells two tokens apart: `skp_<id>_<secret>`. */
const masked = (token: string): string => `${/^skp_[0-9a-f]{32}_/.exec(token)?.[0] ?? ""}…`;
