/** A probe over a real connection: given up it says nothing of the host, and what was withheld says why. */
import { BREAKER_COOLDOWN_MS } from "@skep/core";
import { ManualClock, eventually } from "@skep/testkit";
import { expect, test } from "vitest";
import { authority, me, reply, useAgents, type Act } from "./agent-kit.ts";

const agents = useAgents();
const ALIVE = { status: "ok", phase: "ready", version: "1", boot_id: "b" };
const cut: Act = (request) => request.socket.destroy();

test("a probe that is given up ends at once, counts for nothing, and gives the trial's token back", async () => {
  const clock = new ManualClock();
  const client = agents.newClient({ clock });
  let act = cut;
  let asked = 0;
  const host = await agents.agent((request, response) => act(request, response));
  for (let nth = 1; nth <= 5; nth += 1) expect(await client.health(host)).toMatchObject({ ok: false });
  expect(await client.health(host)).toMatchObject({ ok: false, withheld: { consecutiveFailures: 5, stranger: false } });
  clock.advance(BREAKER_COOLDOWN_MS);
  act = () => void (asked += 1);
  const question = new AbortController();
  const trial = client.health(host, question.signal);
  await eventually(() => asked === 1, { what: "the trial arrived" });
  expect(client.circuit(host).retryInMs).toBeGreaterThan(0);
  question.abort();
  expect(await trial).toMatchObject({ ok: false, error: "given up by this master" });
  // Neither another cool-down nor the token's own time has passed: the next one goes out at once.
  expect(client.circuit(host)).toMatchObject({ state: "half_open", retryInMs: 0 });
  expect(client.calls(me.hostId)).toMatchObject({ totalRequests: 5, failedRequests: 5 });
  act = reply(200, ALIVE);
  expect(await client.health(host)).toMatchObject({ ok: true, health: ALIVE });
  expect(client.circuit(host).state).toBe("closed");
});

test("where somebody else answers, a withheld probe says so", async () => {
  const client = agents.newClient();
  const host = await agents.agent(reply(200, ALIVE), authority.host("web-02"));
  expect(await client.health(host)).toMatchObject({ ok: false });
  expect(await client.health(host)).toMatchObject({ ok: false, withheld: { stranger: true } });
});
