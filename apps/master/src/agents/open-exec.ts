/**
 * A command's frames from an agent that may be hostile. Bounded in every direction (faults S20, F50): one frame's
 * length, all frames together, the time; nothing is decompressed; every frame passes its schema before anybody sees it.
 * What is read waits for whoever takes it, so that a slow operator slows the command and not the master's memory.
 */
import { SkepError, type Clock } from "@skep/core";
import { EXEC_BEAT_MS, MAX_FRAME_CHARS, MAX_OUTPUT_BYTES, execFrame, isOutput, knownCode, type ExecCommand, type ExecFrame } from "@skep/protocol";
import type { Dispatcher, Pool } from "undici";
import type { OpenExec } from "../ports.ts";
import { outcomeOfAnswer } from "./ask.ts";
import { REPLY_LIMIT_BYTES, refusalOf, transportFacts } from "./exchange.ts";

/** Looking whether the component runs takes an agent at most 10 s. */
const HEADERS_MS = 20_000;
/** Beyond the command's own time: the kill, the last output, a slow link. */
const GRACE_MS = 60_000;
/** All output as base64 in frames of which some are small. */
const STREAM_BYTES = 4 * MAX_OUTPUT_BYTES;
const NEWLINE = 0x0a;

export type OpenedExec =
  | { readonly kind: "opened"; readonly exec: OpenExec }
  /** The agent answered, and not with frames. `outcome`: what that says of the host, by the same rule as of every other call. */
  | { readonly kind: "refused"; readonly outcome: "success" | "failure"; readonly error: SkepError };

/** Throws where there was no answer: `host_unreachable` when it was never sent, `exec_outcome_unknown` when it may have been taken. */
export async function openExec(pool: Pool, clock: Clock, path: string, command: ExecCommand, signal: AbortSignal): Promise<OpenedExec> {
  const late = new AbortController();
  const over = new AbortController();
  void clock.sleep(command.timeout_s * 1_000 + GRACE_MS, over.signal).then(() => {
    if (!over.signal.aborted) late.abort();
  });
  let reply: Dispatcher.ResponseData;
  try {
    reply = await pool.request({
      method: "POST", path, headers: { "content-type": "application/json" }, body: JSON.stringify(command),
      signal: AbortSignal.any([signal, late.signal]), headersTimeout: HEADERS_MS, bodyTimeout: 3 * EXEC_BEAT_MS,
    });
  } catch (error) {
    over.abort();
    // Never connected: it was not sent. Anything later may have been taken.
    if (neverSent(error)) throw new SkepError("host_unreachable", transportFacts(error), { cause: error });
    throw new SkepError("exec_outcome_unknown", `no answer: ${transportFacts(error)}`, { cause: error });
  }
  if (reply.statusCode === 200) return { kind: "opened", exec: { frames: readFrames(reply.body, over) } };
  const bytes = await readRefusal(reply.body).catch(() => undefined);
  over.abort();
  return refused(reply.statusCode, bytes);
}

/** `bytes`: undefined when the answer was cut or is longer than any of ours. */
function refused(status: number, bytes: Buffer | undefined): OpenedExec {
  const refusal = bytes === undefined || status < 400 ? undefined : refusalOf(bytes);
  const outcome = bytes === undefined ? "failure" : outcomeOfAnswer(status, refusal?.code);
  const code = refusal === undefined ? undefined : knownCode(refusal.code);
  if (code === "route_not_found") return { kind: "refused", outcome, error: new SkepError("exec_unsupported", "its agent is too old to run commands") };
  if (refusal !== undefined && code !== undefined) return { kind: "refused", outcome, error: new SkepError(code, refusal.detail) };
  return { kind: "refused", outcome, error: new SkepError("host_unreachable", `the agent answered ${status} in a form that is not ours`) };
}

const BEFORE_SENDING = /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|UND_ERR_CONNECT_TIMEOUT|ERR_TLS_.*|ERR_SSL_.*|CERT_.*|UNABLE_TO_.*|SELF_SIGNED_.*|DEPTH_ZERO_.*)$/;

/** What can only happen before a request is on its way: no connection, or a peer that is not the pinned one. In doubt it was sent. */
function neverSent(error: unknown): boolean {
  for (let cause: unknown = error; cause instanceof Error; cause = cause.cause) {
    if (cause instanceof SkepError || BEFORE_SENDING.test((cause as { code?: string }).code ?? "")) return true;
    if (cause instanceof AggregateError && cause.errors.every(neverSent)) return true;
  }
  return false;
}

async function readRefusal(body: AsyncIterable<Buffer>): Promise<Buffer | undefined> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > REPLY_LIMIT_BYTES) return undefined;
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

async function* readFrames(body: AsyncIterable<Buffer>, over: AbortController): AsyncGenerator<ExecFrame> {
  const lost = (because: string): SkepError => new SkepError("exec_outcome_unknown", because);
  let rest: Buffer = Buffer.alloc(0);
  let size = 0;
  try {
    // Leaving this loop, by return, throw or the reader's own leaving, destroys the connection.
    for await (const chunk of body) {
      size += chunk.length;
      if (size > STREAM_BYTES) throw lost("the agent said more than any command may");
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
      for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE)) {
        if (end > MAX_FRAME_CHARS) throw lost("the agent sent a frame that is too long");
        const frame = end === 0 ? undefined : parseFrame(rest.subarray(0, end));
        rest = rest.subarray(end + 1);
        if (frame === undefined) continue;
        if (frame === "strange") throw lost("the agent sent a frame that is not ours");
        yield frame;
        if (!isOutput(frame)) return;
      }
      if (rest.length > MAX_FRAME_CHARS) throw lost("the agent sent a frame that is too long");
    }
  } catch (error) {
    throw error instanceof SkepError ? error : lost(transportFacts(error));
  } finally {
    over.abort();
  }
  throw lost("the agent's answer ended without the command's end");
}

function parseFrame(line: Buffer): ExecFrame | "strange" {
  let value: unknown;
  try {
    value = JSON.parse(line.toString("utf8"));
  } catch {
    return "strange";
  }
  const parsed = execFrame.safeParse(value);
  return parsed.success ? parsed.data : "strange";
}
