/** A host where no engine ever was: it has no containers, and a teardown that asks every driver does not wait for one. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { RUNTIME_UNAVAILABLE } from "@skep/core";
import { systemRng } from "@skep/runtime";
import { tempDir } from "@skep/testkit";
import { expect, test } from "vitest";
import { createDockerDriver } from "../../src/drivers/index.ts";
import { clock } from "./docker-world.ts";
import { labelsFor, never, silent } from "./world.ts";

const driverIn = (stateDir: string) => createDockerDriver({ stateDir, clock, rng: systemRng(), logger: silent, owner: () => labelsFor().placementId, dockerHost: `unix://${join(tempDir("no-engine"), "docker.sock")}` });

test("there is nothing to see and nothing to remove, and starting something says what is missing", async () => {
  const driver = driverIn(tempDir("absent"));
  const labels = labelsFor();
  expect(await driver.observe()).toEqual([]);
  await driver.shared!.remove(labels.placementId, { volumes: true }, never);
  await driver.shared!.prune(labels.placementId, { driver: "docker", components: [] }, never);
  await expect(driver.shared!.ensure(labels, { driver: "docker", volumes: { data: {} }, components: [] }, never)).rejects.toMatchObject({ code: RUNTIME_UNAVAILABLE });
  driver.close();
});

test("control: where this placement once had networks, nobody knows what is left of them", async () => {
  const stateDir = tempDir("absent");
  const labels = labelsFor();
  mkdirSync(join(stateDir, "shared"), { recursive: true });
  writeFileSync(join(stateDir, "shared", `${labels.placementId}.json`), JSON.stringify({ deployment: labels.deployment, networks: { default: "n" }, volumes: {} }));
  const driver = driverIn(stateDir);
  await expect(driver.shared!.remove(labels.placementId, { volumes: false }, never)).rejects.toMatchObject({ code: RUNTIME_UNAVAILABLE });
  driver.close();
});
