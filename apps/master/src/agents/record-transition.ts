/** A breaker's edges as events. Told by the master whose breaker it is; nothing is decided by them. */
import type { Store } from "@skep/core";
import type { CallObserver } from "./circuits.ts";

type Transition = Parameters<CallObserver["onTransition"]>[0];

export async function recordTransition(store: Store, { host, to, cause, because, told }: Transition): Promise<void> {
  if (!told) return;
  const opened = to === "open";
  const stranger = opened && cause === "identity";
  await store.transaction((tx) => tx.appendEvent({
    kind: stranger ? "host.identity_mismatch" : opened ? "breaker.opened" : "breaker.closed",
    severity: stranger ? "error" : opened ? "warning" : "info",
    message: stranger
      ? `whoever answers for host ${host.name} is not the pinned host: ${because ?? "its certificate is another"}; a master refuses to call it`
      : opened ? `a master stopped calling host ${host.name}: ${because ?? "its last calls failed"}` : `a master calls host ${host.name} again`,
    hostId: host.id,
    data: { ...(cause === undefined ? {} : { cause }) },
  }), { pool: "background" });
}
