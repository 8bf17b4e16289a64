/** Looks at what fires, a part at a time: most alerts are ended by an event, and this ends those whose event never comes. */
import { decideOver, type AlertRecord, type Reads } from "@skep/core";
import type { ControlDeps } from "../ports.ts";

/** Each look reads a few rows for each alert; a fleet with 2,000 of them is gone through in five minutes. */
const EVERY_MS = 30_000;
const PAGE = 200;

export interface Over {
  readonly alert: AlertRecord;
  readonly because: string;
}

export interface Standing {
  /** Alerts that are over, of the part whose turn it is; nothing while no turn is due. */
  lookAround(): Promise<readonly Over[]>;
  whyOver(reads: Reads, alert: AlertRecord): Promise<string | undefined>;
  /** From the first one on, with the next look. */
  lookAtAll(): void;
}

export function createStanding(deps: ControlDeps): Standing {
  let after: string | undefined;
  let nextLook = deps.clock.mono() + EVERY_MS;

  const whyOver = async (reads: Reads, alert: AlertRecord): Promise<string | undefined> => {
    const { hostId, deploymentId, placementId, lifecycleId } = alert;
    const [newest] = deploymentId === undefined ? [] : await reads.listRollouts({ deploymentId, newestFirst: true, limit: 1 });
    return decideOver(alert, {
      host: hostId === undefined ? undefined : await reads.findHostView(hostId),
      deployment: deploymentId === undefined ? undefined : await reads.findDeployment(deploymentId),
      placement: placementId === undefined ? undefined : await reads.findPlacement(placementId),
      row: lifecycleId === undefined ? undefined : await reads.findLifecycle(lifecycleId),
      rollout: newest,
    });
  };

  return {
    whyOver,
    lookAtAll: () => {
      after = undefined;
      nextLook = deps.clock.mono();
    },
    async lookAround() {
      if (deps.clock.mono() < nextLook) return [];
      const alerts = await deps.store.listAlerts({ state: "firing", limit: PAGE, after });
      const whole = alerts.length < PAGE;
      after = whole ? undefined : alerts.at(-1)?.id;
      nextLook = deps.clock.mono() + EVERY_MS;
      const over: Over[] = [];
      for (const alert of alerts) {
        const because = await whyOver(deps.store, alert);
        if (because !== undefined) over.push({ alert, because });
      }
      return over;
    },
  };
}
