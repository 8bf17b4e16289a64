/**
 * Vitest's global set-up: one Docker Engine per run, started when the first test asks for it and not before, so that
 * a run of one unrelated file pays nothing. Where there can be none, the run says so: silence would read as "tested".
 */
import { createServer } from "node:http";
import type { Server } from "node:http";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { findEngine, startEngine } from "../engine/index.ts";
import type { Engine } from "../engine/index.ts";
import { tempDir } from "../temp-dir.ts";

export type EngineForTests =
  /** Ask `control` (a unix socket) once for the engine's own socket; `useEngine` does. */
  | { readonly control: string; readonly busybox: string }
  | { readonly missing: string };

declare module "vitest" {
  interface ProvidedContext {
    engine: EngineForTests;
  }
}

interface Shared {
  users: number;
  readonly provided: EngineForTests;
  stop(): Promise<void>;
}

/** The projects of one run share the engine: the module is loaded once per project, the global object is not. */
const shared = globalThis as { __skepEngine?: Promise<Shared> | undefined };

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const entry = await (shared.__skepEngine ??= prepare());
  entry.users++;
  project.provide("engine", entry.provided);
  return async () => {
    if (--entry.users > 0) return;
    shared.__skepEngine = undefined;
    await entry.stop();
  };
}

async function prepare(): Promise<Shared> {
  const tools = findEngine();
  if ("missing" in tools) {
    console.warn(`\n*** NO DOCKER ENGINE: tests on it are SKIPPED (${tools.missing}) ***\n`);
    return { users: 0, provided: tools, stop: async () => {} };
  }
  let starting: Promise<Engine> | undefined;
  const control = join(tempDir("engine"), "control.sock");
  const server = createServer((_request, reply) => {
    starting ??= startEngine();
    starting.then(
      (engine) => reply.end(engine.socketPath),
      (error: unknown) => reply.writeHead(500).end(error instanceof Error ? error.message : String(error)),
    );
  });
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(control, resolve));
  return { users: 0, provided: { control, busybox: tools.busybox }, stop: () => end(server, starting) };
}

async function end(server: Server, starting: Promise<Engine> | undefined): Promise<void> {
  server.close();
  server.closeAllConnections();
  await (await starting?.catch(() => undefined))?.stop();
}
