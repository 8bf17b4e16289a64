/**
 * Whether what an alert is about is over, seen from the present state and not from events: some states end without
 * an event of their own, and an expired cursor may have passed over the event that said so.
 */
import type { DeploymentRecord } from "../ports/records.ts";
import type { HostView, PlacementView } from "../ports/store.ts";
import { visiblePlacement } from "../deploy/visible-state.ts";
import type { LifecycleRow } from "../lifecycle/row.ts";
import type { RolloutRecord } from "../rollout/record.ts";
import { addMs, MINUTE_MS } from "../time.ts";
import type { AlertRecord } from "./record.ts";

/** Two of a breaker's cool-downs. */
const ANSWERED_MS = 2 * MINUTE_MS;

/** Of the subjects that the alert names; undefined = it is gone, or the alert names none. */
export interface AlertSubjects {
  readonly host: HostView | undefined;
  readonly deployment: DeploymentRecord | undefined;
  readonly placement: PlacementView | undefined;
  readonly row: LifecycleRow | undefined;
  /** The deployment's newest. */
  readonly rollout: RolloutRecord | undefined;
}

/** Why it is over, in words; undefined = it is not, or nothing here can tell. */
export function decideOver(alert: AlertRecord, now: AlertSubjects): string | undefined {
  if (alert.hostId !== undefined && (now.host === undefined || now.host.host.status === "decommissioned")) return "its host was decommissioned";
  if (alert.deploymentId !== undefined && (now.deployment === undefined || now.deployment.deletedAt !== undefined)) return "its deployment was torn down";
  if (alert.placementId !== undefined && (now.placement === undefined || now.placement.placement.removedAt !== undefined)) return "its placement is gone";
  switch (alert.rule) {
    case "host_unreachable":
      return hostIsNot(now, "unreachable");
    case "host_suspect":
      return hostIsNot(now, "suspect");
    case "boot_blocked":
    case "boot_degraded": {
      const boot = now.host?.report?.boot;
      const wanted = alert.rule === "boot_blocked" ? ["complete", "degraded"] : ["complete", "blocked"];
      return boot === undefined ? "its host reports no boot sequence" : wanted.includes(boot.state) ? `its boot is ${boot.state}` : undefined;
    }
    case "breaker_open":
    case "identity_mismatch": {
      // A breaker is in its master's memory: one that died with it is never said to have closed. Long enough for one that
      // lives to have tried again and to have said how that went.
      const answeredAt = now.host?.reachability?.lastOkAt;
      return answeredAt !== undefined && answeredAt >= addMs(alert.lastAt, ANSWERED_MS) ? "it has answered a master since" : undefined;
    }
    case "host_network_unreachable":
      return now.host?.reachability?.state === "reachable" ? "it answers its masters" : undefined;
    case "host_flapping":
      return now.host?.reachability?.flapping === false ? "it no longer comes and goes" : undefined;
    case "operation_lost":
    case "operation_needs_decision":
      return now.row === undefined ? "its row is gone" : now.row.status === "lost" ? undefined : `the operation is ${now.row.status}`;
    case "deployment_failed":
      return deploymentIs(now, ["active", "degraded"]);
    case "deployment_degraded":
      return deploymentIs(now, ["active", "failed", "teardown_failed"]);
    case "operation_failed":
    case "crash_loop":
    case "drift":
      return asDesired(now) ?? deploymentIs(now, ["active"]);
    case "rollout_rolling_back":
      return rolloutIsNot(now, "rolling_back");
    case "rollout_failed":
      return rolloutIsNot(now, "failed");
    case "rollout_paused":
      return rolloutIsNot(now, "paused");
    default:
      return undefined;
  }
}

const hostIsNot = ({ host }: AlertSubjects, status: HostView["host"]["status"]): string | undefined => (host === undefined || host.host.status === status ? undefined : `the host is ${host.host.status}`);
const deploymentIs = ({ deployment }: AlertSubjects, over: readonly DeploymentRecord["status"][]): string | undefined =>
  (deployment !== undefined && over.includes(deployment.status) ? `the deployment is ${deployment.status}` : undefined);
const rolloutIsNot = ({ rollout }: AlertSubjects, status: RolloutRecord["status"]): string | undefined => (rollout === undefined || rollout.status === status ? undefined : `its newest rollout is ${rollout.status}`);

function asDesired({ placement: view }: AlertSubjects): string | undefined {
  if (view === undefined || view.openRow !== undefined || view.observed?.generation !== view.placement.generation) return undefined;
  return visiblePlacement(view).state === view.placement.desired ? "its host reports it as desired" : undefined;
}
