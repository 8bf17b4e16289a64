/** A plain HTTPS client, as anybody might write one: no code of ours between the test and the wire but the settings. */
import { Agent, request as httpsRequest } from "node:https";

export interface Credential {
  readonly certPem: string;
  readonly keyPem: string;
}

export interface PlainAnswer {
  readonly status: number;
  readonly text: string;
  /** The body as JSON, or undefined. */
  readonly json: any;
}

export interface PlainWish {
  readonly caPem: string;
  readonly credential?: Credential | undefined;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly agent?: Agent;
}

/** A string or Buffer goes out as it is. Rejects on transport errors, with the code Node gives them. */
export function ask(url: string, body: unknown, wish: PlainWish): Promise<PlainAnswer> {
  const method = wish.method ?? "POST";
  const payload = method === "GET" ? "" : typeof body === "string" || Buffer.isBuffer(body) ? body : JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const request = httpsRequest(url, {
      method, ca: wish.caPem, minVersion: "TLSv1.3", agent: wish.agent ?? false, timeout: 30_000,
      // Hosts are known by their SPIFFE id; the tests that care about the peer's identity look at it themselves.
      checkServerIdentity: () => undefined,
      ...(wish.credential === undefined ? {} : { cert: wish.credential.certPem, key: wish.credential.keyPem }),
      headers: { ...(method === "GET" ? {} : { "content-type": "application/json", "content-length": String(Buffer.byteLength(payload)) }), ...wish.headers },
    }, (response) => {
      const chunks: Buffer[] = [];
      response.on("data", (chunk: Buffer) => chunks.push(chunk));
      response.on("error", reject);
      response.on("end", () => {
        const text = Buffer.concat(chunks).toString("utf8");
        resolve({ status: response.statusCode ?? 0, text, json: jsonOf(text) });
      });
    });
    request.on("timeout", () => request.destroy(new Error(`no answer from ${url}`)));
    request.on("error", reject);
    request.end(payload);
  });
}

/** How a connection was refused: the code of the TLS or socket error. An answer is an answer, and says so. */
export const refusalOf = (promise: Promise<PlainAnswer>): Promise<string> =>
  promise.then((answer) => `answered ${answer.status} ${answer.text}`, (error: NodeJS.ErrnoException) => error.code ?? error.message);

/** What Node calls it when the other side wants a certificate of its authority and gets none, or another's. */
export const TLS_REFUSAL = /CERTIFICATE_REQUIRED|ALERT|ECONNRESET|EPIPE/;

export const oneConnection = (): Agent => new Agent({ keepAlive: true, maxSockets: 1 });

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
