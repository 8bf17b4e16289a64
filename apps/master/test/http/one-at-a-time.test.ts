/** Work that is asked for by many is done by one, and nobody gets what was read before they asked. */
import { expect, test } from "vitest";
import { createOneAtATime } from "../../src/http/one-at-a-time.ts";

/** Work that ends when it is told to. */
function workshop() {
  const begun: { readonly what: string; readonly end: (result: string) => void; readonly fail: () => void }[] = [];
  return { begun, work: (what: string) => () => new Promise<string>((resolve, reject) => void begun.push({ what, end: resolve, fail: () => reject(new Error(what)) })) };
}
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test("one runs; those who ask meanwhile share the next", async () => {
  const once = createOneAtATime();
  const { begun, work } = workshop();
  const first = once("a", work("first"));
  await settle();
  const [second, third, other] = [once("a", work("second")), once("a", work("third")), once("b", work("other"))];
  await settle();
  expect(begun.map(({ what }) => what)).toEqual(["first"]);
  begun[0]!.end("1");
  expect(await first).toBe("1");
  await settle();
  expect(begun.map(({ what }) => what)).toEqual(["first", "second"]);
  // Begun already: whoever asks now must not get what it reads.
  const fourth = once("a", work("fourth"));
  begun[1]!.end("2");
  expect(await Promise.all([second, third])).toEqual(["2", "2"]);
  await settle();
  begun[2]!.end("3");
  expect([await other, begun[2]!.what]).toEqual(["3", "other"]);
  await settle();
  begun[3]!.end("4");
  expect([await fourth, begun.length]).toEqual(["4", 4]);
});

test("a failure is its askers' and stops nobody else", async () => {
  const once = createOneAtATime();
  const { begun, work } = workshop();
  const first = once("a", work("first"));
  const second = once("b", work("second"));
  await settle();
  begun[0]!.fail();
  await expect(first).rejects.toThrow("first");
  await settle();
  begun[1]!.end("2");
  expect(await second).toBe("2");
});
