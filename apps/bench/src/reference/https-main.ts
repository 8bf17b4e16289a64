/** The reference for the wire: `node:https` with the product's TLS settings, JSON.parse, 204. Nothing else. */
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { masterSwarmTls, type Credentials } from "@skep/pki";
import { serveCommands } from "../stage/worker.ts";

serveCommands({
  listen(credentials: Credentials) {
    const server = createServer({ ...masterSwarmTls(credentials), keepAliveTimeout: 600_000, noDelay: true }, (request, response) => {
      let text = "";
      request.setEncoding("utf8");
      request.on("data", (chunk: string) => (text += chunk));
      request.on("end", () => {
        JSON.parse(text);
        response.writeHead(204).end();
      });
    });
    return new Promise<number>((resolve) => server.listen(0, "127.0.0.1", () => resolve((server.address() as AddressInfo).port)));
  },
});
