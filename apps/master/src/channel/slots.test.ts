import { expect, test } from "vitest";
import { createSlots } from "./slots.ts";

const gate = (): { wait: Promise<void>; open: () => void } => {
  let open = (): void => undefined;
  const wait = new Promise<void>((resolve) => (open = resolve));
  return { wait, open };
};

test("never more than there are slots, in order, and a failure gives its slot back", async () => {
  const slots = createSlots(2, 100);
  let running = 0;
  let most = 0;
  const order: number[] = [];
  const results = await Promise.allSettled(Array.from({ length: 20 }, (_, index) => slots(async () => {
    order.push(index);
    most = Math.max(most, ++running);
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    if (index % 3 === 0) throw new Error("broken");
    return index;
  })));
  expect(most).toBe(2);
  expect(order).toEqual(Array.from({ length: 20 }, (_, index) => index));
  expect(results.filter((result) => result.status === "rejected")).toHaveLength(7);
});

test("a full line turns away, and takes again when it has moved", async () => {
  const slots = createSlots(1, 1);
  const held = gate();
  const first = slots(() => held.wait);
  const second = slots(async () => 2);
  await expect(slots(async () => 3)).rejects.toMatchObject({ code: "overloaded", retryAfterMs: 2_000 });
  held.open();
  await first;
  expect(await second).toBe(2);
  expect(await slots(async () => 4)).toBe(4);
});
