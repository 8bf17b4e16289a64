/** A full disk under the state directory (faults F35): nothing is started unrecorded, nothing running is ended. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, tempDir } from "@skep/testkit";
import { afterAll, describe, expect, test } from "vitest";
import { createWorld, FOREVER, labelsFor, living, never, node, observed, specFor, startAndWait, textOf } from "./world.ts";

const mountPoint = tempDir("tmpfs");
const mounted = mountTiny(mountPoint);
if (!mounted) console.warn("SKIPPED: no tmpfs can be mounted here (not root?): the full-disk behaviour of the process driver is NOT tested");

function mountTiny(path: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", path], { stdio: "pipe" });
    return true;
  } catch {
    return false;
  }
}

const filler = join(mountPoint, "filler");
function fill(): void {
  const { bsize, bavail } = statfsSync(mountPoint);
  writeFileSync(filler, Buffer.alloc(bsize * bavail));
}

afterAll(() => {
  if (mounted) execFileSync("umount", ["-l", mountPoint]);
});

describe.skipIf(!mounted)("a full disk", () => {
  test("refuses a start with disk_full and runs nothing; with room again the same start works", async () => {
    const stateDir = join(mountPoint, "a");
    const { driver } = createWorld({ stateDir });
    const labels = labelsFor();
    mkdirSync(stateDir);
    fill();
    await expect(driver.start(labels, specFor(FOREVER), never)).rejects.toMatchObject({ code: "disk_full", message: expect.stringContaining("free space") });
    expect(living(labels)).toEqual([]);
    rmSync(filler);
    await startAndWait(driver, labels, specFor(FOREVER));
    await driver.stop(labels, 5_000);
  });

  test("does not end what runs: its state is told over the socket and written once there is room; lost output is counted", async () => {
    const stateDir = join(mountPoint, "b");
    const { driver } = createWorld({ stateDir });
    const labels = labelsFor();
    // Says on another disk that it has printed: more than the rest of a page, so some of it must get lost.
    const printed = join(tempDir("elsewhere"), "printed");
    const script = `setInterval(() => console.log("y".repeat(9999), require("node:fs").writeFileSync(${JSON.stringify(printed)}, String(process.pid))), 100)`;
    await startAndWait(driver, labels, specFor(node(script), { restart: { policy: "always" } }));
    fill();
    const { pid } = await observed(driver, labels);
    process.kill(pid!, "SIGKILL");
    const second = await eventually(async () => { const seen = await observed(driver, labels); return seen.state === "running" && seen.restarts === 1 && seen.pid; }, { what: "the restart on a full disk" });
    await eventually(() => Number(readFileSync(printed, "utf8")) === second, { what: "output of the second one" });
    rmSync(filler);
    await eventually(async () => (await textOf(driver, labels)).includes("bytes of output were lost: ENOSPC"), { what: "the note of lost output" });
    await driver.stop(labels, 5_000);
    expect(await observed(driver, labels)).toMatchObject({ state: "stopped" });
  });

  test("a stop on a full disk stops; once there is room the state file says so", async () => {
    const stateDir = join(mountPoint, "c");
    const { driver, again } = createWorld({ stateDir });
    const labels = labelsFor();
    await startAndWait(driver, labels, specFor(FOREVER));
    fill();
    await driver.stop(labels, 5_000);
    expect(living(labels)).toEqual([]);
    expect(await observed(driver, labels)).toMatchObject({ state: "stopped" });
    rmSync(filler);
    expect(await eventually(async () => { const seen = await observed(again(), labels); return seen.state === "stopped" && seen; }, { what: "stopped, from the file" })).toMatchObject({ state: "stopped" });
  });
});
