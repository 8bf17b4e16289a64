/**
 * Virtual time, chance and the record of what happened. A discrete-event world: time stands still while any promise can
 * go on, then jumps to the next timer. Invariant: nothing here or in what runs in it asks the machine for time or
 * chance, so a seed is a whole run and its trace hash names it.
 */
import { createHash } from "node:crypto";
import { seededRng, type Rng } from "@skep/core";

interface Timer {
  readonly dueMs: number;
  readonly order: number;
  readonly run: () => void;
  cancelled: boolean;
}

export interface World {
  readonly seed: number;
  /** Milliseconds since the beginning. */
  nowMs(): number;
  /** Runs `run` after `delayMs` of virtual time, unless the returned function is called first. */
  after(delayMs: number, run: () => void): () => void;
  sleep(delayMs: number): Promise<void>;
  /** Plays everything that is due until `untilMs`, or until `over` says so between two timers. */
  play(untilMs: number, over?: () => boolean): Promise<void>;
  /** A stream of chance of its own: what one part draws does not shift what another part sees. */
  rng(label: string): Rng;
  trace(line: string): void;
  readonly lines: readonly string[];
  traceHash(): string;
}

export function createWorld(seed: number, options: { readonly keepTrace: boolean }): World {
  const heap: Timer[] = [];
  const lines: string[] = [];
  const digest = createHash("sha256");
  let nowMs = 0;
  let order = 0;

  const after = (delayMs: number, run: () => void): (() => void) => {
    // Whole milliseconds, rounded up: a loop that sleeps for the rest of its period must find the period over.
    const timer: Timer = { dueMs: nowMs + Math.ceil(Math.max(0, delayMs)), order: order++, run, cancelled: false };
    push(heap, timer);
    return () => {
      timer.cancelled = true;
    };
  };

  return {
    seed,
    nowMs: () => nowMs,
    after,
    sleep: (delayMs) => new Promise((resolve) => after(delayMs, resolve)),
    async play(untilMs, over = () => false) {
      for (;;) {
        await everythingSettled();
        if (over()) return;
        let next = pop(heap, untilMs);
        while (next?.cancelled === true) next = pop(heap, untilMs);
        if (next === undefined) break;
        nowMs = next.dueMs;
        next.run();
      }
      nowMs = untilMs;
    },
    rng: (label) => seededRng(seed ^ hashOf(label)),
    trace: (line) => {
      const stamped = `${(nowMs / 1000).toFixed(3)} ${line}`;
      digest.update(stamped);
      if (options.keepTrace) lines.push(stamped);
    },
    lines,
    traceHash: () => digest.copy().digest("hex"),
  };
}

/** Every promise that can go on has gone on: the event loop reaches this phase only when no microtask is left. */
const everythingSettled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

function hashOf(label: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < label.length; i++) hash = Math.imul(hash ^ label.charCodeAt(i), 0x01000193);
  return hash >>> 0;
}

const before = (a: Timer, b: Timer): boolean => a.dueMs < b.dueMs || (a.dueMs === b.dueMs && a.order < b.order);

function push(heap: Timer[], timer: Timer): void {
  let at = heap.push(timer) - 1;
  while (at > 0) {
    const parent = (at - 1) >> 1;
    if (!before(timer, heap[parent]!)) break;
    heap[at] = heap[parent]!;
    at = parent;
  }
  heap[at] = timer;
}

function pop(heap: Timer[], untilMs: number): Timer | undefined {
  const first = heap[0];
  if (first === undefined || first.dueMs > untilMs) return undefined;
  const last = heap.pop()!;
  if (heap.length === 0) return first;
  let at = 0;
  for (;;) {
    let child = at * 2 + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && before(heap[child + 1]!, heap[child]!)) child += 1;
    if (!before(heap[child]!, last)) break;
    heap[at] = heap[child]!;
    at = child;
  }
  heap[at] = last;
  return first;
}
