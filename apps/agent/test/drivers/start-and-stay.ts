/** An agent reduced to one start: says "go", starts, says "done" and stays until somebody kills it. */
import type { ComponentSpec, Logger, WorkloadLabels } from "@skep/core";
import { createProcessDriver } from "../../src/drivers/process/create-process-driver.ts";
import { ambientClock, ambientRng } from "../../src/runner/ambient.ts";

const quiet: Logger = { debug() {}, info() {}, warn() {}, error() {}, child: () => quiet };
const [stateDir = "", runnerPath = "", labels = "", spec = ""] = process.argv.slice(2);
const driver = createProcessDriver({ stateDir, runnerPath, clock: ambientClock, rng: ambientRng, logger: quiet });
process.stdout.write("go\n");
await driver.start(JSON.parse(labels) as WorkloadLabels, JSON.parse(spec) as ComponentSpec, new AbortController().signal);
process.stdout.write("done\n");
for (;;) await ambientClock.sleep(60_000);
