/** `skep token …`: API tokens. A secret is shown once, here, and kept nowhere. */
import { Option, type Command } from "commander";
import { ROLES, isUuid, type Role } from "@skep/core";
import { createTokenReply, tokenList, tokenView } from "@skep/protocol";
import { listAll } from "../api/pages.ts";
import { CliError } from "../cli-error.ts";
import { EXIT } from "../exit-codes.ts";
import { duration, oneOf, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { toned } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { formatTime } from "../text/time.ts";

const MONTH_S = 30 * 86_400;

export function registerToken(program: Command, act: Act): void {
  const token = program.command("token").description("API tokens: create, ls, rm");

  token.command("create").description("make one; its secret is shown once").argument("<name>", "for people", ref)
    .addOption(new Option("--role <role>", ROLES.join(", ")).makeOptionMandatory().argParser(oneOf(ROLES)))
    .addOption(new Option("--ttl <duration>", "how long it is good").default(MONTH_S, "30d").argParser(duration(60, 90 * 86_400)))
    .action(act(async ({ api, json, terminal }, name: string, flags: { role: Role; ttl: number }) => {
      const { data, raw } = await api.call("createToken", createTokenReply, { body: { name, role: flags.role, ttl_s: flags.ttl } });
      if (json) return terminal.json(raw);
      terminal.show(data.token);
      terminal.say(`${data.name} (${data.role}) is good until ${formatTime(data.expires_at)}; the secret is not shown again. Use it as SKEP_TOKEN.`);
    }));

  token.command("ls").description("list them, without their secrets").action(act(async ({ api, json, terminal }) => {
    const { items, raw, at } = await listAll(api, "listTokens", tokenList);
    if (json) return terminal.json(raw);
    terminal.show(...renderTable(items, [
      { title: "ID", cell: (item) => item.id },
      { title: "NAME", cell: (item) => item.name },
      { title: "ROLE", cell: (item) => item.role },
      { title: "STATE", cell: (item) => (item.revoked_at !== null ? toned("revoked", "dim") : Date.parse(item.expires_at) <= at ? toned("expired", "dim") : toned("live", "good")) },
      { title: "EXPIRES", cell: (item) => formatTime(item.expires_at) },
    ], terminal.columns));
  }));

  token.command("rm").description("revoke one, at once").argument("<token>", "id, or name where it is the only live one", ref)
    .action(act(async (session, name: string) => {
      const id = isUuid(name) ? name : await idOf(session, name);
      const { data, raw } = await session.api.call("deleteToken", tokenView, { params: { id } });
      if (session.json) session.terminal.json(raw);
      else session.terminal.show(`${data.name} (${data.role}) is revoked`);
    }));
}

/** Names of tokens are not unique: of two with one name, the wrong one must not be revoked. */
async function idOf({ api }: Session, name: string): Promise<string> {
  const { items } = await listAll(api, "listTokens", tokenList);
  const live = items.filter((item) => item.name === name && item.revoked_at === null);
  if (live.length === 1) return live[0]!.id;
  if (live.length === 0) throw new CliError({ code: "token_not_found", detail: `There is no live token named ${name}.`, exit: EXIT.notFound, fix: "List them: skep token ls" });
  throw new CliError({ code: "ambiguous", detail: `There are ${live.length} live tokens named ${name}.`, exit: EXIT.conflict, fix: "Give the id of the one you mean: skep token ls" });
}
