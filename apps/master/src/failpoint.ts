/** `SKEP_FAILPOINT=name[:nth]`: the process kills itself at the nth passing of a named instant, so that a test can stop it exactly there. */
import { SkepError } from "@skep/core";
import { FAILPOINTS, type ControlDeps, type Failpoint } from "./ports.ts";

export interface FailpointSetting {
  readonly name: Failpoint;
  /** 1 = the first time. */
  readonly nth: number;
}

/** Throws `invalid_request` for a name that does not exist: a test that never fires proves nothing. */
export function parseFailpoint(text: string): FailpointSetting {
  const [name = "", nth = "1"] = text.split(":");
  const found = FAILPOINTS.find((known) => known === name);
  if (found === undefined || !/^[1-9]\d*$/.test(nth)) throw new SkepError("invalid_request", `must be name[:nth] with one of ${FAILPOINTS.join(", ")}`);
  return { name: found, nth: Number(nth) };
}

export function createFailpoint(setting: FailpointSetting | undefined): ControlDeps["failpoint"] {
  if (setting === undefined) return () => undefined;
  let passed = 0;
  return (name) => {
    if (name !== setting.name) return;
    passed += 1;
    // SIGKILL to oneself is delivered before the call returns: nothing after this line happens.
    if (passed === setting.nth) process.kill(process.pid, "SIGKILL");
  };
}
