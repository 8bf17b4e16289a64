/** The Engine API over its unix socket, as plainly as can be: the tests' own eyes must not share code with the driver. */
import { request } from "node:http";

export interface EngineAnswer {
  readonly status: number;
  readonly body: Buffer;
}

export interface EngineCall {
  /** An object is sent as JSON, bytes as they are. */
  readonly body?: object | Buffer | undefined;
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Bound for an engine that hangs. Default 60 000. */
  readonly timeoutMs?: number | undefined;
}

/** Rejects on transport errors only. */
export function callEngine(socketPath: string, method: string, path: string, call: EngineCall = {}): Promise<EngineAnswer> {
  const { body, timeoutMs = 60_000 } = call;
  const bytes = body === undefined || Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body));
  const type = Buffer.isBuffer(body) ? "application/x-tar" : "application/json";
  return new Promise((resolve, reject) => {
    const headers = { host: "localhost", ...(bytes === undefined ? {} : { "content-type": type, "content-length": bytes.length }), ...call.headers };
    const asked = request({ socketPath, method, path, headers, agent: false, timeout: timeoutMs }, (reply) => {
      const chunks: Buffer[] = [];
      reply.on("data", (chunk: Buffer) => chunks.push(chunk));
      reply.on("error", reject);
      reply.on("end", () => resolve({ status: reply.statusCode ?? 0, body: Buffer.concat(chunks) }));
    });
    asked.on("timeout", () => asked.destroy(new Error(`${method} ${path} was not answered within ${timeoutMs} ms`)));
    asked.on("error", reject);
    asked.end(bytes);
  });
}

/** The answer's JSON (or text); throws on anything but a success, with the engine's words. */
export async function askEngine<T = unknown>(socketPath: string, method: string, path: string, call: EngineCall = {}): Promise<T> {
  const { status, body } = await callEngine(socketPath, method, path, call);
  const text = body.toString("utf8");
  if (status >= 300 && status !== 304) throw new Error(`${method} ${path} answered ${status}: ${text.trim()}`);
  try {
    return JSON.parse(text) as T;
  } catch {
    return text as T;
  }
}
