/** A real fleet: an agent is killed, a receiver hears of it with what to do next, and hears of its return; masters are killed in between. */
import { createHmac } from "node:crypto";
import { createServer } from "node:http";
import { eventually } from "@skep/testkit";
import { afterAll, beforeAll, expect, test } from "vitest";
import { skep } from "../src/harness/cli.ts";
import type { Agent } from "../src/harness/fleet.ts";
import { useFleet } from "./kit/use-fleet.ts";

interface Heard {
  readonly type: string;
  readonly rule: string | undefined;
  readonly body: { readonly delivery_id: string; readonly title: string; readonly alert: Record<string, unknown> | null };
  readonly signature: string;
  readonly timestamp: string;
  readonly text: string;
}

const heard: Heard[] = [];
const server = createServer((request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.on("end", () => {
    const text = Buffer.concat(chunks).toString("utf8");
    const body = JSON.parse(text) as Heard["body"] & { type: string };
    heard.push({ type: body.type, rule: body.alert?.["rule"] as string | undefined, body, signature: String(request.headers["skep-signature"]), timestamp: String(request.headers["skep-timestamp"]), text });
    response.writeHead(204).end();
  });
});
let url = "";
beforeAll(async () => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as { port: number }).port}/skep`;
});
afterAll(() => void server.close());

let bee: Agent;
const site = useFleet("alerts", { intervalMs: 500, masterEnv: { SKEP_ALERT_COOLDOWN_MS: "1000" } }, async (fleet) => {
  bee = await fleet.addAgent("bee-1");
});
/** The newest of that type, about that alert if one is named. */
const hears = (type: string, id?: string) =>
  eventually((status) => {
    status(heard.map((one) => `${one.type} ${one.rule ?? ""}`).join(", "));
    return heard.findLast((one) => one.type === type && (id === undefined || one.body.alert?.["id"] === id));
  }, { what: `the receiver hears ${type}`, timeoutMs: 90_000 });

test("a killed agent is an alert with what to do next, its return ends it; each is told once, by a master that is killed in between too", async () => {
  const { fleet } = site;
  const firing = async (): Promise<{ id: string; rule: string; last_at: string }[]> => (await fleet.api.get("/v1/alerts?state=firing&host=bee-1&min_severity=error")).items;
  // A machine that was slow may have lost sight of the host already: whoever is told from now on is told the beginning too.
  await eventually(async () => (await firing()).length === 0, { what: "nothing fires yet", timeoutMs: 60_000 });
  const added = await skep(fleet.api, ["webhook", "add", "pager", url, "--kind", "host.", "--min-severity", "error"]);
  expect([added.code, added.stdout]).toEqual([0, expect.stringMatching(/^whsec_[0-9A-Za-z]+\n$/)]);
  const secret = added.stdout.trim();
  expect((await skep(fleet.api, ["webhook", "test", "pager"])).code).toBe(0);
  await hears("test");

  await bee.kill();
  // Of this death: it fires while the host is down, and began after the last time that the host was heard.
  const alert = await eventually(async () => {
    const host = await fleet.api.get("/v1/hosts/bee-1");
    const [found] = (await firing()).filter((one) => one.rule === "host_unreachable");
    return host.status === "unreachable" && found !== undefined && Date.parse(found.last_at) > Date.parse(host.last_heartbeat_at) ? found : undefined;
  }, { what: "the host's silence is an alert", timeoutMs: 90_000 });
  const { id } = alert;
  const first = await hears("alert.firing", id);
  expect(first.body).toMatchObject({ title: "Host unreachable: bee-1", alert: { severity: "error", state: "firing", host: "bee-1", host_id: bee.hostId, next: "skep explain host bee-1", message: expect.stringContaining("bee-1 is unreachable") as string } });
  expect(first.signature).toBe(`v1=${createHmac("sha256", secret).update(`${first.timestamp}.${first.text}`).digest("hex")}`);
  const shown = await skep(fleet.api, ["alerts", "--exit-code"]);
  expect(shown.code).toBe(9);
  expect(shown.stdout).toContain("ERROR  Host unreachable: bee-1");
  expect(shown.stdout).toContain("  next: skep explain host bee-1");
  const next = await skep(fleet.api, (first.body.alert!["next"] as string).split(" ").slice(1));
  expect(next.code).toBe(0);
  expect((await skep(fleet.api, ["alerts", "ack", id])).stdout).toContain("acknowledged by token:");

  await fleet.master.kill();
  await fleet.master.start();
  await bee.start();
  const resolved = await hears("alert.resolved", id);
  expect(resolved.body.alert).toMatchObject({ id, state: "resolved", resolved_because: expect.stringContaining("active") as string });
  await eventually(async () => (await skep(fleet.api, ["alerts", "--host", "bee-1", "--min-severity", "error"])).stderr === "Nothing fires.\n", { what: "nothing fires", timeoutMs: 60_000 });
  expect((await skep(fleet.api, ["alerts", "--all", "--host", "bee-1"])).stdout).toContain("resolved  Host unreachable: bee-1");

  // A machine that is slow may have seen the host go more than once; beginning and end take turns all the same.
  // What a killed master had sent and not yet recorded comes again, under the same delivery id: receivers drop what they have seen.
  const once = [...new Map(heard.map((one) => [one.body.delivery_id, one])).values()];
  const pairs = once.filter((one) => one.rule === "host_unreachable");
  expect(pairs.map((one) => one.type)).toEqual(pairs.map((_, index) => (index % 2 === 0 ? "alert.firing" : "alert.resolved")));
  const notices = once.map(({ type, body: { alert: about } }) => `${type} ${String(about?.["id"])} ${String(about?.["version"])}`);
  expect(new Set(notices).size).toBe(notices.length);
  expect((await skep(fleet.api, ["webhook", "deliveries", "pager", "--json"])).stdout).not.toContain(secret);
  for (const member of [fleet.master]) expect(member.logs()).not.toContain(secret);
  expect((await skep(fleet.api, ["webhook", "rm", "pager"])).code).toBe(0);
}, 400_000);
