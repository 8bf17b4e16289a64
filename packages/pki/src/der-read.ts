/**
 * A DER reader for untrusted bytes: definite, minimal lengths only, no recursion, nothing decoded. It finds where
 * things lie; what they mean is left to OpenSSL. Every malformed input throws DerError and nothing else.
 */
export class DerError extends Error {
  override readonly name = "DerError";
}

export const TAG = { integer: 0x02, bitString: 0x03, octetString: 0x04, oid: 0x06, sequence: 0x30, context0: 0xa0, context3: 0xa3 } as const;

/** One value: `der[start..end)` is all of it, `der[content..end)` what is inside. */
export interface Tlv {
  readonly tag: number;
  readonly start: number;
  readonly content: number;
  readonly end: number;
}

const isConstructed = (tlv: Tlv): boolean => (tlv.tag & 0x20) !== 0;

/** The value at `at`, which must end at or before `limit`. */
export function readTlv(der: Uint8Array, at: number, limit: number): Tlv {
  const tag = der[at];
  const first = der[at + 1];
  if (tag === undefined || first === undefined || at + 2 > limit) throw new DerError("a value is cut short");
  if ((tag & 0x1f) === 0x1f) throw new DerError("a tag is longer than one byte");
  let length = first;
  let content = at + 2;
  if (first >= 0x80) {
    const count = first & 0x7f;
    // Zero is BER's indefinite length; more than three bytes is more than we ever accept.
    if (count === 0 || count > 3 || content + count > limit) throw new DerError("a length is not acceptable");
    length = 0;
    for (let i = 0; i < count; i++) length = length * 256 + der[content + i]!;
    if (length < 0x80 || length < 256 ** (count - 1)) throw new DerError("a length is not minimal");
    content += count;
  }
  if (content + length > limit) throw new DerError("a value is longer than what holds it");
  return { tag, start: at, content, end: content + length };
}

/** The values inside `parent`, which they must fill exactly. */
export function childrenOf(der: Uint8Array, parent: Tlv): Tlv[] {
  const children: Tlv[] = [];
  for (let at = parent.content; at < parent.end; ) {
    const child = readTlv(der, at, parent.end);
    children.push(child);
    at = child.end;
  }
  return children;
}

/** The one value that `der` is. Walks all of it and throws when it nests deeper than `maxDepth` or anything follows. */
export function readDocument(der: Uint8Array, maxDepth: number): Tlv {
  const root = readTlv(der, 0, der.length);
  if (root.end !== der.length) throw new DerError("bytes follow the value");
  const open: { tlv: Tlv; depth: number }[] = [{ tlv: root, depth: 1 }];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (!isConstructed(next.tlv)) continue;
    if (next.depth >= maxDepth) throw new DerError("values are nested too deeply");
    for (const child of childrenOf(der, next.tlv)) open.push({ tlv: child, depth: next.depth + 1 });
  }
  return root;
}

export const bytesOf = (der: Uint8Array, tlv: Tlv): Buffer => Buffer.from(der.subarray(tlv.start, tlv.end));
export const contentOf = (der: Uint8Array, tlv: Tlv): Buffer => Buffer.from(der.subarray(tlv.content, tlv.end));

/** `tlv` if it is there and of that tag. */
export function expectTag(tlv: Tlv | undefined, tag: number, what: string): Tlv {
  if (tlv === undefined || tlv.tag !== tag) throw new DerError(`${what} is missing or of another type`);
  return tlv;
}
