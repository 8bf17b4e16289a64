/**
 * A registry on loopback that a real engine pulls from: the read half of the registry protocol, with a password if
 * wanted, and with the faults that a well-behaved registry cannot be told to have.
 */
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { rootFs } from "./busybox-image.ts";
import type { ImageConfig } from "./busybox-image.ts";

export interface TestRegistry {
  /** "127.0.0.1:PORT": engines take loopback for trustworthy without TLS. */
  readonly host: string;
  /** Serves "name:tag", made of a static busybox as `EngineKit.image` makes it. Returns the whole reference. */
  add(nameAndTag: string, config?: ImageConfig): string;
  /** Layers stop in their middle until it is called with false. */
  stall(stalled: boolean): void;
  close(): Promise<void>;
}

export interface RegistryOptions {
  readonly busybox: string;
  readonly credentials?: { readonly username: string; readonly password: string } | undefined;
}

interface Blob {
  readonly type: string;
  readonly bytes: Buffer;
}
const TYPES = "application/vnd.docker.";

export async function startRegistry({ busybox, credentials }: RegistryOptions): Promise<TestRegistry> {
  const blobs = new Map<string, Blob>();
  const manifests = new Map<string, Blob>();
  const waiting = new Set<() => void>();
  let stalled = false;

  const keep = (bytes: Buffer, type: string): { mediaType: string; size: number; digest: string } => {
    const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    blobs.set(digest, { bytes, type });
    return { mediaType: type, size: bytes.length, digest };
  };
  const allowed = (request: IncomingMessage): boolean =>
    credentials === undefined || request.headers.authorization === `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64")}`;

  const send = async (reply: ServerResponse, method: string | undefined, { bytes, type }: Blob): Promise<void> => {
    reply.writeHead(200, { "content-type": type, "content-length": bytes.length, "docker-content-digest": `sha256:${createHash("sha256").update(bytes).digest("hex")}` });
    if (method === "HEAD") return void reply.end();
    const half = Math.floor(bytes.length / 2);
    reply.write(bytes.subarray(0, half));
    if (stalled && type.includes("rootfs")) await new Promise<void>((resolve) => waiting.add(resolve));
    reply.end(bytes.subarray(half));
  };
  const server = createServer((request, reply) => {
    if (!allowed(request)) return void reply.writeHead(401, { "www-authenticate": 'Basic realm="test"', "content-type": "application/json" }).end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
    if (request.url === "/v2/") return void reply.writeHead(200, { "docker-distribution-api-version": "registry/2.0" }).end("{}");
    const [, name = "", kind, reference = ""] = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(request.url ?? "") ?? [];
    const found = kind === "blobs" ? blobs.get(reference) : (manifests.get(`${name}:${reference}`) ?? blobs.get(reference));
    if (found === undefined) return void reply.writeHead(404, { "content-type": "application/json" }).end('{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}');
    void send(reply, request.method, found);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;

  return {
    host,
    add: (nameAndTag, config = {}) => {
      const layer = keep(rootFs(busybox, config.files ?? {}), `${TYPES}image.rootfs.diff.tar.gzip`);
      const about = { architecture: process.arch === "x64" ? "amd64" : process.arch, os: "linux", config: { Entrypoint: config.entrypoint, Cmd: config.cmd, Env: ["PATH=/bin"] }, rootfs: { type: "layers", diff_ids: [layer.digest] } };
      const configuration = keep(Buffer.from(JSON.stringify(about)), `${TYPES}container.image.v1+json`);
      const type = `${TYPES}distribution.manifest.v2+json`;
      const manifest = { type, bytes: Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: type, config: configuration, layers: [layer] })) };
      manifests.set(nameAndTag, manifest);
      blobs.set(`sha256:${createHash("sha256").update(manifest.bytes).digest("hex")}`, manifest);
      return `${host}/${nameAndTag}`;
    },
    stall: (on) => {
      stalled = on;
      if (on) return;
      for (const go of waiting) go();
      waiting.clear();
    },
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
