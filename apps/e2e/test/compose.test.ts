/** What only a real engine can say of a converted Compose file: names, waits, variables and volumes mean there what they say in the file. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "@skep/testkit";
import { noEngine, useEngine } from "@skep/testkit/vitest";
import { describe, expect, test } from "vitest";
import { skep } from "../src/harness/cli.ts";
import { useFleet } from "./kit/use-fleet.ts";

/** A shell as PID 1 takes no SIGTERM unless it says so. */
const serve = (lines: string): string => `#!/bin/sh\ntrap 'exit 0' TERM INT\nmkdir -p /www\n${lines}\nwhile true; do sleep 1000 & wait $!; done\n`;
const FILE = `
name: names
services:
  my_db:
    image: names/db:1
    volumes: [data:/data, /scratch]
    tmpfs: /t:size=1m
    stop_grace_period: 1s
    healthcheck: { test: "wget -q -O /dev/null http://127.0.0.1:5432/ok", interval: 500ms, timeout: 2s, retries: 20 }
  migrate:
    image: names/api:1
    entrypoint: [/bin/migrate]
    depends_on: { my_db: { condition: service_healthy } }
  api:
    image: names/api:1
    env_file: a.env
    stop_grace_period: 1s
    restart: always
    deploy: { resources: { limits: { memory: 64M, cpus: "0.5" } } }
    depends_on: { my_db: { condition: service_healthy }, migrate: { condition: service_completed_successfully } }
    healthcheck: { test: [CMD, wget, -q, -O, /dev/null, "http://127.0.0.1:8080/ok"], interval: 500ms, timeout: 2s, retries: 20 }
volumes: { data: }
`;

describe.skipIf(noEngine())("a Compose file on a real engine", () => {
  const engine = useEngine();
  // Slow beats: an agent that this machine holds up for a moment is not late, and takes what it is asked.
  const site = useFleet("compose", { intervalMs: 5_000 });

  test("siblings find each other by the file's names, ends are waited for, values stay inert, and data is kept and named", async () => {
    await engine.image("names/db:1", { entrypoint: ["/bin/db"], files: { "/bin/db": serve("echo pg > /www/ok\nhttpd -p 5432 -h /www") } });
    await engine.image("names/api:1", {
      entrypoint: ["/bin/api"],
      files: { "/bin/api": serve('echo "$GREETING from $(wget -q -O - http://my_db:5432/ok)" > /www/ok\nhttpd -p 8080 -h /www\ncat /www/ok'), "/bin/migrate": "#!/bin/sh\nwget -q -O - http://my_db:5432/ok > /dev/null && echo migrated\n" },
    });
    const file = join(site.fleet.dir, "compose.yaml");
    writeFileSync(join(site.fleet.dir, "a.env"), "GREETING='$(hi) && there'\n");
    writeFileSync(file, FILE);
    await site.fleet.addAgent("bee-1", { env: { DOCKER_HOST: `unix://${engine.socketPath}` } });
    await eventually(async () => (await skep(site.fleet.api, ["deploy", "-f", file, "--dry-run"])).code === 0, { what: "the agent to offer its engine", timeoutMs: 90_000 });

    const deployed = await skep(site.fleet.api, ["deploy", "-f", file]);
    expect(deployed, deployed.stderr + deployed.stdout).toMatchObject({ code: 0 });
    expect(deployed.stderr).toContain("compose.yaml:4:3 services.my_db: the service my_db becomes the component my-db");
    // It is healthy as soon as it listens, and says so in its log after that.
    const logs = await eventually(async (status) => {
      const { stdout, stderr } = await skep(site.fleet.api, ["logs", "names"]);
      status(stdout + stderr);
      return stdout.includes("api     | ") && stdout;
    }, { what: "the api has had its say", timeoutMs: 60_000 });
    expect(logs).toContain("migrate | migrated\n");
    expect(logs).toContain("api     | $(hi) && there from pg\n");

    const down = await skep(site.fleet.api, ["teardown", "names"]);
    expect(down, down.stderr + down.stdout).toMatchObject({ code: 0 });
    expect(down.stderr).toMatch(/the volumes data, anonymous-[0-9a-f]{12} \(/);
    expect(await engine.labelled("skep.deployment=names")).toMatchObject({ containers: [], networks: [], volumes: [expect.any(String), expect.any(String)] });
  });
});
