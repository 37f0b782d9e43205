/**
 * A client of Sealfleet.
 *
 * `sealfleet/api` is generated: one function for each operation, one type for each schema. What is
 * here makes them comfortable: a connection that retries, problems as exceptions, pages as one
 * list, and runs that can be waited for.
 *
 * @module
 */
export { call, enqueue, pages, wait, type Page, type Result } from "./calls.js";
export { connect, connectFromEnvironment } from "./connection.js";
export { ProblemError, SealfleetError, UnreadableAnswer } from "./errors.js";
