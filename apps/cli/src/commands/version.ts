/** `skep version`: this program's, and the master's where it answers. */
import type { Command } from "commander";
import { versionView } from "@skep/protocol";
import { CliError, errorJson, errorLines } from "../cli-error.ts";
import type { Act } from "../session.ts";
import { VERSION } from "../version.ts";

export function registerVersion(program: Command, act: Act): void {
  program.command("version").description("this program's version and the master's").action(act(async (session) => {
    const { terminal, json } = session;
    try {
      const { data, raw } = await session.api.call("getVersion", versionView);
      if (json) return terminal.json({ cli: VERSION, master: raw });
      terminal.show(`skep    ${VERSION}`, `master  ${data.version}  ${session.settings.url.value}  trust domain ${data.trust_domain}  CA sha256:${data.ca_sha256.slice(0, 16)}…  beats every ${data.heartbeat_interval_ms} ms`);
    } catch (error) {
      if (!(error instanceof CliError)) throw error;
      // Without a master there is still a version to tell; that nobody answered is told too.
      if (json) return terminal.json({ cli: VERSION, master: null, error: errorJson(error) });
      terminal.show(`skep    ${VERSION}`);
      terminal.say(...errorLines(error));
    }
  }));
}
