/** Getting the image here, by the pull policy. Progress is said only when bytes or layers really moved on. */
import { DriverError } from "@skep/core";
import type { AbortSignalLike, ContainerSpec, Progress } from "@skep/core";
import type { Credential, DockerContext } from "./context.ts";
import { codeOf, EngineRefusal, plainWords } from "./engine-error.ts";
import { jsonLines } from "./frames.ts";

/** Without a byte from the engine. Too short: unpacking a large layer on a slow disk fails; too long: a dead pull holds a job. */
const PULL_IDLE_MS = 120_000;

export async function ensureImage(context: DockerContext, container: ContainerSpec, signal: AbortSignalLike, progress: Progress): Promise<void> {
  const { image, pull = "if_missing" } = container;
  if (pull !== "always" && (await context.engine.image(image, signal)) !== undefined) return;
  if (pull === "never") throw new DriverError("image_not_found", `the image ${image} is not on this host, and its pull policy is never`);
  try {
    await pullImage(context, image, authOf(context, container), signal, progress);
  } catch (error) {
    if (!(error instanceof EngineRefusal)) throw error;
    const code = codeOf(error.message, "pull_failed", ["disk_full", "image_not_found", "registry_refused"]);
    throw new DriverError(code, `the image ${image} could not be pulled: ${plainWords(error.message)}${code === "disk_full" ? "; free space where the engine keeps its data and try again" : ""}`);
  }
}

interface PullLine {
  readonly id?: string;
  readonly status?: string;
  readonly progressDetail?: { readonly current?: number };
  readonly error?: string;
  readonly errorDetail?: { readonly message?: string };
}

async function pullImage({ engine }: DockerContext, image: string, auth: string | undefined, signal: AbortSignalLike, progress: Progress): Promise<void> {
  const moved = createMotion();
  const stream = await engine.pull(splitReference(image), auth, PULL_IDLE_MS, signal);
  for await (const line of jsonLines(stream) as AsyncIterable<PullLine>) {
    const error = line.errorDetail?.message ?? line.error;
    // The engine has answered 200 long before it knows how the pull ends.
    if (error !== undefined) throw new EngineRefusal(500, error);
    if (moved(line)) progress();
  }
  if ((await engine.image(image, signal)) === undefined) throw new DriverError("pull_failed", `the engine pulled ${image} and does not have it; look at its log`);
}

/** True when a layer is further than ever before. Repeated lines, which engines send while nothing moves, are not. */
export function createMotion(): (line: PullLine) => boolean {
  const best = new Map<string, number>();
  return ({ id = "", status = "", progressDetail }) => {
    const key = `${id} ${status}`;
    const now = progressDetail?.current ?? 0;
    const before = best.get(key);
    if (before !== undefined && now <= before) return false;
    best.set(key, now);
    return true;
  };
}

/** As the engine wants it: the name, and tag or digest. */
export function splitReference(image: string): { fromImage: string; tag: string } {
  const digest = image.indexOf("@");
  if (digest > 0) return { fromImage: image.slice(0, digest).replace(/:[^:/]+$/, ""), tag: image.slice(digest + 1) };
  const colon = image.lastIndexOf(":");
  return colon > image.lastIndexOf("/") ? { fromImage: image.slice(0, colon), tag: image.slice(colon + 1) } : { fromImage: image, tag: "latest" };
}

function authOf(context: DockerContext, { registry_credential: name, image }: ContainerSpec): string | undefined {
  if (name === undefined) return undefined;
  const credential = readCredential(context, name);
  if (credential === undefined) throw new DriverError("credential_not_found", `this host keeps no registry credential named ${JSON.stringify(name)}, which ${image} needs; its owner adds it to the agent's configuration`);
  return encodeAuth(credential);
}

function readCredential(context: DockerContext, name: string): Credential | undefined {
  try {
    return context.credential(name);
  } catch (error) {
    throw new DriverError("credential_not_usable", `the registry credential ${JSON.stringify(name)} cannot be used: ${error instanceof Error ? error.message : String(error)}`);
  }
}

const encodeAuth = ({ server, username, password }: Credential): string => Buffer.from(JSON.stringify({ username, password, serveraddress: server })).toString("base64url");
