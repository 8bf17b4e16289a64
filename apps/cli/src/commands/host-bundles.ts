/** `skep host add` and `skep host bundle`: the way of a host into the fleet. */
import { Option, type Command } from "commander";
import { createHostReply } from "@skep/protocol";
import type { Reply } from "../api/client.ts";
import { createBundleFile, pastedBundle, type BundleFile } from "../bundle-file.ts";
import { CliError } from "../cli-error.ts";
import { duration, integer, pair, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { toned } from "../text/line.ts";
import { formatTime } from "../text/time.ts";

interface BundleFlags {
  readonly ttl: number;
  readonly withKey?: boolean;
  readonly out?: string;
}
interface AddFlags extends BundleFlags {
  readonly address?: string;
  readonly agentPort?: number;
  readonly label?: Record<string, string>;
  readonly notes?: string;
  readonly allowedCidr?: string;
}
type Created = ReturnType<(typeof createHostReply)["parse"]>;

const withBundle = (command: Command): Command =>
  command
    .addOption(new Option("--ttl <duration>", "how long the token is good").default(900, "15m").argParser(duration(10, 86_400)))
    .option("--with-key", "with a ready key, for hosts that cannot do the round trip; good for 1 h, to rotate only")
    .option("--out <file>", "where the bundle goes (default NAME.skep; - prints it to stdout and writes none)");

export function registerHostBundles(host: Command, act: Act): void {
  withBundle(host.command("add").description("create a host and the bundle it enrols with").argument("<name>", "a new name", ref))
    .option("--address <address>", "where the master reaches it")
    .option("--agent-port <port>", "its agent's port; 0 = it says so itself", integer(0, 65_535))
    .option("--label <k=v>", "may be repeated", pair("a label"))
    .option("--notes <text>", "for people")
    .option("--allowed-cidr <cidr>", "the address it may register with")
    .action(act(async (session, name: string, flags: AddFlags) => {
      const body = {
        name,
        ...bundleBody(flags),
        ...(flags.address === undefined ? {} : { address: flags.address }),
        ...(flags.agentPort === undefined ? {} : { agent_port: flags.agentPort }),
        ...(flags.label === undefined ? {} : { labels: flags.label }),
        ...(flags.notes === undefined ? {} : { notes: flags.notes }),
        ...(flags.allowedCidr === undefined ? {} : { allowed_cidr: flags.allowedCidr }),
      };
      await issue(session, name, flags, async () => {
        try {
          return await session.api.call("createHost", createHostReply, { body });
        } catch (error) {
          // Our own key was used: an earlier attempt made the host and its answer was lost, with the secret in it.
          if (!(error instanceof CliError) || error.code !== "secret_shown_once") throw error;
          return session.api.call("createBundle", createHostReply, { params: { host: name }, body: bundleBody(flags) });
        }
      });
    }));

  withBundle(host.command("bundle").description("a new bundle for a host, for example after it was rebuilt").argument("<host>", "name or id", ref))
    .action(act(async (session, name: string, flags: BundleFlags) => {
      await issue(session, name, flags, () => session.api.call("createBundle", createHostReply, { params: { host: name }, body: bundleBody(flags) }));
    }));
}

const bundleBody = ({ ttl, withKey }: BundleFlags): object => ({ ttl_s: ttl, mode: withKey === true ? "with_key" : "csr" });

async function issue(session: Session, name: string, flags: BundleFlags, create: () => Promise<Reply<Created>>): Promise<void> {
  const { terminal, json } = session;
  // A program that asks for JSON gets the bundle in it; a file only when it asks for one as well.
  const path = flags.out ?? (json ? "-" : `${name}.skep`);
  const file = path === "-" ? undefined : await createBundleFile(path);
  const reply = await create().catch(async (error: unknown) => {
    await file?.discard();
    throw error;
  });
  const raw = (reply.raw as { bundle: unknown }).bundle;
  await file?.write(raw);
  if (json) terminal.json(reply.raw);
  else if (file === undefined) terminal.json(raw);
  else describe(session, reply.data, raw, file);
}

/** A key is never shown: terminals keep what they have shown. */
function describe({ terminal }: Session, { host, bundle }: Created, raw: unknown, file: BundleFile): void {
  terminal.show(
    [toned(host.name, "bold"), ` is known, and waits for its agent.  ${host.id}`],
    `${file.path}   ${bundle.key_pem === undefined ? "one use" : "with a key: keep it secret"}, expires ${formatTime(bundle.expires_at)}, CA sha256:${bundle.ca_sha256.slice(0, 16)}…`,
    "",
    "On the host, with the file:",
    `  skep agent enrol ${file.path.split("/").at(-1)!}`,
    ...(bundle.key_pem === undefined ? ["or pasted, without it:", `  skep agent enrol ${pastedBundle(raw)}`] : []),
    "then:",
    "  skep agent",
  );
}
