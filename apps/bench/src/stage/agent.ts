/** A real agent: the product's program, enrolled the way an operator does it, its own process. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { eventually, startProgram } from "@skep/testkit";
import { request } from "undici";
import { APPS, type Master } from "./master.ts";

export interface Agent {
  readonly pid: number;
  stop(): Promise<void>;
}

/** Resolves once the master calls it active. */
export async function startAgent(master: Master, wish: { readonly dir: string; readonly name: string; readonly env?: Readonly<Record<string, string>> }): Promise<Agent> {
  const env = {
    SKEP_AGENT_DIR: join(wish.dir, "identity"), SKEP_STATE_DIR: join(wish.dir, "state"), SKEP_AGENT_LISTEN: "127.0.0.1", SKEP_AGENT_PORT: "0", SKEP_LOCAL_PORT: "0", ...wish.env,
  };
  mkdirSync(env.SKEP_STATE_DIR, { recursive: true });
  const headers = { authorization: `Bearer ${master.token}`, "content-type": "application/json" };
  const created = await request(`${master.apiUrl}/v1/hosts`, { method: "POST", headers, body: JSON.stringify({ name: wish.name, address: "127.0.0.1", agent_port: 0 }) });
  const { bundle } = (await created.body.json()) as { readonly bundle: unknown };
  const bin = join(APPS, "agent/bin/skep-agent.js");
  const enrolled = await startProgram([bin, "enrol", Buffer.from(JSON.stringify(bundle)).toString("base64url")], { env }).exited;
  if (enrolled.code !== 0) throw new Error(`the agent ${wish.name} could not be enrolled`);
  const program = startProgram([bin, "--json"], { env });
  await eventually(async () => {
    const { body } = await request(`${master.apiUrl}/v1/hosts/${wish.name}`, { headers });
    return ((await body.json()) as { readonly status: string }).status === "active";
  }, { what: `the agent ${wish.name} is active`, timeoutMs: 30_000 });
  return {
    pid: program.pid,
    stop: async () => {
      program.kill("SIGKILL");
      await program.exited;
    },
  };
}
