/** `skep deployments`, also `skep ls`. */
import type { Command } from "commander";
import { deploymentList } from "@skep/protocol";
import { listAll } from "../api/pages.ts";
import { integer } from "../options.ts";
import type { Act } from "../session.ts";
import { deploymentTable } from "../views/deployments.ts";

export function registerDeployments(program: Command, act: Act): void {
  program.command("deployments").alias("ls").description("list deployments")
    .option("--all", "also those torn down")
    .option("--limit <n>", "at most that many", integer(1, 1_000_000))
    .action(act(async ({ api, json, terminal }, flags: { all?: boolean; limit?: number }) => {
      const { items, raw, at } = await listAll(api, "listDeployments", deploymentList, { query: { include_deleted: flags.all } }, flags.limit);
      if (json) terminal.json(raw);
      else if (items.length === 0) terminal.say("No deployments. Make one: skep deploy -f FILE");
      else terminal.show(...deploymentTable(items, at, terminal.columns));
    }));
}
