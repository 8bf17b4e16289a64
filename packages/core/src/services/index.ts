export * from "./failover.ts";
export * from "./snapshot.ts";
export * from "./build-service.ts";
export * from "./order-endpoints.ts";
export * from "./resolve.ts";
