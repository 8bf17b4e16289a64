/** A command in a running component: its output as it comes, its end as the last line. */
import { SkepError } from "@skep/core";
import { EXEC_BODY_BYTES, execRequest, isOutput, operatorExecFrame, refSchema, type ExecEndFrame } from "@skep/protocol";
import { z } from "zod";
import type { BegunExec, EndedExec } from "../../control/exec.ts";
import type { OpenExec } from "../../ports.ts";
import { defineRoute, STREAMED, type RouteDefinition } from "../routing.ts";
import type { OperatorDeps } from "../settings.ts";
import { NDJSON, type Stream, type Streams } from "../streams.ts";

export function execRoutes({ control, agents, clock }: OperatorDeps, streams: () => Streams): RouteDefinition[] {
  /** Passes everything on and writes the end down, whatever it is. */
  const relay = async (begun: BegunExec, open: OpenExec, stream: Stream): Promise<void> => {
    const bytes = { stdout: 0, stderr: 0 };
    let end: ExecEndFrame = { error: { code: "interrupted", message: "The operator's connection ended; the command was killed." }, truncated_bytes: 0 };
    try {
      let heard = await stream.send({ data: { exec_id: begun.id, host: begun.host.name, component: begun.component, placement_id: begun.placementId } });
      // Leaving the loop ends the connection to the agent, and with it the command.
      if (heard) for await (const frame of open.frames) {
        if (!isOutput(frame)) {
          end = frame;
          break;
        }
        bytes[frame.stream] += Buffer.byteLength(frame.data, "base64");
        heard = await stream.send({ data: frame });
        if (!heard) break;
      }
    } catch (error) {
      if (!(error instanceof SkepError)) throw error;
      // Our own leaving breaks the agent's stream too, and is then the reason.
      if (!stream.signal.aborted) end = { error: { code: error.code, message: error.detail }, truncated_bytes: 0 };
    }
    const audited = await control.endExec(begun, ended(end, bytes));
    await stream.send({ data: { ...end, duration_ms: Math.round(clock.mono() - begun.startedMs), audited } });
  };

  return [
    defineRoute("execDeployment", {
      params: z.strictObject({ deployment: refSchema }),
      body: execRequest,
      replies: { 200: operatorExecFrame },
      streams: "ndjson",
      bodyBytes: EXEC_BODY_BYTES,
      handle: async ({ params, body, context, request, reply, principal }) => {
        streams().requireRoom(principal());
        const begun = await control.beginExec(params.deployment, body, context);
        const { command, timeout_s, stdin_base64: stdin } = body;
        const gone = new AbortController();
        reply.raw.once("close", () => gone.abort());
        try {
          const open = await agents.runCommand(begun.host, begun.placementId, begun.component, { command, timeout_s, ...(stdin === undefined ? {} : { stdin_base64: stdin }) }, gone.signal);
          streams().serve(request, reply, principal(), {}, (stream) => {
            stream.signal.addEventListener("abort", () => gone.abort(), { once: true });
            return relay(begun, open, stream);
          }, NDJSON);
          return STREAMED;
        } catch (error) {
          gone.abort();
          const code = error instanceof SkepError ? error.code : "internal";
          await control.endExec(begun, ended({ error: { code, message: code }, truncated_bytes: 0 }, { stdout: 0, stderr: 0 }));
          throw error;
        }
      },
    }),
  ];
}

const ended = (end: ExecEndFrame, bytes: { readonly stdout: number; readonly stderr: number }): EndedExec => ({ ...end, stdoutBytes: bytes.stdout, stderrBytes: bytes.stderr });
