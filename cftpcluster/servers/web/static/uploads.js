// Uploads: a queue, each of whose files goes on where it broke off, on whichever node answers then.
// tus-js-client speaks the protocol (https://tus.io); what is decided about files is decided here.

import {csrfToken, send, sentence, signIn} from "./api.js";
import {exists, freeBeside} from "./conflicts.js";
import {FILES, inFolder, lastOf, shownOf} from "./names.js";

const ENDPOINT = "/api/v1/uploads";
const AT_ONCE = 3;
const IN_ONE_REQUEST = 64 * 1024;
const REMEMBERED = 512 * 1024;
const DELAYS = [0, 500, 1000, 2000, 3000, 5000, 8000, 10000, 15000, 20000, 30000, 30000];
const KEPT_MILLISECONDS = 7 * 86400000;
const SPEED_MILLISECONDS = 8000;
const MOST_STUMBLES = 8;

const user = () => document.body.dataset.user;
const keyStart = () => `${encodeURIComponent(user())}|`;

/** One file on its way. States: waiting, running, asking, paused, failed, done, skipped, cancelled. */
class Upload {
  sent = 0;
  state = "waiting";
  error = "";
  overwrite = false;
  refusal = "";
  stumbles = 0;
  tus = null;

  constructor(file, folder, url, decisions, isLast) {
    Object.assign(this, {file, folder, url, decisions, isLast});
  }

  get name() {
    return shownOf(lastOf(this.url));
  }
}

export class Queue extends EventTarget {
  uploads = [];
  #folders = new Map();
  #samples = [];

  // --- what is there

  count(...states) {
    return this.uploads.filter((each) => states.includes(each.state)).length;
  }

  get isActive() {
    return this.count("waiting", "running", "asking") > 0;
  }

  totals() {
    const counted = this.uploads.filter((each) => !["skipped", "cancelled"].includes(each.state));
    const all = counted.reduce((sum, each) => sum + each.file.size, 0);
    const sent = counted.reduce((sum, each) => sum + (each.state === "done" ? each.file.size : each.sent), 0);
    const now = performance.now();
    if (this.count("running")) this.#samples.push([now, sent]);
    else this.#samples = [];
    while (this.#samples.length > 2 && now - this.#samples[0][0] > SPEED_MILLISECONDS) this.#samples.shift();
    const [since, before] = this.#samples[0] ?? [now, sent];
    const speed = now - since > 400 ? (1000 * (sent - before)) / (now - since) : 0;
    return {files: counted.length, done: this.count("done"), all, sent, speed, seconds: speed > 0 ? (all - sent) / speed : null};
  }

  // --- what is done

  /** Files to put beneath a folder's URL: {file, path} with the names of the folders between. */
  add(folder, chosen, decisions) {
    const added = chosen.map(({file, path}, index) => {
      const place = path.reduce((parent, name) => `${inFolder(parent, name)}/`, folder);
      return new Upload(file, place, inFolder(place, file.name), decisions, index === chosen.length - 1);
    });
    for (const each of added) each.top = folder;
    if (!this.isActive && !this.count("paused", "failed")) this.clear();
    this.uploads.push(...added);
    this.#next();
  }

  /** Go on with an upload that an earlier page began. */
  addResumed(file, url, decisions) {
    const upload = new Upload(file, parent(url), url, decisions, true);
    upload.top = upload.folder;
    this.uploads.push(upload);
    this.#next();
  }

  async makeFolders(folder, places) {
    for (const place of places) await this.#ensureFolder(place.reduce((above, name) => `${inFolder(above, name)}/`, folder), folder);
  }

  pause(upload) {
    if (!["running", "waiting"].includes(upload.state)) return;
    upload.tus?.abort();
    upload.request?.abort();
    this.#become(upload, "paused");
  }

  resume(upload) {
    if (["paused", "failed"].includes(upload.state)) this.#become(upload, "waiting");
  }

  async cancel(upload) {
    if (["done", "skipped", "cancelled"].includes(upload.state)) return;
    const {tus} = upload;
    upload.tus = null;
    upload.request?.abort();
    this.#become(upload, "cancelled");
    try {
      await tus?.abort(true);
    } catch {
      // What is left of it expires.
    }
  }

  pauseAll() {
    for (const each of this.uploads) this.pause(each);
  }

  resumeAll() {
    for (const each of this.uploads) this.resume(each);
  }

  cancelAll() {
    for (const each of this.uploads) this.cancel(each);
  }

  /** Forget those that have ended. */
  clear() {
    this.uploads = this.uploads.filter((each) => !["done", "skipped", "cancelled", "failed"].includes(each.state));
    this.#told();
  }

  // --- one after the other

  #told() {
    this.dispatchEvent(new Event("change"));
  }

