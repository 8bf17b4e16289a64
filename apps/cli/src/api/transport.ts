/**
 * The connection to one master. Invariants: redirects are not followed (a token must not travel on); with a CA given,
 * that CA alone is trusted; a token never goes over plain HTTP to another machine.
 */
import { readFileSync } from "node:fs";
import { isIPv4 } from "node:net";
import { Agent, request, type Dispatcher } from "undici";
import { CliError, usageError } from "../cli-error.ts";
import { EXIT } from "../exit-codes.ts";
import { VERSION } from "../version.ts";

export interface TransportOptions {
  readonly url: string;
  readonly token: string | undefined;
  /** A PEM file. */
  readonly ca: string | undefined;
  readonly allowPlainHttp: boolean;
}

export interface Outgoing {
  readonly method: Dispatcher.HttpMethod;
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
  /** Silence for this long is a broken connection. */
  readonly quietMs: number;
}

export interface Transport {
  readonly url: string;
  /** Rejects with whatever undici says; `connectionError` makes words of it. */
  send(outgoing: Outgoing): Promise<Dispatcher.ResponseData>;
  close(): Promise<void>;
}

const CONNECT_TIMEOUT_MS = 10_000;

/** Throws a usage error for a URL or CA that cannot be used. Connects to nothing yet. */
export function createTransport({ url, token, ca, allowPlainHttp }: TransportOptions): Transport {
  const base = checkedUrl(url, token, allowPlainHttp);
  let agent: Agent | undefined;
  const dispatcher = (): Agent => (agent ??= new Agent({ connect: { timeout: CONNECT_TIMEOUT_MS, ...(ca === undefined || base.protocol !== "https:" ? {} : { ca: readCa(ca) }) }, allowH2: false }));
  return {
    url: base.href.replace(/\/+$/, ""),
    send: ({ method, path, headers = {}, body, signal, quietMs }) =>
      request(`${base.href.replace(/\/+$/, "")}${path}`, {
        method,
        dispatcher: dispatcher(),
        signal,
        headersTimeout: quietMs,
        bodyTimeout: quietMs,
        headers: {
          accept: "application/json",
          "user-agent": `skep/${VERSION}`,
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        ...(body === undefined ? {} : { body }),
      }),
    close: async () => {
      await agent?.destroy();
    },
  };
}

function checkedUrl(url: string, token: string | undefined, allowPlainHttp: boolean): URL {
  const base = URL.canParse(url) ? new URL(url) : undefined;
  if (base === undefined || (base.protocol !== "http:" && base.protocol !== "https:") || base.username !== "" || base.password !== "" || base.search !== "" || base.hash !== "") {
    throw usageError(`${url} is not a master's URL.`, "Use http://127.0.0.1:8080, or https://NAME:PORT, without a user or a query.");
  }
  if (token !== undefined && !/^[\x21-\x7e]+$/.test(token)) throw usageError("The token has characters that no token has.", "Copy it again, without spaces or line ends.");
  const loopback = base.hostname === "localhost" || base.hostname === "[::1]" || (isIPv4(base.hostname) && base.hostname.startsWith("127."));
  if (base.protocol === "http:" && !loopback && token !== undefined && !allowPlainHttp) {
    throw usageError(`${base.origin} is plain HTTP on another machine: the token would travel in the clear.`, "Use https:// (and --ca FILE for the master's own CA), or a tunnel to 127.0.0.1. --allow-plain-http if the network is trusted.");
  }
  return base;
}

function readCa(path: string): string {
  let pem: string;
  try {
    pem = readFileSync(path, "utf8");
  } catch (error) {
    throw new CliError({ code: "config", detail: `The CA file ${path} cannot be read (${(error as NodeJS.ErrnoException).code ?? "error"}).`, exit: EXIT.usage, fix: "Give the PEM file of the CA that signed the API's certificate." });
  }
  if (!pem.includes("-----BEGIN CERTIFICATE-----")) throw new CliError({ code: "config", detail: `${path} holds no PEM certificate.`, exit: EXIT.usage, fix: "Give the PEM file of the CA that signed the API's certificate." });
  return pem;
}

const TLS = /^(ERR_TLS_|ERR_SSL_|CERT_|UNABLE_TO_|SELF_SIGNED_|DEPTH_ZERO_|HOSTNAME_MISMATCH|EPROTO)/;

/** What went wrong below HTTP, in words. `retry`: whether asking again may help. */
export function connectionError(error: unknown, url: string): { readonly error: CliError; readonly retry: boolean } {
  const code = codeOf(error);
  if (TLS.test(code)) {
    return {
      retry: false,
      error: new CliError({ code: "tls_refused", title: "The master's certificate is not to be trusted", detail: `${url}: ${code}.`, exit: EXIT.auth, fix: "Give the CA that signed it with --ca FILE or SKEP_CA, and use the name that is in the certificate.", cause: error }),
    };
  }
  return {
    retry: true,
    error: new CliError({ code: "master_unreachable", title: "The master cannot be reached", detail: `${url} does not answer (${code}).`, exit: EXIT.unreachable, fix: "Check that it runs (skep up, or skep master) and that the URL is right: skep config explain.", cause: error }),
  };
}

function codeOf(error: unknown): string {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof AggregateError && at.errors.length > 0) return codeOf(at.errors[0]);
    const { code } = at as NodeJS.ErrnoException;
    if (typeof code === "string") return code;
  }
  return error instanceof Error ? error.name : "error";
}
