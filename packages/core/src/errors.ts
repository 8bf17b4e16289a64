/**
 * The error registry: every code the API, the agent and the CLI can utter, once. `docs/errors.md` is tied to it both
 * ways by `tools/docs.test.ts`. `fix` is the sentence that tells a person what to do next; a code without one
 * would be a refusal that does not explain itself.
 */
export interface ErrorMeaning {
  readonly status: number;
  /** Whether the same request may succeed later without a change by the caller. */
  readonly retryable: boolean;
  readonly title: string;
  readonly fix: string;
}

export const ERRORS = {
  // the request itself
  invalid_request: { status: 422, retryable: false, title: "The request is not valid", fix: "Correct the fields listed in `errors` and send it again." },
  malformed_json: { status: 400, retryable: false, title: "The body is not valid JSON", fix: "Send one JSON document with content type application/json." },
  unsupported_media_type: { status: 415, retryable: false, title: "Only application/json is accepted", fix: "Set the header Content-Type: application/json." },
  payload_too_large: { status: 413, retryable: false, title: "The body is too large", fix: "Send less at once; the limit is in `detail`." },
  route_not_found: { status: 404, retryable: false, title: "No such route", fix: "See /openapi.json for the routes there are." },
  rate_limited: { status: 429, retryable: true, title: "Too many requests", fix: "Wait for Retry-After seconds." },
  overloaded: { status: 503, retryable: true, title: "The master is shedding load", fix: "Wait for Retry-After seconds and try again." },
  request_timeout: { status: 408, retryable: true, title: "The request took too long to arrive", fix: "Send it again over a faster connection." },
  internal: { status: 500, retryable: true, title: "Something broke on our side", fix: "Look up error_id in the master's log." },
  database_unavailable: { status: 503, retryable: true, title: "The database cannot be reached", fix: "Check PostgreSQL; nothing was lost, try again." },
  schema_too_new: { status: 500, retryable: false, title: "The database was migrated by a newer Skep", fix: "Run the newer version, or restore a database of this one." },
  // operators
  unauthenticated: { status: 401, retryable: false, title: "A token is missing or not valid", fix: "Send Authorization: Bearer skp_… of a live token." },
  forbidden: { status: 403, retryable: false, title: "The token's role does not allow this", fix: "Use a token with the role named in `detail`." },
  token_not_found: { status: 404, retryable: false, title: "No such token", fix: "List tokens with GET /v1/tokens." },
  idempotency_key_reused: { status: 422, retryable: false, title: "The idempotency key was used for another request", fix: "Use a new key for a new request." },
  secret_shown_once: { status: 409, retryable: false, title: "That request has already made its secret, which is shown once", fix: "What it made is named in `detail`. For a host ask for a new bundle; revoke a token or remove a webhook whose secret is lost and make another." },
  bind_refused: { status: 422, retryable: false, title: "Plain HTTP on a routable address is refused", fix: "Bind to 127.0.0.1, or give a certificate and key for TLS." },
  request_in_progress: { status: 409, retryable: true, title: "The same request is still being worked on", fix: "Wait a moment and send it again with the same key." },
  cursor_expired: { status: 410, retryable: false, title: "The cursor is too old or of another database", fix: "List the current state, then follow from a fresh cursor." },
  cursor_mismatch: { status: 400, retryable: false, title: "The cursor belongs to another query", fix: "Start again without a cursor." },
  too_many_streams: { status: 429, retryable: true, title: "Too many open event streams", fix: "Close one of yours, or wait." },
  // hosts and identity
  host_not_found: { status: 404, retryable: false, title: "No such host", fix: "List hosts with `skep host ls`." },
  host_exists: { status: 409, retryable: false, title: "A host of that name exists", fix: "Choose another name, or re-issue its bundle." },
  host_unknown: { status: 404, retryable: false, title: "The master does not know this host", fix: "Enrol the host again: `skep host add`." },
  host_decommissioned: { status: 403, retryable: false, title: "This host was decommissioned", fix: "Enrol it as a new host if it is to return." },
  host_not_empty: { status: 409, retryable: false, title: "The host still has placements", fix: "Tear them down first, or use force." },
  host_draining: { status: 409, retryable: false, title: "The host is being drained", fix: "Cancel the drain first: `skep host drain NAME --cancel`." },
  drain_not_found: { status: 404, retryable: false, title: "The host was never drained", fix: "Start it: `skep host drain NAME`." },
  drain_not_open: { status: 409, retryable: false, title: "No drain of the host is open", fix: "Look at its last one: `skep host drain NAME --status`." },
  move_not_found: { status: 404, retryable: false, title: "No such move", fix: "List moves with `skep move ls`." },
  move_not_open: { status: 409, retryable: false, title: "The move has ended, or is past the point of return", fix: "Look at it: `skep move ls`." },
  host_unreachable: { status: 503, retryable: true, title: "The host cannot be reached", fix: "Check the host and its agent; queued work is kept." },
  circuit_open: { status: 503, retryable: true, title: "This master has stopped calling the host for a while", fix: "Its last calls failed: see why with `skep health HOST`. It tries again after Retry-After; when the host is mended, `skep host breaker-reset HOST` tries at once." },
  address_refused: { status: 422, retryable: false, title: "The agent address is not allowed", fix: "Use an address inside allowed_cidr; loopback needs --allow-loopback-agents." },
  cert_missing: { status: 403, retryable: false, title: "No client certificate", fix: "Enrol the host; agents speak mutual TLS only." },
  cert_mismatch: { status: 403, retryable: false, title: "The certificate is not pinned for this host", fix: "Check who presents it; re-issue the bundle if the host was rebuilt." },
  cert_expired: { status: 403, retryable: false, title: "The certificate has expired", fix: "Re-issue the host's bundle and enrol it again." },
  wrong_role: { status: 403, retryable: false, title: "The certificate has the wrong role", fix: "Only a master commands an agent, only a host reports to a master." },
  rotation_required: { status: 403, retryable: false, title: "This credential is only good for rotating", fix: "Call POST /swarm/rotate with a key made on the host." },
  enrolment_refused: { status: 404, retryable: false, title: "The enrolment token is unknown, used or expired", fix: "Ask for a new bundle: `skep host bundle`." },
  csr_refused: { status: 422, retryable: false, title: "The certificate request is not acceptable", fix: "Send a P-256 CSR of at most 8 KiB, signed by its own key." },
  key_reused: { status: 409, retryable: false, title: "That public key is already in use", fix: "Make a new key on the host." },
  session_stale: { status: 409, retryable: true, title: "The agent's session is not the open one", fix: "The agent registers again by itself." },
  // deployments
  deployment_not_found: { status: 404, retryable: false, title: "No such deployment", fix: "List deployments with `skep status`." },
  deployment_exists: { status: 409, retryable: false, title: "A deployment of that name exists", fix: "Use mutate, or deploy with replace." },
  operation_in_progress: { status: 409, retryable: true, title: "An operation on a placement is still open", fix: "Wait for it, or cancel it: the open rows are in `detail`." },
  no_eligible_host: { status: 409, retryable: true, title: "No host can take this placement", fix: "The reasons per host are in `errors`." },
  service_not_found: { status: 404, retryable: false, title: "No such service", fix: "List services with `skep service ls`." },
  no_healthy_endpoint: { status: 503, retryable: true, title: "Nothing of the service is healthy, and none of its fallbacks", fix: "What each endpoint waits for is in `errors`; see them all with `skep service show NAME`." },
  generation_not_found: { status: 404, retryable: false, title: "No such generation", fix: "Pick one of the deployment's generations." },
  unknown_component: { status: 422, retryable: false, title: "The deployment has no such component", fix: "Name one of the components in `detail`." },
  nothing_to_do: { status: 409, retryable: false, title: "The deployment is torn down", fix: "Deploy it again." },
  already_running: { status: 409, retryable: true, title: "Another process already runs on this state", fix: "Stop the process named in `detail`, or use another state directory." },
  rollout_not_found: { status: 404, retryable: false, title: "No such rollout", fix: "List rollouts with GET /v1/rollouts, or `skep rollout status NAME`." },
  rollout_not_open: { status: 409, retryable: false, title: "No rollout of this deployment is open for that", fix: "Look at its last one: `skep rollout status NAME`." },
  lifecycle_not_found: { status: 404, retryable: false, title: "No such lifecycle row", fix: "List rows with `skep lifecycle`." },
  lifecycle_terminal: { status: 409, retryable: false, title: "The lifecycle row has already ended", fix: "Nothing is left to cancel; its status is in `detail`." },
  // alerts and webhooks
  alert_not_found: { status: 404, retryable: false, title: "No such alert", fix: "List alerts with `skep alerts --all`." },
  alert_resolved: { status: 409, retryable: false, title: "The alert has resolved", fix: "Nothing is left to acknowledge: `skep alerts` lists what fires." },
  webhook_not_found: { status: 404, retryable: false, title: "No such webhook", fix: "List webhooks with `skep webhook ls`." },
  webhook_exists: { status: 409, retryable: false, title: "A webhook of that name exists", fix: "Choose another name, or remove it first: `skep webhook rm NAME`." },
  webhook_disabled: { status: 409, retryable: false, title: "The webhook is disabled", fix: "Enable it first: `skep webhook enable NAME`." },
  webhook_url_refused: { status: 422, retryable: false, title: "The webhook's URL is not allowed", fix: "Use an http or https URL of a receiver of yours; loopback needs a master started with --allow-loopback-agents." },
  too_many_webhooks: { status: 409, retryable: false, title: "There are as many webhooks as there may be", fix: "Remove one that is not needed: `skep webhook rm NAME`." },
  delivery_not_found: { status: 404, retryable: false, title: "No such delivery", fix: "List them with `skep webhook deliveries NAME`." },
  delivery_not_dead: { status: 409, retryable: false, title: "Only a delivery that was given up can be sent again", fix: "A pending one is retried by itself; list the dead ones with `skep webhook deliveries NAME --status dead`." },
  // running commands in components
  exec_not_allowed: { status: 403, retryable: false, title: "The host does not allow running commands in its workloads", fix: "Its owner allows it in the agent's own configuration on that host (allow.exec); no API can." },
  metrics_unsupported: { status: 422, retryable: false, title: "The host's agent is too old to tell its metrics", fix: "Update the agent on that host." },
  exec_unsupported: { status: 422, retryable: false, title: "The component's driver cannot run commands", fix: "Use a component of the process or docker driver." },
  exec_already_sent: { status: 409, retryable: false, title: "That request has already sent its command, whose output is not kept", fix: "Look what became of it with `skep audit`; to run it again send a new request with a new Idempotency-Key." },
  exec_outcome_unknown: { status: 502, retryable: false, title: "The host was lost while the command ran", fix: "Whether it ended is not known; the agent kills it once it notices. Look before you run it again." },
  exec_timeout: { status: 504, retryable: false, title: "The command took too long and was killed", fix: "Give it more time with --timeout, or run less." },
  too_many_execs: { status: 429, retryable: true, title: "Too many commands run on this host at once", fix: "Wait until one has ended." },
  component_not_running: { status: 409, retryable: true, title: "The component does not run there", fix: "Look why with `skep status NAME` or `skep explain deployment NAME`." },
  placement_ambiguous: { status: 409, retryable: false, title: "It runs in several places", fix: "Name one: the places are in `errors`." },
  not_found: { status: 404, retryable: false, title: "Nothing of that name", fix: "Check the name or id." },
  unavailable_observation: { status: 503, retryable: true, title: "The host could not observe this", fix: "Try again; the error is in `detail`." },
  // the agent's answers
  agent_booting: { status: 503, retryable: true, title: "The agent is booting", fix: "It takes commands once its boot stages are done." },
  agent_draining: { status: 503, retryable: true, title: "The agent is stopping", fix: "It takes commands again after its restart." },
  busy: { status: 409, retryable: true, title: "The agent's queue is full", fix: "It is offered again by itself." },
  stale_epoch: { status: 409, retryable: false, title: "A newer epoch of this placement is known", fix: "Nothing: the newer one wins." },
  stale_generation: { status: 409, retryable: false, title: "A newer generation of this placement is known", fix: "Nothing: the newer one wins." },
  generation_conflict: { status: 409, retryable: false, title: "The placement is not at the base generation", fix: "Deploy the full spec instead." },
  no_active_deployment: { status: 404, retryable: false, title: "Nothing is deployed there", fix: "Deploy it first." },
  spec_hash_mismatch: { status: 400, retryable: false, title: "The spec does not match its hash", fix: "Send spec and hash of the same request." },
  spec_refused: { status: 422, retryable: false, title: "The host refuses this spec", fix: "Correct what `detail` names." },
  job_not_found: { status: 404, retryable: false, title: "The agent does not know this job", fix: "It was never accepted here, or was acknowledged long ago." },
  disk_full: { status: 507, retryable: true, title: "The agent cannot write its journal", fix: "Free disk space on the host; nothing was started." },
  logs_not_found: { status: 404, retryable: false, title: "No logs for that component", fix: "Check the component's name." },
} as const satisfies Record<string, ErrorMeaning>;

export type ErrorCode = keyof typeof ERRORS;
export const ERROR_CODES = Object.keys(ERRORS) as ErrorCode[];

export interface FieldError {
  readonly pointer: string;
  readonly message: string;
}

/** An operational failure on its way to a caller. `detail` is public; what is not goes into `cause` and the log. */
export class SkepError extends Error {
  override readonly name = "SkepError";
  readonly code: ErrorCode;
  readonly detail: string;
  readonly errors: readonly FieldError[];
  readonly retryAfterMs: number | undefined;
  constructor(code: ErrorCode, detail?: string, extra: { errors?: readonly FieldError[]; retryAfterMs?: number; cause?: unknown } = {}) {
    super(detail ?? ERRORS[code].title, extra.cause === undefined ? undefined : { cause: extra.cause });
    this.code = code;
    this.detail = detail ?? ERRORS[code].title;
    this.errors = extra.errors ?? [];
    this.retryAfterMs = extra.retryAfterMs;
  }
  get status(): number {
    return ERRORS[this.code].status;
  }
  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }
}
