/** `skep redeploy`, `skep rollback`, `skep teardown`: operations that need a name and little else. */
import type { Command } from "commander";
import { acceptedOperation, type AcceptedOperation } from "@skep/protocol";
import type { Reply } from "../api/client.ts";
import type { ExitCode } from "../exit-codes.ts";
import { integer, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { runOperation } from "../wait/run-operation.ts";
import { rolloutOf, timeoutOf, waitOf, withOperation, withRollout, type OperationFlags, type RolloutFlags } from "./operations.ts";

type Route = "redeployDeployment" | "rollbackDeployment" | "teardownDeployment";

const send = (session: Session, route: Route, deployment: string, body: object): Promise<Reply<AcceptedOperation>> =>
  session.api.call(route, acceptedOperation, { params: { deployment }, body });

export function registerAgain(program: Command, act: Act): void {
  withRollout(withOperation(program.command("redeploy").description("apply the present spec once more").argument("<deployment>", "name or id", ref)))
    .action(act(async (session, deployment: string, flags: OperationFlags & RolloutFlags): Promise<ExitCode> =>
      runOperation(session, "redeploy", await send(session, "redeployDeployment", deployment, { ...timeoutOf(flags), ...rolloutOf(flags) }), waitOf(flags))));

  withRollout(withOperation(program.command("rollback").description("apply an earlier generation's spec, as a new generation").argument("<deployment>", "name or id", ref)))
    .requiredOption("--generation <n>", "which one; skep status NAME lists them", integer(1, Number.MAX_SAFE_INTEGER))
    .action(act(async (session, deployment: string, flags: OperationFlags & RolloutFlags & { generation: number }): Promise<ExitCode> =>
      runOperation(session, "rollback", await send(session, "rollbackDeployment", deployment, { generation: flags.generation, ...timeoutOf(flags), ...rolloutOf(flags) }), waitOf(flags))));

  withOperation(program.command("teardown").description("stop a deployment and remove it everywhere").argument("<deployment>", "name or id", ref))
    .option("--force", "kill what does not stop")
    .option("--volumes", "remove its volumes too, with all that is in them; without it they are kept")
    .action(act(async (session, deployment: string, flags: OperationFlags & { force?: boolean; volumes?: boolean }): Promise<ExitCode> =>
      runOperation(session, "teardown", await send(session, "teardownDeployment", deployment, { force: flags.force === true, ...(flags.volumes === true ? { volumes: true } : {}), ...timeoutOf(flags) }), waitOf(flags))));
}
