/* eslint-disable */
/**
 * Generated `api` utility.
 *
 * THIS CODE IS AUTOMATICALLY GENERATED.
 *
 * To regenerate, run `npx convex dev`.
 * @module
 */

import type * as account from "../account.js";
import type * as clerk_addresses from "../clerk/addresses.js";
import type * as clerk_adopt from "../clerk/adopt.js";
import type * as clerk_ahead from "../clerk/ahead.js";
import type * as clerk_api from "../clerk/api.js";
import type * as clerk_app from "../clerk/app.js";
import type * as clerk_batch from "../clerk/batch.js";
import type * as clerk_call from "../clerk/call.js";
import type * as clerk_clock from "../clerk/clock.js";
import type * as clerk_columns from "../clerk/columns.js";
import type * as clerk_commands from "../clerk/commands.js";
import type * as clerk_compare from "../clerk/compare.js";
import type * as clerk_conductor from "../clerk/conductor.js";
import type * as clerk_crowds from "../clerk/crowds.js";
import type * as clerk_deliveries from "../clerk/deliveries.js";
import type * as clerk_doctor from "../clerk/doctor.js";
import type * as clerk_doubts from "../clerk/doubts.js";
import type * as clerk_driftEntries from "../clerk/driftEntries.js";
import type * as clerk_driftLog from "../clerk/driftLog.js";
import type * as clerk_environment from "../clerk/environment.js";
import type * as clerk_erasure from "../clerk/erasure.js";
import type * as clerk_events from "../clerk/events.js";
import type * as clerk_fields from "../clerk/fields.js";
import type * as clerk_findings from "../clerk/findings.js";
import type * as clerk_fingerprint from "../clerk/fingerprint.js";
import type * as clerk_firstDay from "../clerk/firstDay.js";
import type * as clerk_gate from "../clerk/gate.js";
import type * as clerk_gone from "../clerk/gone.js";
import type * as clerk_health from "../clerk/health.js";
import type * as clerk_instance from "../clerk/instance.js";
import type * as clerk_judgement from "../clerk/judgement.js";
import type * as clerk_lifecycle from "../clerk/lifecycle.js";
import type * as clerk_log from "../clerk/log.js";
import type * as clerk_marks from "../clerk/marks.js";
import type * as clerk_mirror from "../clerk/mirror.js";
import type * as clerk_misfit from "../clerk/misfit.js";
import type * as clerk_pages from "../clerk/pages.js";
import type * as clerk_parallel from "../clerk/parallel.js";
import type * as clerk_paths from "../clerk/paths.js";
import type * as clerk_phases_begin from "../clerk/phases/begin.js";
import type * as clerk_phases_count from "../clerk/phases/count.js";
import type * as clerk_phases_crowd from "../clerk/phases/crowd.js";
import type * as clerk_phases_deletion from "../clerk/phases/deletion.js";
import type * as clerk_phases_evidence from "../clerk/phases/evidence.js";
import type * as clerk_phases_lookBack from "../clerk/phases/lookBack.js";
import type * as clerk_phases_undated from "../clerk/phases/undated.js";
import type * as clerk_phases_walk from "../clerk/phases/walk.js";
import type * as clerk_plan from "../clerk/plan.js";
import type * as clerk_profile from "../clerk/profile.js";
import type * as clerk_purge from "../clerk/purge.js";
import type * as clerk_readers from "../clerk/readers.js";
import type * as clerk_reconcile from "../clerk/reconcile.js";
import type * as clerk_refusal from "../clerk/refusal.js";
import type * as clerk_repair from "../clerk/repair.js";
import type * as clerk_report from "../clerk/report.js";
import type * as clerk_request from "../clerk/request.js";
import type * as clerk_routes from "../clerk/routes.js";
import type * as clerk_rows from "../clerk/rows.js";
import type * as clerk_runValidators from "../clerk/runValidators.js";
import type * as clerk_runs from "../clerk/runs.js";
import type * as clerk_secrets from "../clerk/secrets.js";
import type * as clerk_step from "../clerk/step.js";
import type * as clerk_svix from "../clerk/svix.js";
import type * as clerk_sweep from "../clerk/sweep.js";
import type * as clerk_symptoms from "../clerk/symptoms.js";
import type * as clerk_syncState from "../clerk/syncState.js";
import type * as clerk_tables from "../clerk/tables.js";
import type * as clerk_tombstones from "../clerk/tombstones.js";
import type * as clerk_types from "../clerk/types.js";
import type * as clerk_users from "../clerk/users.js";
import type * as clerk_validators from "../clerk/validators.js";
import type * as clerk_webhook from "../clerk/webhook.js";
import type * as clerk_worker from "../clerk/worker.js";
import type * as crons from "../crons.js";
import type * as http from "../http.js";
import type * as messages from "../messages.js";
import type * as users from "../users.js";

