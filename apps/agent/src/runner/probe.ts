/**
 * One probe, once: resolves with undefined when it passed, else with what was wrong. Never rejects, never outlives
 * its timeout, leaves no socket and no process behind. HTTP is spoken by hand: loading node:http would double what a
 * runner costs, for one status line.
 */
import { spawn } from "node:child_process";
import { connect } from "node:net";
import type { Socket } from "node:net";
import type { AbortSignalLike, Clock, ProbeSpec } from "@skep/core";

export interface ProbeTarget {
  readonly ports: Readonly<Record<string, number>>;
  readonly env: Readonly<Record<string, string>>;
  readonly workingDir: string;
}

type Verdict = (problem: string | undefined) => void;
/** Starts something and returns how to end it. */
type Attempt = (verdict: Verdict) => () => void;

/** An abort counts as a failure whose text nobody will see. */
export async function probeOnce(probe: ProbeSpec, target: ProbeTarget, clock: Clock, stop: AbortSignalLike): Promise<string | undefined> {
  const attempt = attemptOf(probe, target);
  if (typeof attempt === "string") return attempt;
  const over = new AbortController();
  const onStop = (): void => over.abort();
  stop.addEventListener("abort", onStop, { once: true });
  let end = (): void => {};
  const verdict = new Promise<string | undefined>((resolve) => (end = attempt(resolve)));
  const timeout = clock.sleep(probe.timeout_ms, over.signal).then(() => (stop.aborted ? "stopped" : `no answer within ${probe.timeout_ms} ms`));
  const problem = await Promise.race([verdict, timeout]);
  over.abort();
  stop.removeEventListener("abort", onStop);
  end();
  return problem;
}

function attemptOf(probe: ProbeSpec, target: ProbeTarget): Attempt | string {
  if (probe.type === "exec") return (verdict) => runCommand(probe.command, target, verdict);
  const port = typeof probe.port === "number" ? probe.port : target.ports[probe.port];
  if (port === undefined) return `the component has no port named "${probe.port}"`;
  if (probe.type === "grpc") return "gRPC probes are not built yet";
  return probe.type === "tcp" ? (verdict) => reach(port, verdict) : (verdict) => get(port, probe.path, verdict);
}

function reach(port: number, verdict: Verdict): () => void {
  const socket = connect({ host: "127.0.0.1", port }, () => verdict(undefined));
  socket.on("error", (error) => verdict(`port ${port}: ${error.message}`));
  return () => socket.destroy();
}

function get(port: number, path: string, verdict: Verdict): () => void {
  // Anything outside printable ASCII is escaped: a path can never end the request line.
  const target = (path.startsWith("/") ? path : `/${path}`).replace(/[^\x21-\x7e]/gu, (char) => encodeURIComponent(char));
  const socket: Socket = connect({ host: "127.0.0.1", port }, () => {
    socket.write(`GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUser-Agent: skep-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n`);
  });
  let head = "";
  const judge = (): void => {
    const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1]);
    if (Number.isNaN(status)) verdict(`port ${port} does not answer in HTTP`);
    else verdict(status >= 200 && status < 400 ? undefined : `GET ${target} answered ${status}`);
  };
  socket.setEncoding("latin1");
  socket.on("data", (text: string) => {
    head += text;
    if (head.length >= 12) judge();
  });
  socket.on("end", judge);
  socket.on("error", (error) => verdict(`port ${port}: ${error.message}`));
  return () => socket.destroy();
}

function runCommand(command: readonly string[], target: ProbeTarget, verdict: Verdict): () => void {
  const [program = "", ...args] = command;
  const child = spawn(program, args, { cwd: target.workingDir, env: { ...target.env }, stdio: "ignore", shell: false, detached: true });
  let ended = false;
  child.on("error", (error) => {
    ended = true;
    verdict(`probe command: ${error.message}`);
  });
  child.on("exit", (code, signal) => {
    ended = true;
    verdict(code === 0 ? undefined : `probe command ${signal === null ? `exited with code ${code ?? "unknown"}` : `was killed by ${signal}`}`);
  });
  return () => {
    if (ended || child.pid === undefined) return;
    try {
      process.kill(-child.pid, "SIGKILL");
    } catch {
      // gone between the look and the signal
    }
  };
}
