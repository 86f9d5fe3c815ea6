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
import type * as clerk_adopt from "../clerk/adopt.js";
import type * as clerk_api_api from "../clerk/api/api.js";
import type * as clerk_api_pages from "../clerk/api/pages.js";
import type * as clerk_api_request from "../clerk/api/request.js";
import type * as clerk_app from "../clerk/app.js";
import type * as clerk_doctor from "../clerk/doctor.js";
import type * as clerk_fields from "../clerk/fields.js";
import type * as clerk_memory_deliveries from "../clerk/memory/deliveries.js";
import type * as clerk_memory_doubts from "../clerk/memory/doubts.js";
import type * as clerk_memory_ended from "../clerk/memory/ended.js";
import type * as clerk_memory_instance from "../clerk/memory/instance.js";
import type * as clerk_memory_lease from "../clerk/memory/lease.js";
import type * as clerk_memory_memory from "../clerk/memory/memory.js";
import type * as clerk_memory_model from "../clerk/memory/model.js";
import type * as clerk_memory_retention from "../clerk/memory/retention.js";
import type * as clerk_memory_runs from "../clerk/memory/runs.js";
import type * as clerk_memory_state from "../clerk/memory/state.js";
import type * as clerk_memory_versions from "../clerk/memory/versions.js";
import type * as clerk_memory_worker from "../clerk/memory/worker.js";
import type * as clerk_mirror_columns from "../clerk/mirror/columns.js";
import type * as clerk_mirror_erasure from "../clerk/mirror/erasure.js";
import type * as clerk_mirror_gate from "../clerk/mirror/gate.js";
import type * as clerk_mirror_mirror from "../clerk/mirror/mirror.js";
import type * as clerk_mirror_plan from "../clerk/mirror/plan.js";
import type * as clerk_mirror_rows from "../clerk/mirror/rows.js";
import type * as clerk_mirror_write from "../clerk/mirror/write.js";
import type * as clerk_profile_convexValue from "../clerk/profile/convexValue.js";
import type * as clerk_profile_profile from "../clerk/profile/profile.js";
import type * as clerk_reconcile from "../clerk/reconcile.js";
import type * as clerk_report_report from "../clerk/report/report.js";
import type * as clerk_report_status from "../clerk/report/status.js";
import type * as clerk_routes from "../clerk/routes.js";
import type * as clerk_run_ahead from "../clerk/run/ahead.js";
import type * as clerk_run_begin from "../clerk/run/begin.js";
import type * as clerk_run_call from "../clerk/run/call.js";
import type * as clerk_run_compare from "../clerk/run/compare.js";
import type * as clerk_run_count from "../clerk/run/count.js";
import type * as clerk_run_crowd from "../clerk/run/crowd.js";
import type * as clerk_run_delete from "../clerk/run/delete.js";
import type * as clerk_run_evidence from "../clerk/run/evidence.js";
import type * as clerk_run_findings from "../clerk/run/findings.js";
import type * as clerk_run_firstDay from "../clerk/run/firstDay.js";
import type * as clerk_run_judge from "../clerk/run/judge.js";
import type * as clerk_run_lifecycle from "../clerk/run/lifecycle.js";
import type * as clerk_run_lookBack from "../clerk/run/lookBack.js";
import type * as clerk_run_next from "../clerk/run/next.js";
import type * as clerk_run_places from "../clerk/run/places.js";
import type * as clerk_run_repair from "../clerk/run/repair.js";
import type * as clerk_run_run from "../clerk/run/run.js";
import type * as clerk_run_step from "../clerk/run/step.js";
import type * as clerk_run_sweep from "../clerk/run/sweep.js";
import type * as clerk_run_walk from "../clerk/run/walk.js";
import type * as clerk_shared_addresses from "../clerk/shared/addresses.js";
import type * as clerk_shared_clock from "../clerk/shared/clock.js";
import type * as clerk_shared_environment from "../clerk/shared/environment.js";
import type * as clerk_shared_hash from "../clerk/shared/hash.js";
import type * as clerk_shared_log from "../clerk/shared/log.js";
import type * as clerk_shared_parallel from "../clerk/shared/parallel.js";
import type * as clerk_shared_readers from "../clerk/shared/readers.js";
import type * as clerk_shared_secrets from "../clerk/shared/secrets.js";
import type * as clerk_shared_svix from "../clerk/shared/svix.js";
import type * as clerk_shared_undo from "../clerk/shared/undo.js";
import type * as clerk_shared_user from "../clerk/shared/user.js";
import type * as clerk_tables from "../clerk/tables.js";
import type * as clerk_types from "../clerk/types.js";
import type * as clerk_users from "../clerk/users.js";
import type * as clerk_webhook_event from "../clerk/webhook/event.js";
import type * as clerk_webhook_webhook from "../clerk/webhook/webhook.js";
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
  "clerk/adopt": typeof clerk_adopt;
  "clerk/api/api": typeof clerk_api_api;
  "clerk/api/pages": typeof clerk_api_pages;
  "clerk/api/request": typeof clerk_api_request;
  "clerk/app": typeof clerk_app;
  "clerk/doctor": typeof clerk_doctor;
  "clerk/fields": typeof clerk_fields;
  "clerk/memory/deliveries": typeof clerk_memory_deliveries;
  "clerk/memory/doubts": typeof clerk_memory_doubts;
  "clerk/memory/ended": typeof clerk_memory_ended;
  "clerk/memory/instance": typeof clerk_memory_instance;
  "clerk/memory/lease": typeof clerk_memory_lease;
  "clerk/memory/memory": typeof clerk_memory_memory;
  "clerk/memory/model": typeof clerk_memory_model;
  "clerk/memory/retention": typeof clerk_memory_retention;
  "clerk/memory/runs": typeof clerk_memory_runs;
  "clerk/memory/state": typeof clerk_memory_state;
  "clerk/memory/versions": typeof clerk_memory_versions;
  "clerk/memory/worker": typeof clerk_memory_worker;
  "clerk/mirror/columns": typeof clerk_mirror_columns;
  "clerk/mirror/erasure": typeof clerk_mirror_erasure;
  "clerk/mirror/gate": typeof clerk_mirror_gate;
  "clerk/mirror/mirror": typeof clerk_mirror_mirror;
  "clerk/mirror/plan": typeof clerk_mirror_plan;
  "clerk/mirror/rows": typeof clerk_mirror_rows;
  "clerk/mirror/write": typeof clerk_mirror_write;
  "clerk/profile/convexValue": typeof clerk_profile_convexValue;
  "clerk/profile/profile": typeof clerk_profile_profile;
  "clerk/reconcile": typeof clerk_reconcile;
  "clerk/report/report": typeof clerk_report_report;
  "clerk/report/status": typeof clerk_report_status;
  "clerk/routes": typeof clerk_routes;
  "clerk/run/ahead": typeof clerk_run_ahead;
  "clerk/run/begin": typeof clerk_run_begin;
  "clerk/run/call": typeof clerk_run_call;
  "clerk/run/compare": typeof clerk_run_compare;
  "clerk/run/count": typeof clerk_run_count;
  "clerk/run/crowd": typeof clerk_run_crowd;
  "clerk/run/delete": typeof clerk_run_delete;
  "clerk/run/evidence": typeof clerk_run_evidence;
  "clerk/run/findings": typeof clerk_run_findings;
  "clerk/run/firstDay": typeof clerk_run_firstDay;
  "clerk/run/judge": typeof clerk_run_judge;
  "clerk/run/lifecycle": typeof clerk_run_lifecycle;
  "clerk/run/lookBack": typeof clerk_run_lookBack;
  "clerk/run/next": typeof clerk_run_next;
  "clerk/run/places": typeof clerk_run_places;
  "clerk/run/repair": typeof clerk_run_repair;
  "clerk/run/run": typeof clerk_run_run;
  "clerk/run/step": typeof clerk_run_step;
  "clerk/run/sweep": typeof clerk_run_sweep;
  "clerk/run/walk": typeof clerk_run_walk;
  "clerk/shared/addresses": typeof clerk_shared_addresses;
  "clerk/shared/clock": typeof clerk_shared_clock;
  "clerk/shared/environment": typeof clerk_shared_environment;
  "clerk/shared/hash": typeof clerk_shared_hash;
  "clerk/shared/log": typeof clerk_shared_log;
  "clerk/shared/parallel": typeof clerk_shared_parallel;
  "clerk/shared/readers": typeof clerk_shared_readers;
  "clerk/shared/secrets": typeof clerk_shared_secrets;
  "clerk/shared/svix": typeof clerk_shared_svix;
  "clerk/shared/undo": typeof clerk_shared_undo;
  "clerk/shared/user": typeof clerk_shared_user;
  "clerk/tables": typeof clerk_tables;
  "clerk/types": typeof clerk_types;
  "clerk/users": typeof clerk_users;
  "clerk/webhook/event": typeof clerk_webhook_event;
  "clerk/webhook/webhook": typeof clerk_webhook_webhook;
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
