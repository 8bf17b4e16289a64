/** Labels compared and turned into paths. Names are checked here again: a path is the worst place to find out. */
import { DriverError, isName, isUuid } from "@skep/core";
import type { WorkloadLabels } from "@skep/core";

/** The same start, asked for again. */
export const sameLabels = (a: WorkloadLabels, b: WorkloadLabels): boolean =>
  a.placementId === b.placementId && a.component === b.component && a.jobId === b.jobId &&
  a.generation === b.generation && a.epoch === b.epoch && a.componentHash === b.componentHash;

export const keyOf = (labels: { readonly placementId: string; readonly component: string }): string => `${labels.placementId}/${labels.component}`;

export const whose = (labels: WorkloadLabels): string =>
  `${labels.deployment}/${labels.component} (generation ${labels.generation}, job ${labels.jobId})`;

/** Throws `DriverError("start_failed")` for anything that is not a UUID and a DNS label. */
export function assertSafeNames(placementId: string, component: string): void {
  if (!isUuid(placementId)) throw new DriverError("start_failed", `placement id ${JSON.stringify(placementId)} is not a UUID`);
  if (!isName(component)) throw new DriverError("start_failed", `component name ${JSON.stringify(component)} is not a valid name`);
}
