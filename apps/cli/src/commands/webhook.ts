/** `skep webhook …`: who is told of alerts, and what became of each delivery. */
import { InvalidArgumentError, Option, type Command } from "commander";
import { EVENT_SEVERITIES, WEBHOOK_DELIVERY_STATUSES, isUuid, type EventSeverity, type WebhookDeliveryStatus } from "@skep/core";
import { createWebhookReply, webhookDeliveryList, webhookDeliveryReply, webhookList, webhookReply, webhookView } from "@skep/protocol";
import { listAll } from "../api/pages.ts";
import { collect, integer, oneOf, ref } from "../options.ts";
import type { Act, Session } from "../session.ts";
import { deliveryTable, webhookTable } from "../views/alerts.ts";

interface FilterFlags {
  readonly kind?: readonly string[];
  readonly minSeverity?: EventSeverity;
}

const filterOptions = (command: Command): Command =>
  command
    .option("--kind <prefix>", "only alerts opened by events of such a kind, for example host. or rollout.failed; may be repeated", collect)
    .option("--min-severity <severity>", `${EVENT_SEVERITIES.join(", ")}: this one and what is worse`, oneOf(EVENT_SEVERITIES));

export function registerWebhook(program: Command, act: Act): void {
  const webhook = program.command("webhook").description("receivers of alerts: add, ls, update, enable, disable, rm, test, deliveries, retry");
  const named = (name: string, description: string): Command => webhook.command(name).description(description).argument("<webhook>", "name or id", ref);

  filterOptions(named("add", "tell a receiver of alerts; the secret that signs what it is sent is shown once").argument("<url>", "http or https; - reads it from stdin, where other users cannot see it"))
    .action(act(async (session, name: string, url: string, flags: FilterFlags) => {
      const { api, json, terminal } = session;
      const { data, raw } = await api.call("createWebhook", createWebhookReply, { body: { name, url: await urlOf(session, url), ...filterOf(flags) } });
      if (json) return terminal.json(raw);
      terminal.show(data.secret);
      terminal.say(...data.warnings.map((words) => `warning: ${words}`), `${data.name} is told of ${data.kinds.length === 0 ? "every alert" : `alerts from ${data.kinds.join(" ")}`} from ${data.min_severity} on; the secret is not shown again. Try it: skep webhook test ${data.name}`);
    }));

  webhook.command("ls").description("list them, without their secrets").action(act(async ({ api, json, terminal }) => {
    const { data, raw } = await api.call("listWebhooks", webhookList);
    if (json) terminal.json(raw);
    else if (data.items.length === 0) terminal.say("No webhooks. Add one: skep webhook add NAME URL");
    else terminal.show(...webhookTable(data.items, terminal.columns));
  }));

  filterOptions(named("update", "change its URL, or what it is told of").option("--to <url>", "where it is from now on; - reads it from stdin"))
    .action(act(async (session, name: string, flags: FilterFlags & { to?: string }) => {
      const { api, json, terminal } = session;
      const { data, raw } = await api.call("updateWebhook", webhookReply, { params: { webhook: name }, body: { ...filterOf(flags), ...(flags.to === undefined ? {} : { url: await urlOf(session, flags.to) }) } });
      if (json) return terminal.json(raw);
      terminal.say(...data.warnings.map((words) => `warning: ${words}`));
      terminal.show(`${data.name} is at ${data.url}, told of ${data.kinds.length === 0 ? "every alert" : `alerts from ${data.kinds.join(" ")}`} from ${data.min_severity} on`);
    }));

  for (const [verb, enabled, words] of [["enable", true, "is told of alerts again, and of what waited for it"], ["disable", false, "is told of nothing until it is enabled"]] as const) {
    named(verb, enabled ? "tell it of alerts again" : "tell it of nothing; what waits for it waits on").action(act(async ({ api, json, terminal }, name: string) => {
      const { data, raw } = await api.call("updateWebhook", webhookReply, { params: { webhook: name }, body: { enabled } });
      if (json) terminal.json(raw);
      else terminal.show(`${data.name} ${words}`);
    }));
  }

  named("rm", "remove it, and what waits to be sent to it").action(act(async ({ api, json, terminal }, name: string) => {
    const { data, raw } = await api.call("deleteWebhook", webhookView, { params: { webhook: name } });
    if (json) terminal.json(raw);
    else terminal.show(`${data.name} is removed`);
  }));

  named("test", "send it a test delivery").action(act(async ({ api, json, terminal }, name: string) => {
    const { data, raw } = await api.call("testWebhook", webhookDeliveryReply, { params: { webhook: name } });
    if (json) terminal.json(raw);
    else terminal.show(`test ${data.delivery_id} is on its way; what became of it: skep webhook deliveries ${data.webhook}`);
  }));

  named("deliveries", "what was sent to it, newest first")
    .option("--status <status>", WEBHOOK_DELIVERY_STATUSES.join(", "), oneOf(WEBHOOK_DELIVERY_STATUSES))
    .addOption(new Option("--limit <n>", "at most that many").default(50).argParser(integer(1, 100_000)))
    .action(act(async ({ api, json, terminal }, name: string, flags: { status?: WebhookDeliveryStatus; limit: number }) => {
      const { items, raw, at } = await listAll(api, "listWebhookDeliveries", webhookDeliveryList, { params: { webhook: name }, query: { status: flags.status } }, flags.limit);
      if (json) terminal.json(raw);
      else if (items.length === 0) terminal.say("No deliveries.");
      else terminal.show(...deliveryTable(items, at, terminal.columns));
    }));

  named("retry", "send a delivery that was given up again").argument("<delivery>", "id", deliveryId).action(act(async ({ api, json, terminal }, name: string, delivery: string) => {
    const { data, raw } = await api.call("retryWebhookDelivery", webhookDeliveryReply, { params: { webhook: name, delivery } });
    if (json) terminal.json(raw);
    else terminal.show(`${data.delivery_id} is on its way again; what became of it: skep webhook deliveries ${data.webhook}`);
  }));
}

/** A receiver's URL is often its secret, and `ps` shows command lines to everybody. */
const urlOf = async (session: Session, text: string): Promise<string> => (text === "-" ? (await session.readStdin()).trim() : text);

function deliveryId(text: string): string {
  if (!isUuid(text)) throw new InvalidArgumentError("Give the id that `skep webhook deliveries NAME` shows.");
  return text;
}

const filterOf = ({ kind, minSeverity }: FilterFlags): { kinds?: readonly string[]; min_severity?: EventSeverity } => ({ ...(kind === undefined ? {} : { kinds: kind }), ...(minSeverity === undefined ? {} : { min_severity: minSeverity }) });
