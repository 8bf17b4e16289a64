/** A look in the words of the report. Pure. The rule: never a better state than was seen, and always why. */
import type { ObservedComponent } from "@skep/core";
import { exitText } from "../../runner/run-state.ts";
import type { RunState } from "../../runner/run-state.ts";
import type { ComponentDir } from "../component-dirs.ts";
import type { Look } from "./look.ts";

const plain = (state: RunState): ObservedComponent => ({
  labels: state.labels,
  state: state.state,
  ...(state.child === null ? {} : { pid: state.child.pid }),
  restarts: state.restarts,
  ports: state.ports,
  since: state.since,
  ...(state.exit?.code === undefined ? {} : { exitCode: state.exit.code }),
  ...(state.exit?.signal === undefined ? {} : { signal: state.exit.signal }),
  ...(state.error === undefined ? {} : { error: state.error }),
});

const gone = (state: RunState, as: "failed" | "stopped", error: string): ObservedComponent => {
  const { pid: _pid, ...rest } = plain(state);
  return { ...rest, state: as, error };
};

/** Undefined: nothing is there. */
export function decideObserved(dir: ComponentDir, look: Look): ObservedComponent | undefined {
  switch (look.kind) {
    case "none":
      return undefined;
    case "ended":
    case "supervised":
      return plain(look.state);
    case "rebooted":
      return gone(look.state, "stopped", "host rebooted");
    case "hung":
      if (look.state.child !== null && !look.childAlive) return gone(look.state, "failed", `its process is gone and its runner (pid ${look.state.runner.pid}) does not answer`);
      // A runner that is just booting does not answer yet either, and that is no fault.
      if (look.state.starts === 0) return plain(look.state);
      return { ...plain(look.state), error: `its runner (pid ${look.state.runner.pid}) does not answer; this is what it wrote last` };
    case "orphaned":
      return { ...plain(look.state), state: "unhealthy", pid: look.processes[0]?.pid, error: `runs without its runner (pid ${look.state.runner.pid} is dead): not watched, not restarted, output not kept` };
    case "lost":
      return gone(look.state, "failed", lostText(look.state));
    case "damaged": {
      const labels = { placementId: dir.placementId, component: dir.component, deployment: "", jobId: "", generation: 0, epoch: 0, componentHash: "" };
      const pid = look.processes[0]?.pid;
      const running = pid === undefined ? "nothing with its labels runs" : "something with its labels runs";
      return { labels, state: pid === undefined ? "failed" : "unhealthy", ...(pid === undefined ? {} : { pid }), restarts: 0, ports: {}, since: 0, error: `${look.error}; ${running}` };
    }
  }
}

function lostText(state: RunState): string {
  if (state.starts === 0) return "was not started: its launch was cut off";
  if (state.state === "backoff" && state.exit !== undefined) return `${exitText(state.exit)}, and its runner died before the restart`;
  return "its runner and its process are gone; how it ended is unknown";
}
