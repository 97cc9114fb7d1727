// What the cluster is like and what happens in it, as it changes: one stream of each kind for a page.

import {send} from "./api.js";

const POLL_MILLISECONDS = 5000;
const HIDDEN_MILLISECONDS = 120_000;

const watchers = new Set();
const troubleWatchers = new Set();
let latest = null;
let source = null;
let polling = null;
let hiding = null;
let isOld = false;

/** Calls with the status of the cluster now, and whenever it changes; returns what ends that. */
export function watchStatus(callback) {
  watchers.add(callback);
  if (latest) callback(latest);
  open();
  return () => watchers.delete(callback);
}

/** Calls with whether what is shown is old, since no node answers. */
export function watchTrouble(callback) {
  troubleWatchers.add(callback);
  callback(isOld);
}

/** Whether a node can be heard: without the primary nodes go on serving, and know of each other. */
export const isHeard = (row) => row.state !== "disconnected" || Number.isInteger(row.sessions);

function tellAll(status) {
  latest = status;
  setOld(false);
  for (const each of [...watchers]) each(status);
}

function setOld(now) {
  if (isOld === now) return;
  isOld = now;
  for (const each of troubleWatchers) each(now);
}

function open() {
  if (source || polling || document.hidden) return;
  source = new EventSource("/api/v1/status");
  source.addEventListener("status", ({data}) => tellAll(JSON.parse(data)));
  source.addEventListener("error", () => {
    setOld(true);
    // A stream that was refused is not asked for again by the browser: the session may have ended, or there are too many.
    if (source?.readyState === EventSource.CLOSED) {
      close();
      poll();
    }
  });
}

function close() {
  source?.close();
  source = null;
  clearTimeout(polling);
  polling = null;
}

async function poll() {
  polling = setTimeout(() => {
    polling = null;
    open();
  }, POLL_MILLISECONDS);
  try {
    tellAll(await (await send("GET", "/api/v1/status", {headers: {"X-Background": "1"}})).json());
  } catch {
    setOld(true);
  }
}

document.addEventListener("visibilitychange", () => {
  clearTimeout(hiding);
  if (document.hidden) hiding = setTimeout(close, HIDDEN_MILLISECONDS);
  else open();
});
addEventListener("pagehide", close);
addEventListener("pageshow", () => watchers.size && open());

/**
 * What happens in the cluster from now on.
 *
 * @param {object} question parameters as `GET /api/v1/events` takes them
 * @param {function(object): void} callback called with each event
 * @param {{onLost?: function(object): void, onNodes?: function(object): void, onTrouble?: function(boolean): void}} others
 *   `onLost`: events that could not be told; `onNodes`: a node that does not answer, or does again; `onTrouble`: whether
 *   the stream is broken off
 * @returns {{close: function(): void}}
 */
export function watchEvents(question, callback, {onLost = () => {}, onNodes = () => {}, onTrouble = () => {}} = {}) {
  const query = new URLSearchParams(Object.entries(question).filter(([, value]) => value));
  let stream = null;
  let again = null;
  let isClosed = false;

  function begin() {
    stream = new EventSource(`/api/v1/events?${query}`);
    stream.addEventListener("open", () => onTrouble(false));
    stream.addEventListener("happened", ({data}) => callback(JSON.parse(data)));
    stream.addEventListener("lost", ({data}) => onLost(JSON.parse(data)));
    stream.addEventListener("nodes", ({data}) => onNodes(JSON.parse(data)));
    stream.addEventListener("error", () => {
      onTrouble(true);
      if (stream.readyState === EventSource.CLOSED) again = setTimeout(reopen, POLL_MILLISECONDS);
    });
  }

  async function reopen() {
    try {
      // Where the session has ended this asks for the password.
      await send("GET", "/api/v1/session");
    } catch {
      again = setTimeout(reopen, POLL_MILLISECONDS);
      return;
    }
    if (!isClosed) begin();
  }

  begin();
  return {
    close() {
      isClosed = true;
      clearTimeout(again);
      stream.close();
    },
  };
}
