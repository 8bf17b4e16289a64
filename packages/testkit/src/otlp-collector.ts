/** A collector of traces small enough to be read: takes OTLP over HTTP as JSON, keeps the spans, and fails or hangs when told to. */
import { createServer, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface CollectedSpan {
  readonly service: string;
  readonly traceId: string;
  readonly spanId: string;
  /** Empty = the root of its trace. */
  readonly parentSpanId: string;
  readonly name: string;
  /** OTLP's number: 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  readonly kind: number;
  readonly attributes: Readonly<Record<string, string | number>>;
  /** Of its status when that is an error. */
  readonly error: string | undefined;
}

export interface OtlpCollector {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  readonly spans: () => readonly CollectedSpan[];
  /** Every body as it came, and every request's headers: to search for what must not be there. */
  readonly bodies: readonly string[];
  readonly headers: readonly Readonly<Record<string, string | string[] | undefined>>[];
  /** How many requests it has answered with an error. */
  readonly refused: () => number;
  /** `refusing`: 400 · `hanging`: takes the request and never answers. */
  behave(how: "well" | "refusing" | "hanging"): void;
  close(): Promise<void>;
}

interface OtlpValue {
  readonly stringValue?: string;
  readonly intValue?: number | string;
  readonly doubleValue?: number;
}
interface OtlpAttribute {
  readonly key: string;
  readonly value: OtlpValue;
}
interface OtlpBody {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly OtlpAttribute[] };
    readonly scopeSpans: readonly {
      readonly spans: readonly { readonly traceId: string; readonly spanId: string; readonly parentSpanId?: string; readonly name: string; readonly kind: number; readonly attributes: readonly OtlpAttribute[]; readonly status: { readonly code?: number; readonly message?: string } }[];
    }[];
  }[];
}

const ERROR = 2;
const valuesOf = (attributes: readonly OtlpAttribute[]): Record<string, string | number> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, value.stringValue ?? Number(value.intValue ?? value.doubleValue)]));

/** On loopback, at a port of the kernel's choice. */
export async function startOtlpCollector(): Promise<OtlpCollector> {
  const bodies: string[] = [];
  const headers: OtlpCollector["headers"][number][] = [];
  const hung = new Set<ServerResponse>();
  let refused = 0;
  let manners: "well" | "refusing" | "hanging" = "well";
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      if (manners === "hanging") return void hung.add(response);
      const wanted = request.method === "POST" && request.url === "/v1/traces" && request.headers["content-type"] === "application/json";
      if (manners === "well" && wanted) {
        headers.push(request.headers);
        bodies.push(Buffer.concat(chunks).toString());
      }
      if (manners !== "well" || !wanted) refused += 1;
      response.writeHead(manners === "well" && wanted ? 200 : 400, { "content-type": "application/json" }).end("{}");
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    bodies,
    headers,
    spans: () => bodies.flatMap((body) => (JSON.parse(body) as OtlpBody).resourceSpans).flatMap(({ resource, scopeSpans }) => {
      const service = String(valuesOf(resource.attributes)["service.name"]);
      return scopeSpans.flatMap((scope) => scope.spans).map((span): CollectedSpan => ({
        service, traceId: span.traceId, spanId: span.spanId, parentSpanId: span.parentSpanId ?? "", name: span.name, kind: span.kind,
        attributes: valuesOf(span.attributes), error: span.status.code === ERROR ? (span.status.message ?? "") : undefined,
      }));
    }),
    refused: () => refused,
    behave: (how) => {
      manners = how;
      if (how === "hanging") return;
      for (const response of hung) response.destroy();
      hung.clear();
    },
    close: () => new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    }),
  };
}
