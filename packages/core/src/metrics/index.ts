export * from "./fleet-gauges.ts";
export * from "./version-skew.ts";
