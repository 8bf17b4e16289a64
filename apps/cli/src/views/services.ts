/** Services: how many of their endpoints are healthy, which, and why the others are not. */
import type { EndpointJson, JudgedEndpointJson, ResolvedServiceJson, ServiceDetailJson, ServiceJson } from "@skep/protocol";
import { toned, type Line, type Toned } from "../text/line.ts";
import { renderTable } from "../text/table.ts";
import { factLines } from "./hosts.ts";
import { state } from "./tones.ts";

export const serviceTable = (services: readonly ServiceJson[], columns: number | undefined): Line[] =>
  renderTable(services, [
    { title: "NAME", cell: (row) => row.name },
    { title: "HEALTHY", cell: healthyOf },
    { title: "STATUS", cell: (row) => state(row.status) },
    { title: "PORTS", cell: portsOf, gives: true },
    { title: "FALLBACKS", cell: (row) => row.fallbacks.join(" "), gives: true },
  ], columns);

const healthyOf = ({ healthy, total }: ServiceJson): Toned => toned(`${healthy}/${total}`, healthy === 0 ? "bad" : healthy < total ? "warn" : "good");
const portsOf = ({ ports }: ServiceJson): string => ports.map(({ component, name, protocol }) => `${component}/${name}${protocol === "udp" ? "/udp" : ""}`).join(" ");

export function serviceLines(service: ServiceDetailJson, columns: number | undefined): Line[] {
  const ill = service.endpoints.filter((endpoint) => !endpoint.healthy);
  return [
    ...factLines([
      ["name", toned(service.name, "bold")],
      ["id", service.id],
      ["status", state(service.status)],
      ["healthy", healthyOf(service)],
      ["ports", portsOf(service)],
      ["fallbacks", service.fallbacks.join(" ")],
    ]),
    ...(service.endpoints.length === 0 ? [] : ["", ...judgedTable(service.endpoints, columns)]),
    // In full and not in the table: what it waits for is what a person came to read.
    ...(ill.length === 0 ? [] : ["", toned("Not healthy", "bold"), ...ill.map((endpoint): Line => `  ${endpoint.host} ${endpoint.component}/${endpoint.port_name}: ${endpoint.because}`)]),
  ];
}

const judgedTable = (endpoints: readonly JudgedEndpointJson[], columns: number | undefined): Line[] =>
  renderTable(endpoints, [
    { title: "ADDRESS", cell: addressOf },
    { title: "HOST", cell: (row) => row.host, gives: true },
    { title: "PORT", cell: (row) => `${row.component}/${row.port_name}`, gives: true },
    { title: "STATE", cell: (row) => (row.state === null ? "" : state(row.state)) },
    { title: "HEALTHY", cell: (row) => (row.healthy ? toned("yes", "good") : toned("no", "bad")) },
  ], columns);

export const resolvedTable = ({ endpoints }: ResolvedServiceJson, columns: number | undefined): Line[] =>
  renderTable(endpoints, [
    { title: "ADDRESS", cell: addressOf },
    { title: "HOST", cell: (row) => row.host, gives: true },
    { title: "PORT", cell: (row) => `${row.component}/${row.port_name}`, gives: true },
    { title: "DEPLOYMENT", cell: (row) => row.deployment, gives: true },
  ], columns);

function addressOf({ address, port }: Pick<EndpointJson | JudgedEndpointJson, "address" | "port">): string {
  if (address === null || port === null) return "";
  return `${address.includes(":") ? `[${address}]` : address}:${port}`;
}