  #become(upload, state, error = "") {
    upload.state = state;
    upload.error = error;
    this.#next();
  }

  #next() {
    for (const each of this.uploads) {
      if (this.count("running", "asking") >= AT_ONCE) break;
      if (each.state === "waiting") this.#run(each);
    }
    this.#told();
    if (!this.isActive && this.uploads.length) this.dispatchEvent(new Event("idle"));
  }

  async #run(upload) {
    upload.state = "running";
    try {
      await this.#ensureFolder(upload.folder, upload.top);
      if (upload.state !== "running") return;
      if (upload.tus) upload.tus.start();
      else await this.#begin(upload);
    } catch (error) {
      this.#become(upload, "failed", sentence(error.message));
    }
  }

  async #begin(upload) {
    const {file, url} = upload;
    const tus = new window.tus.Upload(file, {
      endpoint: new URL(ENDPOINT, location.href).href,
      metadata: upload.overwrite ? {url, overwrite: "true"} : {url},
      fingerprint: () => Promise.resolve(`${keyStart()}${url}|${file.size}|${file.lastModified}`),
      storeFingerprintForResuming: file.size > REMEMBERED,
      removeFingerprintOnSuccess: true,
      uploadDataDuringCreation: file.size <= IN_ONE_REQUEST,
      retryDelays: DELAYS,
      headers: {Accept: "application/json"},
      onBeforeRequest: (request) => request.setHeader("X-CSRF-Token", csrfToken()),
      onAfterResponse: (request, response) => goesOn(request.getMethod(), response.getStatus()),
      onShouldRetry: (error) => upload.tus === tus && isPassing(error),
      onProgress: (sent) => {
        upload.sent = sent;
        this.#told();
      },
      onSuccess: () => {
        upload.sent = file.size;
        this.#become(upload, "done");
        this.dispatchEvent(new CustomEvent("uploaded", {detail: upload}));
      },
      onError: (error) => upload.tus === tus && this.#failed(upload, error),
    });
    upload.tus = tus;
    const [before] = await tus.findPreviousUploads();
    if (before) tus.resumeFromPreviousUpload(before);
    if (upload.state === "running") tus.start();
  }

  async #failed(upload, error) {
    const status = error.originalResponse?.getStatus() ?? 0;
    const method = error.originalRequest?.getMethod();
    upload.refusal = status ? error.originalResponse.getBody() : "";
    try {
      if (status === 409 && method === "POST" && (await this.#isTaken(upload))) await this.#ask(upload);
      else if (status === 409 && method === "PATCH") await this.#outOfStep(upload);
      else if (status === 501) await this.#putWhole(upload);
      else this.#become(upload, "failed", detailOf(error, status));
    } catch (other) {
      this.#become(upload, "failed", sentence(other.message));
    }
  }

  /** Whether it was refused since there is such a file, and not since there is no folder for it. */
  async #isTaken(upload) {
    return (await exists(upload.url)) || /exists/i.test(upload.refusal);
  }

  /** What was sent does not follow what has come in, as after a lost answer; or the name was taken meanwhile. */
  async #outOfStep(upload) {
    upload.stumbles += 1;
    if (upload.stumbles > MOST_STUMBLES) {
      this.#become(upload, "failed", problemText(upload.refusal, 409));
      return;
    }
    try {
      await send("HEAD", upload.tus.url, {headers: {"Tus-Resumable": "1.0.0"}});
      this.#become(upload, "waiting");
    } catch (error) {
      if (error.status !== 410 && error.status !== 404) throw error;
      await this.#ask(upload);
    }
  }

  async #ask(upload) {
    upload.state = "asking";
    this.#told();
    const answer = await upload.decisions.decide(upload.url, upload.isLast);
    upload.tus = null;
    if (answer === "both") upload.url = await freeBeside(upload.url);
    upload.overwrite = answer === "replace";
    this.#become(upload, answer === "skip" ? "skipped" : "waiting");
  }

  /** Where nothing can be resumed since the storage shows all at once: in one request. */
  async #putWhole(upload) {
    if (!upload.overwrite && (await exists(upload.url))) {
      await this.#ask(upload);
      return;
    }
    const request = new XMLHttpRequest();
    upload.request = request;
    upload.tus = null;
    request.open("PUT", upload.url);
    request.setRequestHeader("X-CSRF-Token", csrfToken());
    request.setRequestHeader("Accept", "application/json");
    if (!upload.overwrite) request.setRequestHeader("If-None-Match", "*");
    request.upload.addEventListener("progress", (event) => {
      upload.sent = event.loaded;
      this.#told();
    });
    await new Promise((resolve) => {
      request.addEventListener("loadend", resolve);
      request.send(upload.file);
    });
    if (upload.state !== "running") return;
    if (request.status === 201 || request.status === 204) {
      this.#become(upload, "done");
      this.dispatchEvent(new CustomEvent("uploaded", {detail: upload}));
    } else this.#become(upload, "failed", problemText(request.responseText, request.status));
  }

  /** Makes a folder and those above it, up to one that is there. */
  #ensureFolder(url, top) {
    if (url === top || url === `${FILES}/`) return Promise.resolve();
    if (!this.#folders.has(url)) {
      const made = this.#ensureFolder(parent(url.slice(0, -1)), top).then(() => makeFolder(url));
      this.#folders.set(url, made);
      made.then(() => this.dispatchEvent(new Event("folder")), () => this.#folders.delete(url));
    }
    return this.#folders.get(url);
  }
}

