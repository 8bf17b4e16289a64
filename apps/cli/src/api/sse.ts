/** text/event-stream, as its specification has it: bytes in, frames out. Pure but for its buffer. */

export interface Frame {
  readonly id: string | undefined;
  readonly event: string;
  readonly data: string;
  readonly retryMs: number | undefined;
}

export interface SseParser {
  push(bytes: Uint8Array): Frame[];
}

/** A line longer than this is no event of ours: better to fail than to fill the memory. */
const MAX_LINE_CHARS = 16 * 1_048_576;

export function createSseParser(): SseParser {
  const decoder = new TextDecoder("utf-8");
  let rest = "";
  let id: string | undefined;
  let event = "";
  let data: string[] = [];
  let retryMs: number | undefined;

  const take = (line: string, frames: Frame[]): void => {
    if (line === "") {
      if (id !== undefined || data.length > 0 || retryMs !== undefined) frames.push({ id, event: event === "" ? "message" : event, data: data.join("\n"), retryMs });
      [id, event, data, retryMs] = [undefined, "", [], undefined];
      return;
    }
    if (line.startsWith(":")) return;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "data") data.push(value);
    else if (field === "event") event = value;
    else if (field === "id" && !value.includes("\0")) id = value;
    else if (field === "retry" && /^\d{1,8}$/.test(value)) retryMs = Number(value);
  };

  return {
    push: (bytes) => {
      rest += decoder.decode(bytes, { stream: true });
      const frames: Frame[] = [];
      for (;;) {
        const end = rest.search(/[\r\n]/);
        // A \r at the very end may be half of a \r\n.
        if (end < 0 || (rest[end] === "\r" && end === rest.length - 1)) break;
        const line = rest.slice(0, end);
        rest = rest.slice(end + (rest.startsWith("\r\n", end) ? 2 : 1));
        take(line, frames);
      }
      if (rest.length > MAX_LINE_CHARS) throw new Error("a line of the stream is too long");
      return frames;
    },
  };
}
