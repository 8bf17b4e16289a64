/** Services: deployments as their callers see them, and the same for a Prometheus. */
import { COMPONENT_STATES, DEPLOYMENT_STATUSES, SERVICE_STRATEGIES } from "@skep/core";
import { z } from "zod";
import { idSchema, listOf, nameSchema, pageQuery } from "../common.ts";

const protocol = z.enum(["tcp", "udp"]);
export const serviceView = z.object({
  id: idSchema,
  name: z.string(),
  status: z.enum(DEPLOYMENT_STATUSES),
  /** What the newest spec publishes. */
  ports: z.array(z.object({ component: z.string(), name: z.string(), protocol })),
  /** Endpoints: one for each published port of each placement. */
  healthy: z.int(),
  total: z.int(),
  /** As they were declared, in order. */
  fallbacks: z.array(z.string()),
});
export type ServiceJson = z.infer<typeof serviceView>;
export const serviceList = listOf(serviceView);
export const serviceListQuery = z.strictObject(pageQuery);

/** Where a caller connects. */
export const endpointView = z.object({
  deployment: z.string(),
  placement_id: idSchema,
  host_id: idSchema,
  host: z.string(),
  component: z.string(),
  port_name: z.string(),
  protocol,
  address: z.string(),
  port: z.int(),
});
export type EndpointJson = z.infer<typeof endpointView>;
export const judgedEndpointView = endpointView.extend({
  /** Null while it is not known. */
  address: z.string().nullable(),
  port: z.int().nullable(),
  state: z.enum(COMPONENT_STATES).nullable(),
  healthy: z.boolean(),
  /** Why; where it is not healthy, also what it waits for. */
  because: z.string(),
});
export type JudgedEndpointJson = z.infer<typeof judgedEndpointView>;
export const serviceDetail = serviceView.extend({ endpoints: z.array(judgedEndpointView) });
export type ServiceDetailJson = z.infer<typeof serviceDetail>;

export const resolveQuery = z.strictObject({
  strategy: z.enum(SERVICE_STRATEGIES).default("ordered"),
  component: nameSchema.optional(),
  /** A port's name. */
  port: nameSchema.optional(),
  /** `k=v` of the host, once or several times; all must hold. */
  label: z.union([z.string().max(320), z.array(z.string().max(320)).max(16)]).optional(),
});
export const resolvedService = z.object({
  service: z.string(),
  via: z.enum(["primary", "fallback"]),
  /** The deployment that answers instead; null while the service itself does. */
  fallback: z.string().nullable(),
  endpoints: z.array(endpointView),
});
export type ResolvedServiceJson = z.infer<typeof resolvedService>;

export const SD_ROLES = ["services", "agents", "masters"] as const;
export const sdQuery = z.strictObject({ role: z.enum(SD_ROLES).default("services") });
/** Prometheus' own format for HTTP service discovery: target groups. */
export const sdTargets = z.array(z.object({ targets: z.array(z.string()), labels: z.record(z.string(), z.string()) }));
export type SdTargetsJson = z.infer<typeof sdTargets>;
