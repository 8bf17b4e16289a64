/**
 * The engine, an agent and the master are killed in turn in the middle of a rollout of containers. Each time the
 * ledger ends with the truth and the engine with one copy of each component: no orphan, no double, no half release.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { below, seededRng } from "@skep/core";
import { systemClock } from "@skep/runtime";
import { eventually, seedFromEnv, startEngine, type Engine } from "@skep/testkit";
import { noEngine } from "@skep/testkit/vitest";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { containersOf } from "../src/harness/containers.ts";
import type { Agent } from "../src/harness/fleet.ts";
import { allRows, succeeds } from "../src/harness/operations.ts";
import { ledgerProblems } from "../src/harness/truth.ts";
import { useFleet } from "./kit/use-fleet.ts";

const ROUNDS_EACH = 3;
const HOSTS = ["bee-1", "bee-2", "bee-3"];
const COMPONENTS = ["cache", "web"];
const seed = seedFromEnv();
const clock = systemClock();

describe.skipIf(noEngine())("killed in the middle of a rollout", () => {
  const site = useFleet("workloads-kill", { intervalMs: 500 });
  const agents: Agent[] = [];
  // An engine of its own: its daemon is killed.
  let engine: Engine;

  beforeAll(async () => {
    engine = await startEngine();
    await engine.image("hive/web:1", { entrypoint: ["/bin/web"], files: { "/bin/web": "#!/bin/sh\ntrap 'exit 0' TERM\nmkdir -p /www && echo $ROUND > /www/index.html && httpd -p 80 -h /www\nwhile true; do sleep 1000 & wait $!; done\n" } });
    for (const name of HOSTS) agents.push(await site.fleet.addAgent(name, { env: { DOCKER_HOST: `unix://${engine.socketPath}` } }));
    await eventually(async () => {
      const { status } = await site.fleet.api.post("/v1/deployments", { name: "hive", spec: specOf("0"), placement: { hosts: HOSTS }, dry_run: true });
      return status === 200;
    }, { what: "every agent offers its engine", timeoutMs: 60_000 });
    await succeeds(site.fleet.api, "/v1/deployments", { name: "hive", spec: specOf("0"), placement: { hosts: HOSTS } });
  }, 180_000);
  afterAll(async () => {
    await site.fleet.stop().catch(() => undefined);
    await engine?.stop();
  });

  const specOf = (round: string) => ({
    driver: "docker",
    components: COMPONENTS.map((name) => ({
      name, env: { ROUND: round }, container: { image: "hive/web:1", pull: "never" }, ports: [{ name: "http", container: 80, publish: false }], stop_timeout_s: 2,
      restart: { policy: "always" }, ...(name === "web" ? { depends_on: ["cache"] } : {}), probe: { type: "http", port: "http", path: "/", interval_ms: 200, failure_threshold: 50 },
    })),
  });

  const torment: Readonly<Record<string, (pick: number) => Promise<void>>> = {
    engine: async () => {
      await engine.kill();
      await clock.sleep(300);
      await engine.restart();
    },
    agent: async (pick) => {
      await agents[pick]!.kill();
      await agents[pick]!.start();
    },
    master: async () => {
      await site.fleet.master.kill();
      await site.fleet.master.start();
    },
  };

  /** Ledger and hosts agree, and so does the engine: what a host reported before it was killed may still read well. */
  const allIsWell = (when: string): Promise<unknown> => eventually(async (status) => {
    const problems = await ledgerProblems(site.fleet.api);
    const containers = await containersOf(engine, "hive");
    const { networks } = await engine.labelled("skep.host");
    status(JSON.stringify([problems, containers, networks]));
    expect(problems).toEqual([]);
    expect(containers.map((one) => `${one.host}/${one.component} ${one.state}`)).toEqual(agents.map((agent) => agent.hostId).sort().flatMap((host) => COMPONENTS.map((component) => `${host}/${component} running`)));
    expect(networks).toHaveLength(HOSTS.length);
    return true;
  }, { what: `one copy of each component, and a ledger that says so, ${when}`, timeoutMs: 120_000 });

  test.each(Object.keys(torment))("the %s", async (victim) => {
    const { api } = site.fleet;
    const rng = seededRng(seed + victim.length);
    for (let round = 1; round <= ROUNDS_EACH; round++) {
      const mutated = await api.post("/v1/deployments/hive/mutate", { env: { ROUND: `${victim}-${round}` }, rollout: { max_parallel: 1, progress_deadline_s: 120 } }, { "idempotency-key": crypto.randomUUID() });
      expect(mutated.status, JSON.stringify(mutated.body)).toBe(202);
      await clock.sleep(below(rng, 2_500));
      await torment[victim]!(below(rng, HOSTS.length));

      // The rollout ends one way or the other, and says which.
      const rollout = await eventually(async (status) => {
        const seen = await api.get(`/v1/rollouts/${mutated.body.rollout_id}`);
        status(JSON.stringify(seen));
        return ["succeeded", "rolled_back", "failed"].includes(seen.status) ? seen : undefined;
      }, { what: `the rollout with the ${victim} killed has ended (seed ${seed}, round ${round})`, timeoutMs: 150_000 });
      await allIsWell(`after the ${victim} was killed (seed ${seed}, round ${round}, ${rollout.status})`);
      console.log(`seed ${seed}: ${victim} killed in round ${round}, the rollout ${rollout.status}: ${rollout.because}`);
    }
    const lies = (await allRows(api)).filter((row) => row.status === "failed" && row.error === null && row.because === null);
    expect(lies).toEqual([]);
  }, 900_000);

  test("an engine that hangs is nobody's death: its placements are unknown, other work goes on, and the job it held ends well", async () => {
    const { api } = site.fleet;
    const stateOf = async (name: string): Promise<string[]> => (await api.get(`/v1/placements?deployment=${name}`)).items.map((one: any) => `${one.state}/${one.observed?.state}`);
    engine.pause();
    try {
      const held = await api.post("/v1/deployments/hive/mutate", { env: { ROUND: "hung" }, rollout: { max_parallel: "100%" } }, { "idempotency-key": crypto.randomUUID() });
      expect(held.status, JSON.stringify(held.body)).toBe(202);
      // Three beats later the host still beats, and a process is deployed beside the job that hangs.
      const [{ seq }] = (await api.get("/v1/hosts/bee-1/heartbeats")).items;
      await eventually(async () => (await api.get("/v1/hosts/bee-1/heartbeats")).items.some((beat: any) => beat.seq >= seq + 3), { what: "three more beats", timeoutMs: 60_000 });
      await succeeds(api, "/v1/deployments", { name: "beside", spec: { driver: "process", components: [{ name: "p", command: ["/bin/sleep", "1000"], stop_timeout_s: 1 }] }, placement: { hosts: ["bee-1"] } });
      await eventually(async (status) => {
        const seen = await Promise.all(["hive", "beside"].map(stateOf));
        status(JSON.stringify(seen));
        return seen[0]!.every((one) => one.endsWith("/unknown")) && seen[1]!.join() === "running/running";
      }, { what: "what cannot be seen is unknown, and the rest is as it is", timeoutMs: 60_000 });
      await eventually(async () => (await api.get("/v1/hosts/bee-1")).status === "active", { what: "the host is active", timeoutMs: 60_000 });
    } finally {
      engine.resume();
    }
    await allIsWell("once the engine answers again");
  }, 240_000);

  test("after a reboot containers come up in the owner's order, and nothing comes up before the agent says so", async () => {
    const { api } = site.fleet;
    const [bee] = agents;
    const serving = (name: string, ready: string) => ({
      driver: "docker",
      components: [{ name, container: { image: "hive/web:1", pull: "never" }, env: { ROUND: ready }, ports: [{ name: "http", container: 80, publish: false }], stop_timeout_s: 1, probe: { type: "http", port: "http", path: "/", interval_ms: 200 } }],
    });
    for (const name of ["ledger", "shop"]) await succeeds(api, "/v1/deployments", { name, spec: serving(name, "1"), placement: { hosts: ["bee-1"] }, reconcile: "report" });
    writeFileSync(join(bee!.identityDir, "agent.toml"), '[[boot.sequence]]\nname = "first"\nservices = ["ledger"]\ntimeout = "30s"\n\n[[boot.sequence]]\nname = "second"\nservices = ["shop"]\ntimeout = "30s"\n');
    await bee!.kill();
    await engine.terminate();
    await engine.restart();
    // The engine is back and starts nothing by itself: that would be nobody's order.
    const mine = async () => (await containersOf(engine)).filter((one) => one.host === bee!.hostId && ["ledger", "shop"].includes(one.deployment));
    expect((await mine()).map((one) => one.state)).toEqual(["exited", "exited"]);
    await bee!.start({ SKEP_HOST_BOOT_ID: "after-the-reboot" });
    await eventually(async (status) => {
      const seen = await mine();
      status(JSON.stringify(seen));
      return seen.length === 2 && seen.every((one) => one.state === "running");
    }, { what: "both are up", timeoutMs: 120_000 });
    const startedAt = async (name: string): Promise<number> => {
      const { id } = (await mine()).find((one) => one.deployment === name)!;
      return Date.parse((await engine.ask<{ State: { StartedAt: string } }>("GET", `/containers/${id}/json`)).State.StartedAt);
    };
    expect(await startedAt("ledger")).toBeLessThan(await startedAt("shop"));
    expect(await mine()).toHaveLength(2);
  }, 240_000);
});
