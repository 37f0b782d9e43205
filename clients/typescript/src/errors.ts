import type { Code, Problem } from "./api/index.js";

/** Why an operation has no answer. No error holds the credential. */
export class SealfleetError extends Error {
  override name = "SealfleetError";
}

/** The API refused the request, and says why (RFC 9457). */
export class ProblemError extends SealfleetError {
  override name = "ProblemError";

  constructor(readonly problem: Problem) {
    const field = problem.field ? ` (\`${problem.field}\`)` : "";
    super(`${problem.code}${field}: ${problem.detail}`);
  }

  /** The stable code, to decide by. */
  get code(): Code {
    return this.problem.code;
  }

  /** The HTTP status. */
  get status(): number {
    return this.problem.status;
  }
}

/** The answer is not of this API. */
export class UnreadableAnswer extends SealfleetError {
  override name = "UnreadableAnswer";
}
