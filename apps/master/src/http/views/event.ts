/** Events and tokens as the API shows them. */
import { toIso, type ApiToken, type EventRecord } from "@skep/core";
import type { EventJson, tokenView } from "@skep/protocol";
import type { z } from "zod";
import { timeOrNull } from "./time.ts";

export const eventJson = (event: EventRecord): EventJson => ({
  cursor: event.cursor,
  at: toIso(event.at),
  kind: event.kind,
  severity: event.severity,
  message: event.message,
  host_id: event.hostId ?? null,
  host: event.hostName ?? null,
  deployment_id: event.deploymentId ?? null,
  placement_id: event.placementId ?? null,
  lifecycle_id: event.lifecycleId ?? null,
  data: event.data === undefined ? null : { ...event.data },
});

/** Never the secret, nor its hash. */
export const tokenJson = (token: ApiToken): z.input<typeof tokenView> => ({
  id: token.id,
  name: token.name,
  role: token.role,
  created_at: toIso(token.createdAt),
  expires_at: toIso(token.expiresAt),
  revoked_at: timeOrNull(token.revokedAt),
});
