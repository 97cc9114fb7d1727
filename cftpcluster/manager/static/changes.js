// Changes of the configuration: sent, and followed until they are live on every node.

import {Refused, send} from "./api.js";
import {busyWhile, countText, displayed, tell} from "./dom.js";
import {watchStatus} from "./live.js";

const PATIENCE_MILLISECONDS = 20_000;
const READ_MILLISECONDS = 4000;
const FOLLOWED = "followed";

/**
 * Sends a change and shows how it becomes live; throws what `send` of api.js throws.
 *
 * @param {string} method
 * @param {string} url
 * @param {{json?: object, etag?: string, describe?: string, headers?: object}} options `etag`: that of the object as it
 *   was read: where it has changed since, the answer is 412; `describe`: what was done, such as "alice saved"
 * @returns {Promise<object|null>} the answer
 */
export async function write(method, url, {json, etag, describe = "Saved", headers = {}} = {}) {
  const all = {...headers, ...(etag ? {"If-Match": etag} : {})};
  // A repeated request must not do it twice, nor be told that it was done already.
  if (method === "POST") all["Idempotency-Key"] = crypto.randomUUID();
  const done = method === "DELETE" ? [404] : [];
  const response = await busyWhile(send(method, url, {json, headers: all, done}));
  const isJSON = response.headers.get("Content-Type")?.includes("json");
  const answer = isJSON && response.ok ? await response.json() : null;
  if (answer && Number.isInteger(answer.revision)) follow(answer.revision, describe);
  else tell(`${describe}.`);
  return answer;
}

/** Whether an error says that somebody else has changed the object meanwhile. */
export const isConflict = (error) => error instanceof Refused && error.status === 412;

/** Goes on with what was followed on the page before this one. */
export function followOn() {
  const {revision, describe, began} = JSON.parse(sessionStorage.getItem(FOLLOWED) ?? "{}");
  if (Date.now() - began < PATIENCE_MILLISECONDS) follow(revision, describe, began);
}

/** Shows on how many nodes a revision is live, until it is on all that are connected. */
export function follow(revision, describe, began = Date.now()) {
  const toast = tell(`${describe}.`, {isLasting: true});
  sessionStorage.setItem(FOLLOWED, JSON.stringify({revision, describe, began}));
  let end = () => {};
  let isOver = false;

  function show({nodes}) {
    if (isOver) return;
    const live = nodes.filter((row) => row.live >= revision);
    const away = nodes.filter((row) => row.live < revision && row.state === "disconnected");
    const pending = nodes.filter((row) => row.live < revision && row.state !== "disconnected");
    const held = pending.filter((row) => row.state === "paused" || row.state === "refused");
    const isDone = pending.length === held.length;
    const counted = `live on ${live.length} of ${countText(nodes.length, "node", "nodes")}`;
    const missing = [...away, ...held].map((row) => displayed(row.name)).join(", ");
    const rest = missing ? ` ${missing} will have it when ${away.length + held.length === 1 ? "it follows" : "they follow"} again.` : ".";
    if (isDone) finish(`${describe}: revision ${revision} is ${counted}${missing ? "." : ""}${rest}`);
    else if (Date.now() - began > PATIENCE_MILLISECONDS) finish(`${describe}: revision ${revision} is ${counted} so far.`);
    else toast.change(`${describe}: revision ${revision} is ${counted} …`);
  }

  function finish(text) {
    isOver = true;
    toast.change(text);
    setTimeout(() => {
      toast.close();
      if (JSON.parse(sessionStorage.getItem(FOLLOWED) ?? "{}").revision === revision) sessionStorage.removeItem(FOLLOWED);
    }, READ_MILLISECONDS);
    // The watcher may be at work on its list just now.
    setTimeout(end);
  }

  end = watchStatus(show);
}
