// Requests to the API: the token against forged requests, nodes that go away, sessions that end.

import {ask, busyWhile, make} from "./dom.js";

const DELAYS = [200, 600, 1500, 3000, 5000];
const MOST_WAIT = 5000;

/** What the server answered instead of doing it. */
export class Refused extends Error {
  constructor(status, problem) {
    super(problem.detail || problem.title || `The server answered ${status}.`);
    this.status = status;
    this.problem = problem;
  }
}

export class Unreachable extends Error {
  constructor() {
    super("The server cannot be reached. Check your connection, and try again.");
  }
}

let token = document.body.dataset.csrf ?? "";

export const csrfToken = () => token;

/** The token of a page that was fetched since: keys are replaced now and then. */
export function renew(other) {
  if (other) token = other;
}

export const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** A detail of a problem as a sentence. */
export function sentence(text) {
  return text ? text[0].toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "";
}

export async function problemOf(response) {
  try {
    return await response.json();
  } catch {
    return {title: `The server answered ${response.status}.`};
  }
}

/**
 * Sends a request until a node has answered it: one that goes away, or is being drained, leaves it to another one.
 *
 * @param {{json?: object, headers?: object, done?: number[], signal?: AbortSignal}} options `done`: statuses which, when a
 *   request is repeated after a lost answer, mean that the first one had been served
 * @returns {Promise<Response>} a good answer
 * @throws {Refused|Unreachable}
 */
export async function send(method, url, {json, headers = {}, done = [], signal} = {}) {
  let isRepeated = false;
  for (let attempt = 0; ; attempt += 1) {
    const all = {Accept: "application/json", ...headers};
    if (method !== "GET" && method !== "HEAD") all["X-CSRF-Token"] = token;
    if (json !== undefined) all["Content-Type"] = "application/json";
    let response = null;
    try {
      response = await fetch(url, {method, headers: all, body: json === undefined ? undefined : JSON.stringify(json), signal});
    } catch (error) {
      if (error.name === "AbortError") throw error;
    }
    if (response?.ok) return response;
    if (response?.status === 401 && url !== "/api/v1/login") {
      await signIn();
      continue;
    }
    // What a balancer says of a node that is gone is no problem of the API.
    const lost = response === null || ([502, 504].includes(response.status) && !response.headers.get("Content-Type")?.includes("json"));
    const asked = 1000 * Number(response?.headers.get("Retry-After") ?? 0);
    if (lost ? attempt < DELAYS.length : response.status === 503 && attempt < 3 && asked <= MOST_WAIT) {
      isRepeated ||= lost;
      await wait(Math.max(DELAYS[attempt], asked));
      continue;
    }
    if (response === null) throw new Unreachable();
    if (isRepeated && done.includes(response.status)) return response;
    throw new Refused(response.status, await problemOf(response));
  }
}

/** As `send`, with a sign that something is at work; gives the JSON of the answer where it has one. */
export async function call(method, url, options) {
  const response = await busyWhile(send(method, url, options));
  return response.headers.get("Content-Type")?.includes("json") ? response.json() : null;
}

export async function logIn(name, password) {
  const response = await send("POST", "/api/v1/login", {json: {name, password}});
  token = (await response.json()).csrfToken;
}

export function logInProblem(error) {
  return error.status === 401 ? "The name or the password is wrong." : sentence(error.message);
}

// --- a session that ended while the page was open

let signingIn = null;

/** Has the user log in again, once for all requests that found out; whatever the page is at goes on. */
export function signIn() {
  signingIn ??= askAgain().finally(() => {
    signingIn = null;
  });
  return signingIn;
}

async function askAgain() {
  const name = document.body.dataset.user;
  const input = make("input", {id: "askedPassword", type: "password", autocomplete: "current-password", required: true});
  const who = make("p", {className: "faint"}, "Your session has ended. Log in again as ", make("strong", {}, make("bdi", {textContent: name})), " to go on where you were.");
  const known = make("input", {type: "text", autocomplete: "username", value: name, hidden: true});
  const check = async () => {
    try {
      await logIn(name, input.value);
      return "";
    } catch (error) {
      input.value = "";
      return logInProblem(error);
    }
  };
  const buttons = [{text: "Leave", value: ""}, {text: "Log in", value: "yes", classes: "primary"}];
  const body = [who, known, make("label", {for: "askedPassword", textContent: "Password"}), input];
  if (!(await ask("Log in again", body, buttons, {check}))) {
    location.assign("/");
    await new Promise(() => {});
  }
}
