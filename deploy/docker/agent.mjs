/** An agent in a container: redeems its bundle where there is no identity yet, then becomes the agent. Usage: agent.mjs DIR */
import { spawnSync } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

const dir = process.argv[2];
const program = fileURLToPath(new URL("../../apps/agent/bin/skep-agent.js", import.meta.url));
process.env.SKEP_AGENT_DIR = join(dir, "identity");
process.env.SKEP_STATE_DIR = join(dir, "state");

if (!existsSync(join(dir, "identity", "current"))) {
  const bundle = join(dir, "agent.skep");
  const { status } = spawnSync(process.execPath, [program, "enrol", bundle], { stdio: "inherit" });
  if (status !== 0) process.exit(status ?? 1);
  rmSync(bundle);
}
process.argv = [process.execPath, program];
await import(program);
