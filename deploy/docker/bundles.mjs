/**
 * An enrolment bundle for every agent that has no identity yet, into that agent's own volume and nobody else's. A host that
 * exists (an earlier start was cut short, or its volume was removed) gets a new bundle instead of a second host.
 * Also the CLI's context. Usage: bundles.mjs API-URL NAME…
 */
import { randomUUID } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { request } from "node:https";
import { join } from "node:path";
import { writePrivateFile } from "@skep/pki";

const [apiUrl, ...names] = process.argv.slice(2);
const stateDir = process.env.SKEP_STATE_DIR ?? "/var/lib/skep";
const agentsDir = process.env.SKEP_AGENTS_DIR ?? "/agents";
const ca = readFileSync(join(stateDir, "ca", "ca.pem"));
const token = readFileSync(join(stateDir, "admin.token"), "utf8").trim();

function post(path, body) {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json", "idempotency-key": randomUUID() };
    const outgoing = request(`${apiUrl}${path}`, { method: "POST", ca, headers, timeout: 10_000 }, (reply) => {
      let text = "";
      reply.on("data", (chunk) => (text += chunk)).on("end", () => resolve({ status: reply.statusCode, body: JSON.parse(text) }));
    });
    outgoing.on("timeout", () => outgoing.destroy(new Error("no answer"))).on("error", reject).end(JSON.stringify(body));
  });
}

// For the CLI inside the master's container: `skep --state-dir /var/lib/skep …`.
await writePrivateFile(join(stateDir, "cli.json"), JSON.stringify({ url: "https://127.0.0.1:8080", token, ca: join(stateDir, "ca", "ca.pem") }));

for (const name of names) {
  if (existsSync(join(agentsDir, name, "identity", "current"))) continue;
  let reply = await post("/v1/hosts", { name, address: name });
  if (reply.body.code === "host_exists") reply = await post(`/v1/hosts/${name}/bundle`, {});
  if (reply.status >= 300) throw new Error(`${name}: ${reply.status} ${reply.body.code}: ${reply.body.detail}`);
  await writePrivateFile(join(agentsDir, name, "agent.skep"), JSON.stringify(reply.body.bundle));
  process.stdout.write(`${name}: bundle written\n`);
}
