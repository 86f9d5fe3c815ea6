/** What other rooms may ask of the sync's memory, and write down in it. */
export {
  judgeDeliveries,
  newestEventInstance,
  newestEvents,
  readDeliveries,
} from "./deliveries.js";
export {
  changeDoubt,
  doubtOf,
  endDoubt,
  markMet,
  metAmong,
  nextDoubts,
  raiseAll,
} from "./doubts.js";
export { type End, endRun } from "./ended.js";
export {
  type Begun,
  FULL_PERIOD_MS,
  type Leased,
  handOn,
  isPastResuming,
  readAt,
  recordFailure,
  renewLease,
  takeLease,
} from "./lease.js";
export {
  type Asked,
  type Counts,
  type Crowd,
  type DriftEntry,
  type Phase,
  type Position,
  type Version,
  vAsked,
  vBatch,
  vCheckpoint,
  vCrowd,
  vLookBack,
  vPosition,
  vReportMode,
  vReported,
  vRunAsked,
} from "./model.js";
export {
  MAX_ENTRIES,
  type Run,
  type RunIn,
  type RunningRun,
  addEntry,
  entriesOf,
  noteRun,
  runningRun,
} from "./runs.js";
export { type SyncState, areChanged, readSyncState, stateFor, updateSyncState } from "./state.js";
export {
  type Source,
  type StoredVersion,
  eventMarks,
  metVersion,
  noteVersion,
  readVersion,
} from "./versions.js";
export { leaveDoubt, nextDue, reportOfToday, wakeForDoubts } from "./worker.js";
