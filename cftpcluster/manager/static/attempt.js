// What several dialogs share: trying, and what a node says in lines.

import {sentence} from "./api.js";
import {displayed, tell} from "./dom.js";

/** Does something; where that fails says why, and gives null. */
export async function attempt(work) {
  try {
    return await work();
  } catch (error) {
    tell(sentence(reasonOf(error)), {failed: true});
    return null;
  }
}

/** Why it failed: of a change that was refused each reason, since "nothing was changed" is none. */
export const reasonOf = (error) => error.problem?.errors?.map((one) => one.message).join("; ") || error.message;

/** A text of several lines, for people. */
export const lines = (text) => text.split("\n").map(displayed).join("\n");
