/** The port's methods over a connection. Listed one by one: a method that is missing here does not compile. */
import type { Reads, Tx } from "@skep/core";
import * as alerts from "./alerts.ts";
import * as apiTokens from "./api-tokens.ts";
import { attentionCandidates } from "./attention.ts";
import { appendAudit, listAudit } from "./audit.ts";
import { writeBeats } from "./beats.ts";
import * as certs from "./certs.ts";
import { readNow } from "./clock.ts";
import { fleetCounts } from "./counts.ts";
import type { Db } from "./db.ts";
import * as deployments from "./deployments.ts";
import { markSent } from "./dispatch.ts";
import * as events from "./events.ts";
import { fleetGauges } from "./gauges.ts";
import { guard } from "./guard.ts";
import * as hosts from "./hosts.ts";
import * as idempotency from "./idempotency.ts";
import * as lifecycle from "./lifecycle.ts";
import * as moves from "./moves.ts";
import * as placements from "./placements.ts";
import * as reachability from "./reachability.ts";
import { dropDeadLetters } from "./retain.ts";
import * as rollouts from "./rollouts.ts";
import { serviceSnapshot } from "./services.ts";
import * as tokens from "./tokens.ts";
import * as webhooks from "./webhooks.ts";

/** Pins are read from a pool of their own choosing: nobody is admitted without them. */
export const bindReads = (db: Db, pinsDb: Db = db): Reads => ({
  now: () => readNow(db),
  findHost: (idOrName) => hosts.findHost(db, idOrName),
  listHosts: (query) => hosts.listHosts(db, query),
  attentionCandidates: (query) => attentionCandidates(db, query),
  findHostView: (idOrName) => hosts.findHostView(db, idOrName),
  listHostCerts: (hostId) => certs.listHostCerts(db, hostId),
  listPresentCerts: (hostIds) => certs.listPresentCerts(db, hostIds),
  listRing: (hostId) => hosts.listRing(db, hostId),
  findToken: (id) => tokens.findToken(db, id),
  loadPins: () => certs.loadPins(pinsDb),
  pinVersion: () => certs.pinVersion(pinsDb),
  findDeployment: (idOrName) => deployments.findDeployment(db, idOrName),
  listDeployments: (query) => deployments.listDeployments(db, query),
  findGeneration: (id, generation) => deployments.findGeneration(db, id, generation),
  listGenerations: (id) => deployments.listGenerations(db, id),
  listPlacements: (query) => placements.listPlacements(db, query),
  findPlacement: (id) => placements.findPlacement(db, id),
  serviceSnapshot: (query) => serviceSnapshot(db, query),
  listPlacementFacts: (hostIds) => placements.listPlacementFacts(db, hostIds),
  listOrphans: (limit) => hosts.listOrphans(db, limit),
  findLifecycle: (id) => lifecycle.findLifecycle(db, id),
  listLifecycle: (query) => lifecycle.listLifecycle(db, query),
  findRollout: (id) => rollouts.findRollout(db, id),
  listRollouts: (query) => rollouts.listRollouts(db, query),
  findMove: (id) => moves.findMove(db, id),
  listMoves: (query) => moves.listMoves(db, query),
  findDrain: (hostId) => moves.findDrain(db, hostId),
  listOpenDrains: (page) => moves.listOpenDrains(db, page),
  fleetCounts: () => fleetCounts(db),
  fleetGauges: (options) => fleetGauges(db, options),
  readEvents: (after, limit, filter) => events.readEvents(db, after, limit, filter),
  recentEvents: (limit, filter) => events.recentEvents(db, limit, filter),
  eventHead: () => events.eventHead(db),
  listAudit: (query) => listAudit(db, query),
  findApiToken: (id) => apiTokens.findApiToken(db, id),
  listApiTokens: () => apiTokens.listApiTokens(db),
  findAlert: (id) => alerts.findAlert(db, id),
  listAlerts: (query) => alerts.listAlerts(db, query),
  alertCursor: () => alerts.readAlertCursor(db),
  findWebhook: (idOrName) => webhooks.findWebhook(db, idOrName),
  listWebhooks: () => webhooks.listWebhooks(db),
  findWebhookDelivery: (id) => webhooks.findWebhookDelivery(db, id),
  listWebhookDeliveries: (query) => webhooks.listWebhookDeliveries(db, query),
});

