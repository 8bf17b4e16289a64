/** Every host that could answer: the enrolled ones that are not decommissioned. */
import type { HostRecord, Reads } from "@skep/core";

const PAGE = 500;

export async function everyHost(store: Pick<Reads, "listHosts">): Promise<HostRecord[]> {
  const hosts: HostRecord[] = [];
  for (let after: string | undefined; ; ) {
    const views = await store.listHosts({ limit: PAGE, after });
    hosts.push(...views.map((view) => view.host).filter((host) => host.status !== "pending" && host.status !== "decommissioned"));
    after = views.at(-1)?.host.id;
    if (views.length < PAGE) return hosts;
  }
}
