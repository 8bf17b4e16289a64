/** OpenAPI 3.1 from the very schemas that validate. Written to docs/openapi.json by tools/gen; a test compares the two. */
import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import * as protocol from "@skep/protocol";
import type { FastifyInstance } from "fastify";
import { createJsonSchemaTransform, createJsonSchemaTransformObject } from "fastify-type-provider-zod";
import { z } from "zod";

/** Replies worth a name of their own; everything else is spelt out in place. */
const NAMED = z.registry<{ id: string }>();
for (const [id, schema] of Object.entries({
  Problem: protocol.problemSchema, Host: protocol.hostView, HostHealth: protocol.hostHealth, Bundle: protocol.bundleSchema, Deployment: protocol.deploymentView,
  Placement: protocol.placementView, Lifecycle: protocol.lifecycleView, Event: protocol.eventView, Explanation: protocol.explanation,
  AcceptedOperation: protocol.acceptedOperation, OperationPlan: protocol.operationPlan, Rollout: protocol.rolloutView, Token: protocol.tokenView,
})) NAMED.add(schema as z.ZodType, { id });

export async function useOpenApi(app: FastifyInstance, version: string): Promise<void> {
  const transformObject = createJsonSchemaTransformObject({ schemaRegistry: NAMED });
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: { title: "Skep", version, description: "The operator API. Every refusal is application/problem+json with a stable `code` and a `fix`; every POST takes an Idempotency-Key." },
      components: { securitySchemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "skp_<id>_<secret>" } } },
      security: [{ bearer: [] }],
    },
    transform: createJsonSchemaTransform({ schemaRegistry: NAMED }),
    transformObject: (document) => withoutUnused(transformObject(document) as Record<string, unknown>) as never,
  });
  await app.register(swaggerUi, { routePrefix: "/docs", uiConfig: { docExpansion: "none", tryItOutEnabled: false, validatorUrl: null } });
  app.get("/openapi.json", { schema: { hide: true } }, async (_request, reply) => reply.type("application/json").send(JSON.stringify(app.swagger())));
}

/** The transform emits every named schema twice, once as input; only what is pointed at stays. */
function withoutUnused(document: Record<string, unknown>): Record<string, unknown> {
  const components = document["components"] as { schemas: Record<string, unknown> };
  const used = new Set<string>();
  const visit = (value: unknown): void => {
    for (const [, name] of JSON.stringify(value).matchAll(/"#\/components\/schemas\/([A-Za-z]+)"/g)) {
      if (used.has(name!)) continue;
      used.add(name!);
      visit(components.schemas[name!]);
    }
  };
  visit(document["paths"]);
  const schemas = Object.fromEntries(Object.entries(components.schemas).filter(([name]) => used.has(name)));
  return { ...document, components: { ...components, schemas } };
}
