/** A full disk under the state directory (faults F35): nothing is started unrecorded, nothing running is ended. */
import { execFileSync } from "node:child_process";
import { mkdirSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, tempDir } from "@skep/testkit";
import { afterAll, describe, expect, test } from "vitest";
import { readLog } from "../../src/drivers/read-log.ts";
import { openLogWriter } from "../../src/runner/log-segments.ts";
import { createWorld, FOREVER, labelsFor, living, never, observed, readRun, specFor, startAndWait } from "./world.ts";

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

  test("does not end what runs: a restart on a full disk is told over the socket, and is in the file once there is room", async () => {
    const stateDir = join(mountPoint, "b");
    const { driver } = createWorld({ stateDir });
    const labels = labelsFor();
    await startAndWait(driver, labels, specFor(FOREVER, { restart: { policy: "always" } }));
    fill();
    process.kill((await observed(driver, labels)).pid!, "SIGKILL");
    const seen = await eventually(async () => { const one = await observed(driver, labels); return one.state === "running" && one.restarts === 1 && one; }, { what: "the restart on a full disk" });
    expect(readRun(stateDir, labels).restarts).toBe(0);
    rmSync(filler);
    await eventually(() => readRun(stateDir, labels).child?.pid === seen.pid, { what: "the newest state in the file" });
    await driver.stop(labels, 5_000);
  });

  test("costs output, and the log says how much", async () => {
    const directory = join(mountPoint, "logs");
    const log = openLogWriter(directory, { segmentBytes: 1_000_000, segments: 2 });
    log.write(Buffer.alloc(4_096, "a"));
    fill();
    log.write(Buffer.alloc(5_000, "b"));
    rmSync(filler);
    log.write(Buffer.from("after"));
    const text = Buffer.from((await readLog(directory, "web", 4_096, 10_000)).data).toString();
    expect(text).toBe("\n[skep: 5000 bytes of output were lost: ENOSPC]\nafter");
    log.close();
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
