/** Where the engine is. Only a local socket: an engine on TCP gives away its host, and is refused (faults S13). */
import { existsSync } from "node:fs";
import { DriverError } from "@skep/core";

/** Docker's own place, then Podman's compatible service. */
const USUAL = ["/var/run/docker.sock", "/run/podman/podman.sock"] as const;

/** `dockerHost` as in DOCKER_HOST. Throws `engine_refused` for anything but a unix socket. */
export function socketPathOf(dockerHost: string | undefined): string {
  if (dockerHost === undefined || dockerHost === "") return USUAL.find((path) => existsSync(path)) ?? USUAL[0];
  const path = /^unix:\/\/(\/.+)$/.exec(dockerHost)?.[1];
  if (path !== undefined) return path;
  const scheme = /^([a-z]+):/i.exec(dockerHost)?.[1]?.toLowerCase();
  const why = scheme === "tcp" || scheme === "http" || scheme === "https" ? "an engine reached over TCP gives its host away to whoever can reach it" : "only a local unix socket is spoken to";
  throw new DriverError("engine_refused", `DOCKER_HOST is ${JSON.stringify(dockerHost)}: ${why}; use unix:///path/to/docker.sock, or run the agent where the engine is`);
}
