/** `skep health HOST`: how it is, and why. */
import type { Command } from "commander";
import { hostHealth } from "@skep/protocol";
import { EXIT } from "../exit-codes.ts";
import { ref } from "../options.ts";
import type { Act } from "../session.ts";
import { toned } from "../text/line.ts";
import { healthLines } from "../views/hosts.ts";

export function registerHealth(program: Command, act: Act): void {
  program.command("health").description("a host's health, with reasons").argument("<host>", "name or id", ref)
    .option("--exit-code", "exit 9 unless it is healthy")
    .action(act(async ({ api, json, terminal }, name: string, flags: { exitCode?: boolean }) => {
      const { data, raw } = await api.call("getHostHealth", hostHealth, { params: { host: name } });
      if (json) terminal.json(raw);
      else terminal.show([toned(data.name, "bold")], ...healthLines(data));
      return flags.exitCode === true && data.health !== "healthy" ? EXIT.degraded : EXIT.ok;
    }));
}
