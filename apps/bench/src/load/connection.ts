/**
 * An agent's end of the channel, as light as it can be: one TLS connection, one request at a time, no HTTP library.
 * The same for every server that is compared, so that what differs is the server.
 */
import { connect, type TLSSocket } from "node:tls";
import { clientTls } from "@skep/pki";

export interface AgentCredentials {
  readonly hostId: string;
  readonly certPem: string;
  readonly keyPem: string;
}

export interface Target {
  readonly host: string;
  readonly port: number;
  readonly trustDomain: string;
  readonly caPem: string;
  /** The role the server must have; a farm's listener is a host. */
  readonly expectHost?: string;
}

export interface Reply {
  readonly status: number;
  readonly body: string;
}

export interface Connection {
  post(path: string, body: string): Promise<Reply>;
  close(): void;
}

const HEAD_END = Buffer.from("\r\n\r\n");

export async function openConnection(target: Target, me: { readonly certPem: string; readonly keyPem: string }): Promise<Connection> {
  const expect = target.expectHost === undefined ? ({ role: "master" } as const) : ({ role: "host", hostId: target.expectHost } as const);
  const socket = connect({ host: target.host, port: target.port, ...clientTls({ trustDomain: target.trustDomain, caPem: target.caPem, certPem: me.certPem, keyPem: me.keyPem, expect }) });
  socket.setNoDelay(true);
  await new Promise<void>((resolve, reject) => {
    socket.once("secureConnect", resolve);
    socket.once("error", reject);
  });
  return speak(socket, `${target.host}:${target.port}`);
}

function speak(socket: TLSSocket, host: string): Connection {
  let pending: { resolve: (reply: Reply) => void; reject: (error: Error) => void } | undefined;
  let received: Buffer = Buffer.alloc(0);
  const fail = (why: string): void => {
    pending?.reject(new Error(why));
    pending = undefined;
  };
  socket.on("error", (error) => fail(error.message));
  socket.on("close", () => fail("the server closed the connection"));
  socket.on("data", (chunk: Buffer) => {
    received = received.length === 0 ? chunk : Buffer.concat([received, chunk]);
    const end = received.indexOf(HEAD_END);
    if (end < 0) return;
    const head = received.toString("latin1", 0, end);
    const length = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
    const bodyAt = end + HEAD_END.length;
    if (received.length < bodyAt + length) return;
    const reply = { status: Number(head.slice(9, 12)), body: received.toString("utf8", bodyAt, bodyAt + length) };
    received = received.subarray(bodyAt + length);
    const asked = pending;
    pending = undefined;
    // An answer that nobody asked for is a server's time-out: this connection is over.
    if (asked === undefined) socket.destroy();
    else asked.resolve(reply);
  });
  return {
    post: (path, body) =>
      new Promise((resolve, reject) => {
        if (socket.destroyed) return reject(new Error("the connection is closed"));
        pending = { resolve, reject };
        socket.write(`POST ${path} HTTP/1.1\r\nhost: ${host}\r\ncontent-type: application/json\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
      }),
    close: () => socket.destroy(),
  };
}
