import { tempDir } from "@skep/testkit";
import { expect, test } from "vitest";
import { coarse, readResources } from "./resources.ts";

test("what a host has is whole, and what is free is no more than that", async () => {
  const resources = await readResources(tempDir("resources"));
  expect(Object.keys(resources).sort()).toEqual(["cpu_millicores", "disk_bytes", "disk_free_bytes", "load1", "memory_bytes", "memory_free_bytes"]);
  expect(resources["memory_free_bytes"]).toBeLessThanOrEqual(resources["memory_bytes"]!);
  expect(resources["disk_free_bytes"]).toBeLessThanOrEqual(resources["disk_bytes"]!);
  expect(resources["cpu_millicores"]).toBeGreaterThanOrEqual(1_000);
});

test("a directory that is not there costs the disk's figures and nothing else", async () => {
  expect(Object.keys(await readResources("/nowhere/at/all")).sort()).toEqual(["cpu_millicores", "load1", "memory_bytes", "memory_free_bytes"]);
});

test("free figures move in steps, downwards, and never turn a disk low that is not", () => {
  expect([1_000, 995, 991, 990].map((free) => coarse(free, 1_000, 100))).toEqual([1_000, 990, 990, 990]);
  expect(coarse(101, 1_000, 100) / 1_000).toBeGreaterThanOrEqual(0.1);
  expect(coarse(5, 0, 100)).toBe(0);
});
