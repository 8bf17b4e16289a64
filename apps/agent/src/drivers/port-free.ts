/** Whether a port of this host is free, by trying it: others on the host do not ask us. */
import { createSocket } from "node:dgram";
import { createServer } from "node:net";

/** Only "address in use" counts: a port we may not bind ourselves may still be the program's to bind. */
export function isFree(port: number, protocol: "tcp" | "udp", host = "0.0.0.0"): Promise<boolean> {
  return new Promise((resolve) => {
    const failed = (error: NodeJS.ErrnoException): void => resolve(error.code !== "EADDRINUSE");
    if (protocol === "udp") {
      const socket = createSocket(host.includes(":") ? "udp6" : "udp4").once("error", (error) => (socket.close(), failed(error)));
      socket.bind({ port, address: host, exclusive: true }, () => socket.close(() => resolve(true)));
    } else {
      const server = createServer().once("error", failed);
      server.listen({ port, host, exclusive: true }, () => server.close(() => resolve(true)));
    }
  });
}
