import { getEventListeners } from "node:events";
import { systemClock, systemRng, randomToken, sha256Hex, specHash } from "@skep/runtime";
import { expect, test } from "vitest";

const clock = systemClock();

test("a sleep never ends early", async () => {
  for (let i = 0; i < 20; i++) {
    const startMs = clock.mono();
    await clock.sleep(2);
    expect(clock.mono() - startMs).toBeGreaterThanOrEqual(2);
  }
});

test("an abort ends it at once, before or during, and no listener stays behind", async () => {
  const stop = new AbortController();
  const long = clock.sleep(3_600_000, stop.signal);
  expect(getEventListeners(stop.signal, "abort").length).toBe(1);
  stop.abort();
  await long;
  await clock.sleep(3_600_000, stop.signal);
  expect(getEventListeners(stop.signal, "abort").length).toBe(0);
  const other = new AbortController();
  await clock.sleep(1, other.signal);
  expect(getEventListeners(other.signal, "abort").length).toBe(0);
});

test("a sleep beyond what a timer can hold does not become a busy loop", async () => {
  const stop = new AbortController();
  let woke = false;
  const sleep = clock.sleep(2 ** 40, stop.signal).then(() => (woke = true));
  await clock.sleep(5);
  expect(woke).toBe(false);
  stop.abort();
  await sleep;
});

test("chance is within its bounds and not constant; tokens keep their shape", () => {
  const rng = systemRng();
  const values = Array.from({ length: 1_000 }, () => rng.float());
  expect(values.every((value) => value >= 0 && value < 1)).toBe(true);
  expect(Math.max(...values) - Math.min(...values)).toBeGreaterThan(0.5);
  expect(rng.bytes(16)).toHaveLength(16);
  expect(randomToken("skp_ab")).toMatch(/^skp_ab_[0-9A-Za-z]{43}$/);
  expect(randomToken("x")).not.toBe(randomToken("x"));
});

test("hashes: the known vector; a spec's hash ignores key order and undefined, and nothing else", () => {
  expect(sha256Hex("abc")).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  expect(specHash({ a: 1, b: { d: 2, c: undefined } })).toBe(specHash({ b: { d: 2 }, a: 1 }));
  expect(specHash({ a: [1, 2] })).not.toBe(specHash({ a: [2, 1] }));
});
