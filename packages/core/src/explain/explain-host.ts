/** Why a host is as it is: its health's own reasons, with a sentence in front. */
import { seconds } from "../liveness/decide-host.ts";
import { decideHealth, type HealthFacts } from "../liveness/decide-health.ts";
import type { ExplainedState } from "./explain-lifecycle.ts";

export function explainHost(facts: HealthFacts): ExplainedState {
  const { host } = facts;
  const { health, ageMs, reasons } = decideHealth(facts);
  const because = host.statusBecause === undefined ? "" : ` (${host.statusBecause})`;
  const beat = ageMs === undefined ? "never heard" : `last heartbeat ${seconds(ageMs)} ago`;
  return {
    summary: `${host.name} is ${host.status}${because}, health ${health}; ${beat}.`,
    reasons: reasons.length > 0 ? reasons : [{ code: "healthy", message: "It beats on time and nothing speaks against it.", next: "Nothing.", since: facts.liveness?.lastHeartbeatAt }],
  };
}
