/**
 * One delivery to one receiver. Whatever the receiver or the network does ends here as a value, within `TOTAL_MS`: the
 * answer's status is all that is kept of it, no redirect is followed, and its body is thrown away.
 */
import { request as httpRequest, type ClientRequest, type IncomingMessage, type RequestOptions } from "node:http";
import { request as httpsRequest } from "node:https";
import { isIP } from "node:net";
import { SkepError, type Clock } from "@skep/core";
import { transportFacts } from "../agents/exchange.ts";
import type { WebhookSender } from "../ports.ts";
import { resolveWebhookUrl } from "./address.ts";
import { signatureOf } from "./sign.ts";

/** Name resolution, connection, request and answer together. */
const TOTAL_MS = 10_000;
/** Read and thrown away, so that a receiver that says a little more than nothing is not cut off in the middle. */
const REPLY_LIMIT_BYTES = 65_536;

export interface SenderDeps {
  readonly clock: Clock;
  readonly allowLoopback: boolean;
  readonly userAgent: string;
}

export interface ClosableSender extends WebhookSender {
  /** What is under way ends as failed, and will be tried again. */
  close(): void;
}

export function createWebhookSender({ clock, allowLoopback, userAgent }: SenderDeps): ClosableSender {
  const closing = new AbortController();

  return {
    async send({ url: text, secret, deliveryId, body }) {
      const over = new AbortController();
      const timer = new AbortController();
      void clock.sleep(TOTAL_MS, timer.signal).then(() => {
        if (!timer.signal.aborted) over.abort();
      });
      const signal = AbortSignal.any([over.signal, closing.signal]);
      const done = (): void => timer.abort();
      try {
        const { url, ip } = await Promise.race([resolveWebhookUrl(text, allowLoopback), aborted(signal)]);
        const timestamp = String(Math.floor(clock.now() / 1_000));
        const response = await post(url, ip, signal, body, {
          "content-type": "application/json", "content-length": String(Buffer.byteLength(body)), "user-agent": userAgent,
          "skep-delivery": deliveryId, "skep-timestamp": timestamp, "skep-signature": signatureOf(secret, timestamp, body),
        });
        discard(response, done);
        return { kind: "answer", status: response.statusCode ?? 0 };
      } catch (error) {
        done();
        return { kind: "failed", because: over.signal.aborted ? `no answer within ${TOTAL_MS} ms` : closing.signal.aborted ? "the master stopped while it was sent" : factsOf(error) };
      }
    },
    close: () => closing.abort(),
  };
}

/** To the address that was judged, whatever its name says by now; the name is still what TLS and the receiver see. */
function post(url: URL, ip: string, signal: AbortSignal, body: string, headers: Record<string, string>): Promise<IncomingMessage> {
  const options: RequestOptions = {
    method: "POST", headers, signal, agent: false,
    lookup: (_name, { all }, callback) => (all === true ? callback(null, [{ address: ip, family: isIP(ip) }]) : callback(null, ip, isIP(ip))),
  };
  return new Promise((resolve, reject) => {
    const request: ClientRequest = url.protocol === "https:" ? httpsRequest(url, options) : httpRequest(url, options);
    request.on("error", reject);
    request.on("response", resolve);
    request.end(body);
  });
}

function discard(response: IncomingMessage, done: () => void): void {
  let size = 0;
  response.on("data", (chunk: Buffer) => {
    size += chunk.length;
    if (size > REPLY_LIMIT_BYTES) response.destroy();
  });
  // An abort after the status is known changes nothing any more.
  response.on("error", done);
  response.on("close", done);
}

const aborted = (signal: AbortSignal): Promise<never> =>
  new Promise((_, reject) => {
    const leave = (): void => reject(new Error("aborted"));
    if (signal.aborted) leave();
    else signal.addEventListener("abort", leave, { once: true });
  });

const factsOf = (error: unknown): string => (error instanceof SkepError ? error.detail : transportFacts(error));
