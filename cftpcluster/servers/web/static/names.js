// Names of files are bytes: URLs percent-encode them, and what is built of them stays exact.

export const FILES = "/api/v1/files";

/** A percent-encoded path as a string of one character for each byte. */
export function bytesOf(url) {
  const codes = [];
  for (const part of url.match(/%[0-9A-Fa-f]{2}|[^%]/g) ?? []) {
    codes.push(part.length === 3 ? parseInt(part.slice(1), 16) : part.charCodeAt(0));
  }
  let bytes = "";
  for (let at = 0; at < codes.length; at += 8192) bytes += String.fromCharCode(...codes.slice(at, at + 8192));
  return bytes;
}

/** What the API takes as the target of a move, of a URL beneath `FILES`. */
export const targetOf = (url) => ({toBytes: btoa(bytesOf(url.slice(FILES.length)))});

/** The URL of a name in a folder. `encodeURIComponent` fails for half of a surrogate pair. */
export const inFolder = (folder, name) => folder + encodeURIComponent(name.toWellFormed?.() ?? name);

/** The URL of an entry of the API's JSON in its folder. */
export function entryURL(folder, entry) {
  if (entry.nameBytes === undefined) return inFolder(folder, entry.name);
  const encoded = [...atob(entry.nameBytes)].map((each) => `%${each.charCodeAt(0).toString(16).padStart(2, "0").toUpperCase()}`);
  return folder + encoded.join("");
}

/** The last segment of a URL, still encoded. */
export const lastOf = (url) => url.replace(/\/$/, "").split("/").at(-1);

/** The folder that a URL is in. */
export const parentOf = (url) => url.replace(/\/$/, "").replace(/[^/]*$/, "");

/** A segment of a URL for people. */
export function shownOf(segment) {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

/** A name beside one that is taken: "a.txt", "a (2).txt", "a (3).txt" … Extensions of the URL's text stay. */
export function besides(url, number) {
  const name = lastOf(url);
  const dot = name.lastIndexOf(".");
  const at = dot > 0 ? dot : name.length;
  return `${parentOf(url)}${name.slice(0, at)}%20(${number})${name.slice(at)}`;
}
