/** What the host's owner did not allow is refused on every path of the agent, where links lead included. */
import { mkdirSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { NO_ALLOWANCES, SkepError, type Allowances, type MountSpec, type Spec } from "@skep/core";
import { tempDir } from "@skep/testkit";
import { expect, test } from "vitest";
import { allowanceProblems } from "../src/executor/check-allowances.ts";
import { realPath } from "../src/real-path.ts";
import { deploy, mutate, rig, specOf, target } from "./kit/executor-kit.ts";

const bind = (source: string): MountSpec => ({ type: "bind", source, target: "/data" });
const withContainer = (container: Partial<NonNullable<Spec["components"][number]["container"]>>): Spec => {
  const spec = specOf("web");
  return { ...spec, driver: "docker", components: spec.components.map((one) => ({ ...one, container: { image: "busybox", ...container } })) };
};
const allowing = (patch: Partial<Allowances>): Allowances => ({ ...NO_ALLOWANCES, ...patch });
const messages = async (spec: Spec, allowed: Allowances): Promise<string[]> => (await allowanceProblems(spec, { allowed: () => allowed, realpath: realPath })).map((one) => one.message);

test("a link out of the allowed folder is refused; links within it, and what is not there yet, are judged by where they lead", async () => {
  const dir = tempDir("mounts");
  const [inside, outside] = [join(dir, "srv/data"), join(dir, "secret")];
  for (const path of [inside, outside]) mkdirSync(path, { recursive: true });
  symlinkSync(outside, join(dir, "srv/out"));
  symlinkSync(inside, join(dir, "srv/in"));
  symlinkSync("loop", join(dir, "srv/loop"));
  symlinkSync(join(dir, "srv"), join(dir, "alias"));
  const allowed = allowing({ hostMounts: [join(dir, "srv"), join(dir, "alias")] });
  const judge = (source: string): Promise<string[]> => messages(withContainer({ mounts: [bind(source)] }), allowed);
  for (const good of ["srv/data", "srv/in", "srv/not-yet/there", "alias/data"]) expect(await judge(join(dir, good))).toEqual([]);
  for (const bad of ["srv/out", "srv/out/deeper", "alias/out", "srv/out/not-yet"]) expect(await judge(join(dir, bad))).toEqual([expect.stringMatching(new RegExp(`leads to ${outside}.*outside of allow.host_mounts`))]);
  expect(await judge(join(dir, "srv/loop"))).toEqual([expect.stringContaining("cannot be followed (ELOOP)")]);
});

test("every problem is named at once, by text and by link", async () => {
  const dir = tempDir("mounts");
  mkdirSync(join(dir, "srv"));
  symlinkSync("/etc", join(dir, "srv/etc"));
  const spec = withContainer({ privileged: true, cap_add: ["NET_ADMIN"], pid_mode: "host", mounts: [bind("/etc"), bind(join(dir, "srv/etc"))] });
  expect(await messages(spec, allowing({ hostMounts: [join(dir, "srv")] }))).toHaveLength(5);
});

test("deploy, mutate and dry run are refused alike; what is allowed now is asked each time", async () => {
  let allowed = NO_ALLOWANCES;
  // The scripted driver stands in for an engine: the refusal comes before any driver is asked.
  const { executor, driver, idle } = await rig({ allowed: () => allowed });
  Object.assign(driver, { name: "docker" });
  const at = target();
  const spec = withContainer({ privileged: true });
  const refused = expect.objectContaining({ code: "spec_refused", status: 422, errors: [{ pointer: "/components/0/container/privileged", message: expect.stringContaining("allow.privileged") }] });
  const caught = (work: Promise<unknown>): Promise<unknown> => work.then(() => "it was taken", (error: unknown) => (error instanceof SkepError ? error : Promise.reject(error as Error)));
  expect(await caught(executor.admit(deploy(at, 1, spec)))).toEqual(refused);
  expect(await caught(executor.dryRun(deploy(at, 1, spec)))).toEqual(refused);
  allowed = allowing({ privileged: true });
  await executor.admit(deploy(at, 1, spec));
  await idle();
  expect(driver.running()).toEqual(["web@1"]);
  allowed = NO_ALLOWANCES;
  expect(await caught(executor.admit(mutate(at, 2, 1, spec)))).toEqual(refused);
});