import type {
  ApiFromModules,
  FilterApi,
  FunctionReference,
} from "convex/server";

declare const fullApi: ApiFromModules<{
  account: typeof account;
  "clerk/addresses": typeof clerk_addresses;
  "clerk/adopt": typeof clerk_adopt;
  "clerk/ahead": typeof clerk_ahead;
  "clerk/api": typeof clerk_api;
  "clerk/app": typeof clerk_app;
  "clerk/batch": typeof clerk_batch;
  "clerk/call": typeof clerk_call;
  "clerk/clock": typeof clerk_clock;
  "clerk/columns": typeof clerk_columns;
  "clerk/commands": typeof clerk_commands;
  "clerk/compare": typeof clerk_compare;
  "clerk/conductor": typeof clerk_conductor;
  "clerk/crowds": typeof clerk_crowds;
  "clerk/deliveries": typeof clerk_deliveries;
  "clerk/doctor": typeof clerk_doctor;
  "clerk/doubts": typeof clerk_doubts;
  "clerk/driftEntries": typeof clerk_driftEntries;
  "clerk/driftLog": typeof clerk_driftLog;
  "clerk/environment": typeof clerk_environment;
  "clerk/erasure": typeof clerk_erasure;
  "clerk/events": typeof clerk_events;
  "clerk/fields": typeof clerk_fields;
  "clerk/findings": typeof clerk_findings;
  "clerk/fingerprint": typeof clerk_fingerprint;
  "clerk/firstDay": typeof clerk_firstDay;
  "clerk/gate": typeof clerk_gate;
  "clerk/gone": typeof clerk_gone;
  "clerk/health": typeof clerk_health;
  "clerk/instance": typeof clerk_instance;
  "clerk/judgement": typeof clerk_judgement;
  "clerk/lifecycle": typeof clerk_lifecycle;
  "clerk/log": typeof clerk_log;
  "clerk/marks": typeof clerk_marks;
  "clerk/mirror": typeof clerk_mirror;
  "clerk/misfit": typeof clerk_misfit;
  "clerk/pages": typeof clerk_pages;
  "clerk/parallel": typeof clerk_parallel;
  "clerk/paths": typeof clerk_paths;
  "clerk/phases/begin": typeof clerk_phases_begin;
  "clerk/phases/count": typeof clerk_phases_count;
  "clerk/phases/crowd": typeof clerk_phases_crowd;
  "clerk/phases/deletion": typeof clerk_phases_deletion;
  "clerk/phases/evidence": typeof clerk_phases_evidence;
  "clerk/phases/lookBack": typeof clerk_phases_lookBack;
  "clerk/phases/undated": typeof clerk_phases_undated;
  "clerk/phases/walk": typeof clerk_phases_walk;
  "clerk/plan": typeof clerk_plan;
  "clerk/profile": typeof clerk_profile;
  "clerk/purge": typeof clerk_purge;
  "clerk/readers": typeof clerk_readers;
  "clerk/reconcile": typeof clerk_reconcile;
  "clerk/refusal": typeof clerk_refusal;
  "clerk/repair": typeof clerk_repair;
  "clerk/report": typeof clerk_report;
  "clerk/request": typeof clerk_request;
  "clerk/routes": typeof clerk_routes;
  "clerk/rows": typeof clerk_rows;
  "clerk/runValidators": typeof clerk_runValidators;
  "clerk/runs": typeof clerk_runs;
  "clerk/secrets": typeof clerk_secrets;
  "clerk/step": typeof clerk_step;
  "clerk/svix": typeof clerk_svix;
  "clerk/sweep": typeof clerk_sweep;
  "clerk/symptoms": typeof clerk_symptoms;
  "clerk/syncState": typeof clerk_syncState;
  "clerk/tables": typeof clerk_tables;
  "clerk/tombstones": typeof clerk_tombstones;
  "clerk/types": typeof clerk_types;
  "clerk/users": typeof clerk_users;
  "clerk/validators": typeof clerk_validators;
  "clerk/webhook": typeof clerk_webhook;
  "clerk/worker": typeof clerk_worker;
  crons: typeof crons;
  http: typeof http;
  messages: typeof messages;
  users: typeof users;
}>;

/**
 * A utility for referencing Convex functions in your app's public API.
 *
 * Usage:
 * ```js
 * const myFunctionReference = api.myModule.myFunction;
 * ```
 */
export declare const api: FilterApi<
  typeof fullApi,
  FunctionReference<any, "public">
>;

/**
 * A utility for referencing Convex functions in your app's internal API.
 *
 * Usage:
 * ```js
 * const myFunctionReference = internal.myModule.myFunction;
 * ```
 */
export declare const internal: FilterApi<
  typeof fullApi,
  FunctionReference<any, "internal">
>;

export declare const components: {};
