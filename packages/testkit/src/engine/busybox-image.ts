/** Images made on the spot: one static busybox with its applets, so that no test needs a registry or the network. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { askEngine } from "./engine-api.ts";

export interface ImageConfig {
  readonly entrypoint?: readonly string[];
  readonly cmd?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** As in `EXPOSE`: "8080/tcp". */
  readonly expose?: readonly string[];
  readonly user?: string;
  readonly workdir?: string;
  readonly volumes?: readonly string[];
  readonly stopSignal?: string;
  /** argv of a HEALTHCHECK, every second. */
  readonly healthcheck?: readonly string[];
  /** More files: absolute path to content; executable. */
  readonly files?: Readonly<Record<string, string | Buffer>>;
}

/** Makes `reference` ("name:tag") on the engine. */
export async function makeImage(socketPath: string, busybox: string, reference: string, config: ImageConfig): Promise<void> {
  const at = reference.lastIndexOf(":");
  const named = at > reference.lastIndexOf("/");
  const query = new URLSearchParams({ fromSrc: "-", repo: named ? reference.slice(0, at) : reference, tag: named ? reference.slice(at + 1) : "latest" });
  for (const change of changesOf(config)) query.append("changes", change);
  const said = await askEngine<string>(socketPath, "POST", `/images/create?${query.toString()}`, { body: rootFs(busybox, config.files ?? {}) });
  // The engine reports a failed import in a body that begins with 200.
  if (typeof said === "string" && said.includes('"errorDetail"')) throw new Error(`the image ${reference} could not be made: ${said}`);
}

function changesOf(config: ImageConfig): string[] {
  return [
    ...(config.entrypoint === undefined ? [] : [`ENTRYPOINT ${JSON.stringify(config.entrypoint)}`]),
    ...(config.cmd === undefined ? [] : [`CMD ${JSON.stringify(config.cmd)}`]),
    "ENV PATH=/bin",
    ...Object.entries(config.env ?? {}).map(([name, value]) => `ENV ${name}=${JSON.stringify(value)}`),
    ...(config.expose ?? []).map((port) => `EXPOSE ${port}`),
    ...(config.user === undefined ? [] : [`USER ${config.user}`]),
    ...(config.workdir === undefined ? [] : [`WORKDIR ${config.workdir}`]),
    ...(config.volumes === undefined ? [] : [`VOLUME ${JSON.stringify(config.volumes)}`]),
    ...(config.stopSignal === undefined ? [] : [`STOPSIGNAL ${config.stopSignal}`]),
    ...(config.healthcheck === undefined ? [] : [`HEALTHCHECK --interval=1s CMD ${JSON.stringify(config.healthcheck)}`]),
  ];
}

export function rootFs(busybox: string, files: Readonly<Record<string, string | Buffer>>): Buffer {
  return Buffer.concat([
    baseFs(busybox),
    ...Object.entries(files).map(([path, content]) => entry(path.replace(/^\//, ""), { content: Buffer.from(content), mode: 0o755 })),
    Buffer.alloc(1024),
  ]);
}

let base: Buffer | undefined;
function baseFs(busybox: string): Buffer {
  if (base !== undefined) return base;
  const applets = execFileSync(busybox, ["--list"], { encoding: "utf8" }).trim().split("\n").filter((name) => name !== "busybox");
  return (base = Buffer.concat([
    ...["bin/", "dev/", "etc/", "proc/", "sys/", "root/", "var/", "home/"].map((path) => entry(path, { mode: 0o755 })),
    entry("tmp/", { mode: 0o1777 }),
    entry("etc/passwd", { content: Buffer.from("root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n"), mode: 0o644 }),
    entry("etc/group", { content: Buffer.from("root:x:0:\nnobody:x:65534:\n"), mode: 0o644 }),
    entry("bin/busybox", { content: readFileSync(busybox), mode: 0o755 }),
    ...applets.map((name) => entry(`bin/${name}`, { link: "busybox", mode: 0o777 })),
  ]));
}

/** One ustar entry: a directory (name ends in /), a link, or a file. */
function entry(path: string, { content, link, mode }: { content?: Buffer; link?: string; mode: number }): Buffer {
  const header = Buffer.alloc(512);
  const octal = (value: number, at: number, length: number): void => void header.write(value.toString(8).padStart(length - 1, "0"), at, "latin1");
  header.write(path, 0, 100, "utf8");
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(content?.length ?? 0, 124, 12);
  octal(0, 136, 12);
  header.write("        ", 148, "latin1");
  header.write(path.endsWith("/") ? "5" : link === undefined ? "0" : "2", 156, "latin1");
  if (link !== undefined) header.write(link, 157, 100, "utf8");
  header.write("ustar\u000000", 257, "latin1");
  octal(header.reduce((sum, byte) => sum + byte, 0), 148, 7);
  const padding = Buffer.alloc((512 - ((content?.length ?? 0) % 512)) % 512);
  return Buffer.concat([header, content ?? Buffer.alloc(0), padding]);
}
