/**
 * The runner: one small detached process per component that owns the child, so that an agent's restart costs a
 * workload nothing. It runs in the component's directory, waits for one line on stdin and does nothing without it:
 * the agent writes that line only after the state file names this process, so at any instant either this runner can
 * be found or nothing runs. It lives as long as the component and imports nothing but Node.
 */
import { readSync, writeSync } from "node:fs";
import { ambientClock, ambientRng } from "./ambient.ts";
import { listenControl } from "./control.ts";
import { openLogWriter } from "./log-segments.ts";
import { createPublisher } from "./publish.ts";
import { LOG_DIR, STATE_FILE } from "./run-state.ts";
import type { LaunchOrder, LaunchResult, RunState } from "./run-state.ts";
import { createSupervisor } from "./supervise.ts";

function readOrder(): LaunchOrder | undefined {
  const chunks: Buffer[] = [];
  const chunk = Buffer.alloc(65_536);
  for (let size = readSync(0, chunk); size > 0; size = readSync(0, chunk)) {
    chunks.push(Buffer.from(chunk.subarray(0, size)));
    if (chunk[size - 1] === 0x0a) return JSON.parse(Buffer.concat(chunks).toString("utf8")) as LaunchOrder;
  }
  return undefined; // the agent died before it said go
}

function answer(result: LaunchResult): void {
  try {
    writeSync(1, `${JSON.stringify(result)}\n`);
  } catch {
    // the agent is gone; its successor reads the state file
  }
}

async function runComponent(order: LaunchOrder): Promise<void> {
  const log = openLogWriter(LOG_DIR, order.logs);
  let announce: (state: RunState) => void = () => {};
  const publisher = createPublisher(STATE_FILE, ambientClock, (state) => announce(state));
  const supervisor = createSupervisor(order, { clock: ambientClock, rng: ambientRng, log, publish: publisher.publish });
  const control = await listenControl(order.socketName, { state: supervisor.state, stop: (timeoutMs) => supervisor.stop(timeoutMs) });
  announce = control.announce;
  // A host that shuts down sends SIGTERM to everything; a restart policy must not fight it.
  process.on("SIGTERM", () => supervisor.stop(order.state.spec.stop_timeout_s * 1_000, "its runner was told to stop (SIGTERM)"));
  for (const signal of ["SIGINT", "SIGHUP"] as const) process.on(signal, () => {});
  await supervisor.run(answer);
  log.close();
  await publisher.settled();
  await Promise.race([control.close(), ambientClock.sleep(1_000)]);
}

const order = readOrder();
if (order !== undefined) await runComponent(order);
process.exit(0);
