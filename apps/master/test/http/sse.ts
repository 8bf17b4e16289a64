/** A reader of server-sent events, as a browser would be one. */
export interface Seen {
  readonly id?: string;
  readonly event?: string;
  readonly data?: any;
  readonly comment?: string;
}
export interface Reader {
  readonly status: number;
  readonly problem: any;
  readonly frames: Seen[];
  /** Events with data, in the order they came. */
  readonly events: () => Seen[];
  readonly lastId: () => string | undefined;
  /** Resolves when the server has ended the stream. */
  readonly ended: Promise<void>;
  isEnded: boolean;
  close(): void;
}

export async function readSse(url: string, headers: Record<string, string>, body?: object): Promise<Reader> {
  const abort = new AbortController();
  const response = await fetch(url, {
    headers: { accept: "text/event-stream", ...(body === undefined ? {} : { "content-type": "application/json" }), ...headers }, signal: abort.signal, ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
  });
  const frames: Seen[] = [];
  if (response.status !== 200) {
    return { status: response.status, problem: await response.json(), frames, events: () => [], lastId: () => undefined, ended: Promise.resolve(), isEnded: true, close: () => undefined };
  }
  const reader: Reader = {
    status: 200, problem: undefined, frames, isEnded: false,
    events: () => frames.filter((frame) => frame.data !== undefined),
    lastId: () => frames.findLast((frame) => frame.id !== undefined)?.id,
    ended: pump(),
    close: () => abort.abort(),
  };
  return reader;

  async function pump(): Promise<void> {
    let text = "";
    const decoder = new TextDecoder();
    try {
      for await (const chunk of response.body as unknown as AsyncIterable<Uint8Array>) {
        text += decoder.decode(chunk, { stream: true });
        for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
          frames.push(parse(text.slice(0, end)));
          text = text.slice(end + 2);
        }
      }
    } catch {
      // Aborted by us.
    }
    reader.isEnded = true;
  }
}

function parse(block: string): Seen {
  const seen: Record<string, unknown> = {};
  for (const line of block.split("\n")) {
    const match = /^(id|event|data|retry)?: ?(.*)$/.exec(line);
    if (match === null) continue;
    if (match[1] === undefined) seen["comment"] = match[2];
    else seen[match[1]] = match[1] === "data" ? JSON.parse(match[2]!) : match[2];
  }
  return seen;
}
