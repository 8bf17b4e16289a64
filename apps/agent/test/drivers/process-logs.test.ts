/** Captured output: bounded, in order, and an offset means the same byte for ever. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually, tempDir } from "@skep/testkit";
import { expect, test } from "vitest";
import { listSegments, openLogWriter } from "../../src/runner/log-segments.ts";
import { readLog } from "../../src/drivers/read-log.ts";
import { componentDir, createWorld, labelsFor, never, node, observed, specFor, startAndWait } from "./world.ts";

const read = async (directory: string, offset: number, limit: number): Promise<[string, number]> => {
  const { data, nextOffset } = await readLog(directory, "web", offset, limit);
  return [Buffer.from(data).toString(), nextOffset];
};

test("offsets survive rotation and a new writer; what was rotated away is skipped", async () => {
  const directory = tempDir("logs");
  const first = openLogWriter(directory, { segmentBytes: 10, segments: 3 });
  first.write(Buffer.from("0123456789abcde"));
  expect(await read(directory, 0, 100)).toEqual(["0123456789abcde", 15]);
  expect(await read(directory, 8, 4)).toEqual(["89ab", 12]);
  first.close();
  const second = openLogWriter(directory, { segmentBytes: 10, segments: 3 });
  second.write(Buffer.from("fghijKLMNOPQRSTuvwxy"));
  expect(listSegments(directory).map(({ start, size }) => [start, size])).toEqual([[10, 10], [20, 10], [30, 5]]);
  expect(await read(directory, 12, 100)).toEqual(["cdefghijKLMNOPQRSTuvwxy", 35]);
  expect(await read(directory, 0, 5)).toEqual(["abcde", 15]); // 0–9 are gone
  expect(await read(directory, -3, 100)).toEqual(["wxy", 35]);
  expect(await read(directory, -1000, 2)).toEqual(["ab", 12]);
  expect(await read(directory, 35, 100)).toEqual(["", 35]);
  expect(await read(directory, 9_999, 100)).toEqual(["", 35]);
  await expect(read(join(directory, "none"), 0, 1)).rejects.toMatchObject({ code: "logs_not_found" });
  second.close();
});

test("a reader that follows a rotating log sees every byte once, and the disk stays bounded", async () => {
  const { driver, stateDir } = createWorld({ logs: { segmentBytes: 20_000, segments: 4 } });
  const labels = labelsFor();
  const allowed = join(tempDir("pace"), "lines");
  writeFileSync(allowed, "0");
  // Both streams; far more than is kept, and never further ahead of the reader than what is kept.
  const command = node(`let i = 0; const timer = setInterval(() => {
    const allowed = Number(require("node:fs").readFileSync(process.argv[1], "utf8"));
    for (let n = 0; n < 20 && i < allowed; n++, i++) process[i % 2 ? "stdout" : "stderr"].write(String(i).padStart(9, "0") + "\\n");
    if (i >= 20000) { clearInterval(timer); }
  }, 1)`, allowed);
  await driver.start(labels, specFor(command), never);
  let text = "";
  let offset = 0;
  await eventually(async () => {
    for (;;) {
      const chunk = await driver.logs(labels.placementId, "web", offset, 7_001);
      expect(chunk.nextOffset).toBe(offset + chunk.data.length);
      if (chunk.data.length === 0) break;
      text += Buffer.from(chunk.data).toString();
      offset = chunk.nextOffset;
    }
    writeFileSync(allowed, String(Math.min(20_000, offset / 10 + 4_000)));
    return (await observed(driver, labels)).state === "exited" && offset === 200_000;
  }, { what: "all output read", timeoutMs: 60_000 });
  expect(text).toHaveLength(200_000);
  const numbers = text.trim().split("\n").map(Number);
  expect(new Set(numbers).size).toBe(20_000);
  for (const parity of [0, 1]) {
    const stream = numbers.filter((value) => value % 2 === parity);
    expect(stream).toEqual([...stream].sort((a, b) => a - b)); // each stream in order
  }
  const kept = listSegments(join(componentDir(stateDir, labels), "logs"));
  expect(kept.length).toBeLessThanOrEqual(4);
  expect(Math.max(...kept.map(({ size }) => size))).toBeLessThanOrEqual(20_000);
});

test("logs outlive stop, remove and the next run, which goes on counting", async () => {
  const { driver } = createWorld();
  const labels = labelsFor();
  const print = (word: string) => specFor(node(`console.log(${JSON.stringify(word)})`));
  await startAndWait(driver, labels, print("one"));
  await eventually(async () => (await observed(driver, labels)).state === "exited", { what: "the end" });
  await driver.remove(labels);
  expect(await driver.logs(labels.placementId, "web", 0, 100)).toMatchObject({ nextOffset: 4 });
  await startAndWait(driver, { ...labels, generation: 2 }, print("two"));
  await eventually(async () => (await observed(driver, labels)).state === "exited", { what: "the second end" });
  const { data, nextOffset } = await driver.logs(labels.placementId, "web", 4, 100);
  expect([Buffer.from(data).toString(), nextOffset]).toEqual(["two\n", 8]);
  await expect(driver.logs(labels.placementId, "other", 0, 1)).rejects.toMatchObject({ code: "logs_not_found" });
  await expect(driver.logs("../../etc", "passwd", 0, 1)).rejects.toMatchObject({ code: "start_failed" });
});
