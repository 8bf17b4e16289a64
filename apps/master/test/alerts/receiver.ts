/** Receivers of webhooks over real HTTP, which check what they get as any receiver would. */
import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingHttpHeaders, type ServerResponse } from "node:http";
import { webhookBody } from "@skep/protocol";
import type { z } from "zod";

export interface Received {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly text: string;
  readonly body: z.infer<typeof webhookBody>;
}

export interface Receiver {
  readonly url: string;
  readonly received: Received[];
  /** Connections that were begun and not answered. */
  readonly held: ServerResponse[];
  /** What it does from now on. */
  answer: (request: Received, response: ServerResponse) => void;
  close(): Promise<void>;
}

/** `status`, or what else it does. */
export async function startReceiver(first: number | Receiver["answer"]): Promise<Receiver> {
  const answer: Receiver["answer"] = typeof first === "number" ? (_request, response) => void response.writeHead(first).end() : first;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const text = Buffer.concat(chunks).toString("utf8");
      const got: Received = { path: request.url ?? "", headers: request.headers, text, body: webhookBody.parse(JSON.parse(text)) };
      receiver.received.push(got);
      receiver.answer(got, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as { port: number };
  const receiver: Receiver = {
    url: `http://127.0.0.1:${port}/hook?token=hidden`, received: [], held: [], answer,
    close: () => new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
  };
  return receiver;
}

/** The example of docs/alerts.md, with the time as an argument. */
export function isFromSkep(secret: string, headers: IncomingHttpHeaders, text: string, nowS: number): boolean {
  const timestamp = String(headers["skep-timestamp"] ?? "");
  if (!(Math.abs(nowS - Number(timestamp)) <= 300)) return false;
  const wanted = Buffer.from(`v1=${createHmac("sha256", secret).update(`${timestamp}.${text}`).digest("hex")}`);
  const given = Buffer.from(String(headers["skep-signature"] ?? ""));
  return given.length === wanted.length && timingSafeEqual(given, wanted);
}
