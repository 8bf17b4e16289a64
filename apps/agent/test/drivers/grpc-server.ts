/** A real gRPC server for probes: the standard health service by hand, or none. */
import { Server, ServerCredentials, status, type sendUnaryData, type ServerUnaryCall } from "@grpc/grpc-js";

export const HEALTH = { UNKNOWN: 0, SERVING: 1, NOT_SERVING: 2 } as const;

export interface GrpcServerWish {
  /** Health by service; "" is the whole server. Undefined = a server without a health service. */
  readonly services?: Readonly<Record<string, number>> | undefined;
  readonly tls?: { readonly certPem: string; readonly keyPem: string } | undefined;
}

export async function startGrpcServer({ services, tls }: GrpcServerWish): Promise<{ readonly port: number; close(): void }> {
  const server = new Server();
  if (services !== undefined) {
    server.addService({ Check: { path: "/grpc.health.v1.Health/Check", requestStream: false, responseStream: false, requestSerialize: pass, requestDeserialize: pass, responseSerialize: pass, responseDeserialize: pass } }, {
      Check: ({ request }: ServerUnaryCall<Buffer, Buffer>, answer: sendUnaryData<Buffer>) => {
        const health = services[request.subarray(2).toString("utf8")];
        if (health === undefined) answer({ code: status.NOT_FOUND, details: "unknown service" });
        else answer(null, Buffer.from(health === 0 ? [] : [0x08, health]));
      },
    });
  }
  const credentials = tls === undefined ? ServerCredentials.createInsecure() : ServerCredentials.createSsl(null, [{ cert_chain: Buffer.from(tls.certPem), private_key: Buffer.from(tls.keyPem) }]);
  const port = await new Promise<number>((resolve, reject) => server.bindAsync("127.0.0.1:0", credentials, (error, bound) => (error === null ? resolve(bound) : reject(error))));
  return { port, close: () => server.forceShutdown() };
}

const pass = (bytes: Buffer): Buffer => bytes;
