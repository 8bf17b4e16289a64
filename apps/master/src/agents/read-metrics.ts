/**
 * What an agent gives out as its metrics. It is passed on to Prometheus under the master's name, so it must be that
 * format and nothing else: an agent may lie about its numbers, and may not speak to whoever reads them in any other way.
 */
const DECODER = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const SAMPLE = /^[a-zA-Z_:][a-zA-Z0-9_:]*(?:\{.*\})? +(?:[+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?|[+-]?Inf|NaN)(?: +-?[0-9]+)?$/;
const COMMENT = /^#(?: .*)?$/;
const CONTROL = /[^\P{Cc}\n]/u;

/** The text, or undefined for what is not Prometheus' text format. */
export function readExposition(bytes: Uint8Array): string | undefined {
  let text: string;
  try {
    text = DECODER.decode(bytes);
  } catch {
    return undefined;
  }
  if (CONTROL.test(text) || !text.endsWith("\n")) return undefined;
  return text.split("\n").every((line) => line === "" || COMMENT.test(line) || SAMPLE.test(line)) ? text : undefined;
}