const parent = (url) => url.replace(/[^/]*$/, "");

async function makeFolder(url) {
  try {
    await send("POST", `${url}?op=mkdir`);
  } catch (error) {
    // It is there already, or something else is: the file that should go into it finds out.
    if (error.status !== 409) throw error;
  }
}

/** Fails where the same is to be asked again: the library would begin the upload anew, from its first byte. */
async function goesOn(method, status) {
  if (status === 401) await signIn();
  if (status === 401 || (method === "HEAD" && (status >= 500 || status === 429))) throw new Error(`The server answered ${status}.`);
}

/** Whether it may be better in a moment: another node answers then. */
function isPassing(error) {
  const status = error.originalResponse?.getStatus() ?? 0;
  return status === 0 || status === 423 || status === 460 || (status >= 500 && status !== 501 && status !== 507);
}

function detailOf(error, status) {
  return status ? problemText(error.originalResponse.getBody(), status) : "The connection was lost.";
}

function problemText(body, status) {
  try {
    const problem = JSON.parse(body);
    return sentence(problem.detail || problem.title);
  } catch {
    return status ? `The server answered ${status}.` : "The connection was lost.";
  }
}

// --- what earlier pages have begun

const storage = () => window.tus.defaultOptions.urlStorage;

/** Uploads of this user that were broken off in this browser: {name, size, lastModified, url, uploadUrl, urlStorageKey}. */
export async function brokenOff() {
  const found = [];
  for (const each of await storage().findAllUploads()) {
    const key = each.urlStorageKey.split("::")[1] ?? "";
    const [, url, size, lastModified] = key.split("|");
    if (!key.startsWith(keyStart()) || !url) continue;
    if (Date.now() - Date.parse(each.creationTime) > KEPT_MILLISECONDS) storage().removeUpload(each.urlStorageKey);
    else found.push({...each, url, name: shownOf(lastOf(url)), size: Number(size), lastModified: Number(lastModified)});
  }
  return found;
}

export async function discard(broken) {
  for (const each of broken) {
    await storage().removeUpload(each.urlStorageKey);
    if (each.uploadUrl) await send("DELETE", each.uploadUrl, {headers: {"Tus-Resumable": "1.0.0"}, done: [404, 410]}).catch(() => {});
  }
}

/** Nothing of a user stays in the browser when they log out. */
export async function forget() {
  for (const each of await brokenOff()) await storage().removeUpload(each.urlStorageKey);
}
