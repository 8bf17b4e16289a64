/** Peers that stop half-way (faults F23): at each stage the connection ends by itself, and good agents notice nothing. */
import { connect as tcpConnect, type Socket } from "node:net";
import { connect as tlsConnect } from "node:tls";
import { afterAll, beforeAll, expect, test } from "vitest";
import { eventually } from "@skep/testkit";
import { useDatabase } from "@skep/testkit/vitest";
import { clock, post, seedBeat, startRig, type Rig } from "./rig.ts";

const database = useDatabase();
let rig: Rig;
let host: Awaited<ReturnType<Rig["addHost"]>>;
const LIMITS = { handshakeTimeoutMs: 300, headersTimeoutMs: 300, requestTimeoutMs: 300, socketTimeoutMs: 500, keepAliveTimeoutMs: 400, checkIntervalMs: 50 };
beforeAll(async () => {
  rig = await startRig(database.url, { channel: { ...LIMITS, gate: { maxInProgress: 30, perSecond: 400, maxWaitMs: 500 } } });
  host = await rig.addHost("web-01");
});
afterAll(() => rig[Symbol.asyncDispose]());

const raw = (): Socket => tcpConnect(rig.swarmPort, "127.0.0.1");
/** Allowances are short here, and a starved machine may miss one itself; as an agent would, it is tried again. */
const secure = (): Promise<Socket> => eventually(handshake, { what: "a handshake" });
const handshake = (): Promise<Socket> =>
  new Promise((resolve, reject) => {
    const socket = tlsConnect({ host: "127.0.0.1", port: rig.swarmPort, ca: rig.authority.authority.certPem, cert: host.certPem, key: host.keyPem, servername: "localhost" }, () => resolve(socket));
    socket.on("error", reject);
  });
/** Says this on a secure connection, and again until the answer is right: one that never is ends in failure. */
const says = (bytes: string, isRight: (answer: string) => boolean): Promise<string | undefined> =>
  eventually(async (status) => {
    const socket = await secure();
    const end = ended(socket);
    socket.write(bytes);
    const answer = await end;
    status(answer);
    return isRight(answer) ? answer : undefined;
  }, { what: "the right answer" });
/** Resolves with what was received once the other side has closed; the test's own time limit is the only bound. */
const ended = (socket: Socket): Promise<string> =>
  new Promise((resolve) => {
    let text = "";
    socket.on("data", (chunk: Buffer) => (text += chunk.toString("utf8")));
    socket.on("error", () => undefined);
    socket.on("close", () => resolve(text));
  });

test("a connection that never speaks TLS", async () => {
  await ended(raw());
});

test("half a ClientHello", async () => {
  const socket = raw();
  const end = ended(socket);
  socket.write(Buffer.from([0x16, 0x03, 0x01, 0x02, 0x00, 0x01]));
  await end;
});

test("plain HTTP to a TLS port", async () => {
  const socket = raw();
  const end = ended(socket);
  socket.write("POST /swarm/heartbeat HTTP/1.1\r\nhost: x\r\n\r\n");
  expect(await end).not.toContain("200");
});

test("a connection that is secure and silent", async () => {
  await ended(await secure());
});

test("headers that never end", async () => {
  const socket = await secure();
  const end = ended(socket);
  socket.write("POST /swarm/heartbeat HTTP/1.1\r\nhost: x\r\nx-a: ");
  expect(await end).toMatch(/^(HTTP\/1.1 408 |$)/);
});

test("a body that never ends", async () => {
  const socket = await secure();
  const end = ended(socket);
  socket.write('POST /swarm/heartbeat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{"host_uuid"');
  expect(await end).toMatch(/^(HTTP\/1.1 408 |$)/);
});

test("nonsense instead of HTTP is answered in our own form and cut", async () => {
  await says("\u0001\u0002\u0003\r\n\r\n", (text) => /^HTTP\/1.1 400 /.test(text) && text.includes('"code":"malformed_json"'));
});

test("headers of 64 KiB", async () => {
  await says(`POST /swarm/heartbeat HTTP/1.1\r\nhost: x\r\nx-a: ${"a".repeat(65_536)}\r\n\r\n`, (text) => /^HTTP\/1.1 (413|431|400) /.test(text));
});

test("an idle kept connection ends after its allowance, not before", async () => {
  const body = JSON.stringify(seedBeat(host.hostId));
  const request = `POST /swarm/heartbeat HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`;
  await eventually(async (status) => {
    const socket = await secure();
    const end = ended(socket);
    socket.write(request);
    await Promise.race([new Promise((resolve) => socket.once("data", resolve)), end]);
    socket.write(request);
    const text = await end;
    status(text);
    return text.match(/HTTP\/1.1 204/g)?.length === 2;
  }, { what: "two answers over one connection" });
});

test("while sixty sit in the handshake, a good agent still gets through", async () => {
  const idle = Array.from({ length: 60 }, raw);
  const ends = idle.map(ended);
  const before = clock.mono();
  const answer = await retry(() => post(rig.swarmPort, "/swarm/heartbeat", seedBeat(host.hostId), { caPem: rig.authority.authority.certPem, identity: host }));
  expect(answer.status).toBe(204);
  expect(clock.mono() - before).toBeLessThan(60_000);
  await Promise.all(ends);
});

/** An agent tries again on its next tick; the bound is the test's own. */
async function retry<T>(act: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await act();
    } catch {
      await clock.sleep(20);
    }
  }
}
