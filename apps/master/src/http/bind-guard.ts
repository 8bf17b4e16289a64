/** Where the API may listen: tokens in plain text never leave the machine. */
import { isIP } from "node:net";
import { SkepError } from "@skep/core";

/** Throws `bind_refused` for anything but loopback, unless there is TLS. Names other than localhost count as routable. */
export function checkBind(host: string, hasTls: boolean): void {
  if (hasTls || isLoopback(host)) return;
  throw new SkepError("bind_refused", `${host} can be reached from other machines, and there is no TLS: tokens would travel in the clear.`);
}

export function isLoopback(host: string): boolean {
  switch (isIP(host)) {
    case 4:
      return host.startsWith("127.");
    case 6:
      return host === "::1" || /^::ffff:127\.\d+\.\d+\.\d+$/i.test(host);
    default:
      return host === "localhost";
  }
}