export const bindTx = (db: Db): Tx =>
  guard<Tx>({
    ...bindReads(db),
    insertHost: (host) => hosts.insertHost(db, host),
    casHostStatus: (id, from, to, because) => hosts.casHostStatus(db, id, from, to, because),
    updateHost: (id, patch) => hosts.updateHost(db, id, patch),
    recordProbe: (id, ok, error) => hosts.recordProbe(db, id, ok, error),
    decommissionHost: (id) => hosts.decommissionHost(db, id),
    openSession: (id, registration) => hosts.openSession(db, id, registration),
    insertToken: (token) => tokens.insertToken(db, token),
    countTokenAttempt: (id) => tokens.countTokenAttempt(db, id),
    claimToken: (id, spki, certPem) => tokens.claimToken(db, id, spki, certPem),
    burnTokens: (hostId) => tokens.burnTokens(db, hostId),
    insertCert: (cert) => certs.insertCert(db, cert),
    retireCerts: (hostId, keep, overlapMs) => certs.retireCerts(db, hostId, keep, overlapMs),
    revokeCerts: (hostId) => certs.revokeCerts(db, hostId),
    requestRotation: (id) => certs.requestRotation(db, id),
    lockDeployment: (id) => deployments.lockDeployment(db, id),
    insertDeployment: (deployment) => deployments.insertDeployment(db, deployment),
    casDeployment: (id, version, patch) => deployments.casDeployment(db, id, version, patch),
    insertGeneration: (generation) => deployments.insertGeneration(db, generation),
    insertPlacement: (placement) => placements.insertPlacement(db, placement),
    casPlacement: (id, version, patch) => placements.casPlacement(db, id, version, patch),
    placementStates: (hostIds) => placements.placementStates(db, hostIds),
    lockReachability: (hostIds) => reachability.lockReachability(db, hostIds),
    casReachability: (changes) => reachability.casReachability(db, changes),
    resetBreakers: (id) => hosts.resetBreakers(db, id),
    bootReports: (hostIds) => hosts.bootReports(db, hostIds),
    insertRollout: (rollout) => rollouts.insertRollout(db, rollout),
    casRollout: (id, version, patch) => rollouts.casRollout(db, id, version, patch),
    insertMove: (move) => moves.insertMove(db, move),
    casMove: (id, version, patch) => moves.casMove(db, id, version, patch),
    insertDrain: (drain) => moves.insertDrain(db, drain),
    casDrain: (id, version, patch) => moves.casDrain(db, id, version, patch),
    insertLifecycle: (row) => lifecycle.insertLifecycle(db, row),
    lockLifecycle: (ids) => lifecycle.lockLifecycle(db, ids),
    casLifecycle: (change) => lifecycle.casLifecycle(db, change),
    requestCancel: (id, version, reason) => lifecycle.requestCancel(db, id, version, reason),
    noteProgress: (notes) => lifecycle.noteProgress(db, notes),
    openRowsOf: (hostIds) => lifecycle.openRowsOf(db, hostIds),
    findOpenByName: (hostId, deployment, operation) => lifecycle.findOpenByName(db, hostId, deployment, operation),
    writeBeats: (beats) => writeBeats(db, beats),
    markSent: (ids) => markSent(db, ids),
    appendEvent: (event) => events.appendEvent(db, event),
    appendAudit: (entry) => appendAudit(db, entry),
    claimIdempotency: (key) => idempotency.claimIdempotency(db, key),
    completeIdempotency: (key, status, body) => idempotency.completeIdempotency(db, key, status, body),
    insertApiToken: (token) => apiTokens.insertApiToken(db, token),
    revokeApiToken: (id) => apiTokens.revokeApiToken(db, id),
    casAlertCursor: (version, cursor) => alerts.casAlertCursor(db, version, cursor),
    lockAlerts: (touch, since, due) => alerts.lockAlerts(db, touch, since, due),
    lockAlert: (id) => alerts.lockAlert(db, id),
    insertAlerts: (rows) => alerts.insertAlerts(db, rows),
    casAlert: (alert) => alerts.casAlert(db, alert),
    insertWebhook: (webhook) => webhooks.insertWebhook(db, webhook),
    casWebhook: (id, version, patch) => webhooks.casWebhook(db, id, version, patch),
    deleteWebhook: (id) => webhooks.deleteWebhook(db, id),
    insertWebhookDeliveries: (rows) => webhooks.insertWebhookDeliveries(db, rows),
    casWebhookDelivery: (id, version, patch) => webhooks.casWebhookDelivery(db, id, version, patch),
    dropDeadLetters: (limits) => dropDeadLetters(db, limits),
  });
