/**
 * Identifiers, once each. Brands keep a placement id out of a host id's place at compile time; at run time
 * they are plain strings, so JSON, SQL and logs need no conversion.
 */
import type { Rng } from "./rng.ts";
import type { Instant } from "./time.ts";

declare const brand: unique symbol;
export type Brand<T, B extends string> = T & { readonly [brand]: B };

export type HostId = Brand<string, "HostId">;
export type DeploymentId = Brand<string, "DeploymentId">;
export type PlacementId = Brand<string, "PlacementId">;
/** A lifecycle row's id, which is also the agent's job id: one attempt has one name on both sides. */
export type JobId = Brand<string, "JobId">;
export type RolloutId = Brand<string, "RolloutId">;
export type MoveId = Brand<string, "MoveId">;
export type DrainId = Brand<string, "DrainId">;
export type DeltaId = Brand<string, "DeltaId">;
export type EventId = Brand<string, "EventId">;
export type TokenId = Brand<string, "TokenId">;
export type AlertId = Brand<string, "AlertId">;
export type WebhookId = Brand<string, "WebhookId">;
export type WebhookDeliveryId = Brand<string, "WebhookDeliveryId">;
/** Lower-case hex SHA-256 of a certificate's DER. */
export type Fingerprint = Brand<string, "Fingerprint">;

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
const NAME = /^[a-z0-9][a-z0-9-]{0,62}$/;

export const isUuid = (text: string): boolean => UUID.test(text);
/** Names of hosts, deployments and components: DNS-label shaped, so they are safe in paths, logs and certificates. */
export const isName = (text: string): boolean => NAME.test(text);
export const NAME_PATTERN = NAME.source;

/**
 * A UUIDv7: sortable by creation time, made in the application because a database sequence repeats after a
 * restore and would give a new job the name of an old one.
 */
export function uuidv7(now: Instant, rng: Rng): string {
  const bytes = rng.bytes(16);
  let ms = Math.max(0, Math.floor(now));
  for (let i = 5; i >= 0; i--) {
    bytes[i] = ms % 256;
    ms = Math.floor(ms / 256);
  }
  bytes[6] = (bytes[6]! & 0x0f) | 0x70;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  let hex = "";
  for (const byte of bytes) hex += byte.toString(16).padStart(2, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}
