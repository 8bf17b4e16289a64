/** The engine's multiplexed output: frames of an 8-byte header (stream, 0, 0, 0, length) and their bytes. */
export interface Frame {
  readonly stream: "stdout" | "stderr";
  readonly data: Uint8Array;
}

/** The engine splits lines at 16 KiB; a length far beyond that means that these are no frames. */
const MAX_FRAME_BYTES = 16 * 1_048_576;

/** Takes bytes however they were cut and gives whole frames. Throws on bytes that cannot be frames. */
export function createDemux(): (chunk: Uint8Array) => Frame[] {
  let rest = Buffer.alloc(0);
  return (chunk) => {
    rest = rest.length === 0 ? Buffer.from(chunk) : Buffer.concat([rest, chunk]);
    const frames: Frame[] = [];
    while (rest.length >= 8) {
      const kind = rest[0]!;
      const length = rest.readUInt32BE(4);
      if (kind > 3 || rest[1] !== 0 || rest[2] !== 0 || rest[3] !== 0 || length > MAX_FRAME_BYTES) throw new Error("the engine's output is not in frames");
      if (rest.length < 8 + length) break;
      // 3 is the engine's own word on a broken stream; a person looks for it in stderr.
      frames.push({ stream: kind >= 2 ? "stderr" : "stdout", data: Uint8Array.from(rest.subarray(8, 8 + length)) });
      rest = rest.subarray(8 + length);
    }
    return frames;
  };
}

/** Lines of JSON, however they were cut. Lines that are no JSON are left out. */
export async function* jsonLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<unknown> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of chunks) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) yield* parsed(line);
  }
  yield* parsed(rest);
}

function* parsed(line: string): Generator<unknown> {
  if (line.trim() === "") return;
  try {
    yield JSON.parse(line);
  } catch {
    // half a line at a broken stream's end
  }
}
