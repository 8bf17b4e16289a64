/** A stream's life without a network: signs of life, slow readers, tokens that cannot be checked. */
import { SkepError, type TokenId } from "@skep/core";
import { createLogger } from "@skep/runtime";
import { ManualClock, eventually } from "@skep/testkit";
import type { FastifyReply, FastifyRequest } from "fastify";
import { Writable } from "node:stream";
import { expect, test } from "vitest";
import type { Principal } from "../../src/http/authenticate.ts";
import { DEFAULT_OPERATOR_LIMITS } from "../../src/http/settings.ts";
import { createStreams, formatFrame, type Stream } from "../../src/http/streams.ts";

const principal: Principal = { tokenId: "t" as TokenId, name: "t", role: "viewer", actor: "token:t" };
const logger = createLogger({ name: "test", level: "silent", destination: "stderr" });

function setUp(stillValid: () => Promise<boolean> = async () => true, stuck = false) {
  const clock = new ManualClock();
  const written: string[] = [];
  // A response whose peer never reads: no write ever completes.
  const raw = Object.assign(new Writable({ highWaterMark: 64, write: (chunk: Buffer, _encoding, done) => { written.push(chunk.toString()); if (!stuck) done(); } }), { writeHead: () => undefined });
  const streams = createStreams({ clock, logger, limits: DEFAULT_OPERATOR_LIMITS, authenticator: { authenticate: async () => principal, stillValid }, onTaken: () => undefined });
  let stream: Stream | undefined;
  const serve = (produce: (stream: Stream) => Promise<void>) =>
    streams.serve({ id: "r" } as FastifyRequest, { raw, hijack: () => undefined, getHeaders: () => ({}) } as unknown as FastifyReply, principal, { id: "0" }, (given) => {
      stream = given;
      return produce(given);
    });
  const untilAborted = (given: Stream) => new Promise<void>((resolve) => given.signal.addEventListener("abort", () => resolve(), { once: true }));
  return { clock, written, raw, streams, serve, untilAborted, stream: () => stream! };
}

test("a quiet stream gives a sign of life every 15 s", async () => {
  const { clock, written, streams, serve, untilAborted } = setUp();
  serve(untilAborted);
  for (let i = 0; i < 6; i++) await clock.run(5_000);
  expect(written.filter((text) => text.startsWith(":"))).toHaveLength(2);
  streams.closeAll();
  await eventually(() => streams.open === 0, { what: "closed" });
});

test("a reader that takes nothing for 30 s is cut off, and nothing is piled up for it meanwhile", async () => {
  const { clock, raw, streams, serve } = setUp(undefined, true);
  let sent = 0;
  serve(async (stream) => {
    while (await stream.send({ data: "x".repeat(1_000) })) sent += 1;
  });
  for (let i = 0; i < 5; i++) await clock.run(5_000);
  expect([raw.destroyed, streams.open]).toEqual([false, 1]);
  await clock.run(10_000);
  await eventually(() => raw.destroyed && streams.open === 0, { what: "cut off" });
  expect(sent).toBe(0);
  expect(raw.writableLength).toBeLessThan(3_000);
});

test("control: a reader that takes what it is given is not", async () => {
  const { clock, raw, serve, untilAborted } = setUp();
  serve(async (stream) => {
    for (let i = 0; i < 100; i++) await stream.send({ data: "x".repeat(1_000) });
    await untilAborted(stream);
  });
  for (let i = 0; i < 10; i++) await clock.run(5_000);
  expect(raw.destroyed).toBe(false);
});

test("a token that cannot be checked ends its stream after three tries, not after one", async () => {
  let broken = true;
  const { clock, written, streams, serve, untilAborted } = setUp(async () => {
    if (broken) throw new SkepError("database_unavailable");
    return true;
  });
  serve(untilAborted);
  await clock.run(10_000);
  broken = false;
  await clock.run(5_000);
  broken = true;
  await clock.run(10_000);
  expect(streams.open).toBe(1);
  await clock.run(5_000);
  await eventually(() => streams.open === 0, { what: "closed" });
  expect(written.join("")).toContain("database_unavailable");
});

test("a frame cannot be broken out of: line ends in data are escaped", () => {
  expect(formatFrame({ id: "1", event: "a.b", data: { message: "x\n\ndata: forged\r\n" } })).toBe('id: 1\nevent: a.b\ndata: {"message":"x\\n\\ndata: forged\\r\\n"}\n\n');
});
