/**
 * A connection for a probe, with or without TLS: open means that the peer accepted and, with TLS, that the handshake
 * is done and the certificate believed. Invariant: the socket is destroyed when `over` aborts, whatever became of it.
 */
import { connect, type Socket } from "node:net";
import type { AbortSignalLike, ProbeTls } from "@skep/core";
import type { PortTarget } from "./probe.ts";
import { tlsOptions } from "./probe-tls.ts";

export interface Opened {
  /** Undefined = it is open. */
  readonly problem: string | undefined;
  readonly socket: Socket;
}

export async function openConnection({ host, port }: PortTarget, wish: ProbeTls, over: AbortSignalLike): Promise<Opened> {
  const encrypted = (wish.tls ?? "off") !== "off";
  const socket = encrypted ? (await import("node:tls")).connect({ host, port, ...(await tlsOptions(wish)) }) : connect({ host, port });
  if (over.aborted) socket.destroy();
  over.addEventListener("abort", () => socket.destroy(), { once: true });
  const problem = await new Promise<string | undefined>((resolve) => {
    socket.once(encrypted ? "secureConnect" : "connect", () => resolve(undefined));
    // Stays for the socket's life: an error nobody listens to would end the process.
    socket.on("error", (error) => resolve(`port ${port}: ${explain(error, encrypted)}`));
    socket.once("close", () => resolve(`port ${port}: the connection was closed${encrypted ? " during the TLS handshake" : ""}`));
  });
  return { problem, socket };
}

function explain(error: NodeJS.ErrnoException, encrypted: boolean): string {
  const { code = "", message } = error;
  if (!encrypted) return message;
  if (code === "ERR_SSL_WRONG_VERSION_NUMBER" || code === "ERR_SSL_PACKET_LENGTH_TOO_LONG") return "it does not speak TLS, and the probe's tls is on";
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return `its certificate is for another name: ${message} (tls_server_name says which name is expected)`;
  if (/^(UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|CERT_)/.test(code)) return `its certificate is not believed: ${message} (tls_ca_pem names the authority)`;
  return message;
}
