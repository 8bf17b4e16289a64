/**
 * How long a job may stand still, phase by phase. Only real progress extends a limit: a driver's word that bytes
 * arrived or a state changed, or a finished step; never the mere passing of time (G2).
 */
export const JOB_PHASES = ["look", "prepare", "start", "healthy", "stop", "remove"] as const;
/** `prepare` pulls and checks, networks and volumes included · `start` creates and starts · `healthy` waits for the probe, or for the end of what runs to completion. */
export type JobPhase = (typeof JOB_PHASES)[number];

/** Without a byte. Too short: a registry that throttles fails deploys; too long: a dead registry holds a slot. */
export const PREPARE_LIMIT_MS = 180_000;
/** Too short: an image that first fills a large volume looks hung; too long: a hung start holds a slot. */
export const START_LIMIT_MS = 300_000;
/** Too short: a loaded host cannot observe; too long: jobs wait for a hung driver instead of giving their slot up. */
export const LOOK_LIMIT_MS = 10_000;
/** On top of the component's own stop timeout. Too short: a loaded host looks hung; too long: a hung driver holds a slot. */
export const STOP_GRACE_MS = 10_000;
/** Too short: clearing away a large container fails teardowns; too long: a hung driver holds a slot. */
export const REMOVE_LIMIT_MS = 30_000;
/** For each restored component to be healthy again. Too short: a slow starter is called not restored; too long: a slot is held. */
export const RESTORE_LIMIT_MS = 60_000;
/** How long a verb may go on after its signal. Too short: a driver cannot tidy up; too long: a cancel takes that long. */
export const GRACE_MS = 5_000;
