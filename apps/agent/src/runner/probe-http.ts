/** One GET, judged by its status line. Spoken by hand: one line of an answer is not worth a client's memory. */
import type { AbortSignalLike, ProbeTls } from "@skep/core";
import type { PortTarget } from "./probe.ts";
import { openConnection } from "./probe-socket.ts";

const SHORTEST_STATUS_LINE = "HTTP/1.1 200".length;

/** 200 to 399 is healthy. */
export async function requestStatus(at: PortTarget, wish: ProbeTls & { readonly path: string }, over: AbortSignalLike): Promise<string | undefined> {
  const { problem, socket } = await openConnection(at, wish, over);
  if (problem !== undefined) return problem;
  // Anything outside printable ASCII is escaped: a path can never end the request line.
  const path = (wish.path.startsWith("/") ? wish.path : `/${wish.path}`).replace(/[^\x21-\x7e]/gu, (char) => encodeURIComponent(char));
  return new Promise((resolve) => {
    let head = "";
    const judge = (): void => {
      const status = Number(/^HTTP\/1\.[01] (\d{3})/.exec(head)?.[1]);
      if (Number.isNaN(status)) resolve(head === "" ? `port ${at.port} accepted the request and closed without an answer` : `port ${at.port} does not answer in HTTP`);
      else resolve(status >= 200 && status < 400 ? undefined : `GET ${path} answered ${status}`);
    };
    socket.setEncoding("latin1");
    socket.on("data", (text: string) => {
      head += text;
      if (head.length >= SHORTEST_STATUS_LINE) judge();
    });
    socket.on("end", judge);
    socket.on("error", (error) => resolve(`port ${at.port}: ${error.message}`));
    const host = `${at.host.includes(":") ? `[${at.host}]` : at.host}:${at.port}`;
    socket.write(`GET ${path} HTTP/1.1\r\nHost: ${host}\r\nUser-Agent: skep-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n`);
  });
}
