// The command that starts a new node.

const NAME = /^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$/;

/** What is wrong with a node's name; "" where nothing is. */
export function nameProblem(name) {
  if (!name) return "A name is needed.";
  return NAME.test(name) ? "" : "Letters, digits and . _ @ - only, at most 64, beginning with a letter or digit.";
}

export const isLoopback = (address) => /^127\.|^::1$|^localhost$/.test(address);

/** A word of a shell's command line, quoted where it has to be. */
export function quoted(word) {
  return /^[A-Za-z0-9_@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}

/** On this host several nodes share one machine; elsewhere a node listens on all addresses, and tells the others one. */
export function commandFor({name, address, folder}, token) {
  const options = [];
  if (address) options.push(`${isLoopback(address) ? "--bind" : "--advertise"} ${quoted(address)}`);
  if (folder) options.push(`--state-dir ${quoted(folder)}`);
  const lines = [`twistd -n cftpcluster --role secondary --name ${quoted(name)}`, ...(options.length ? [options.join(" ")] : []), "--join-file - <<'TOKEN'"];
  return `${lines.join(" \\\n    ")}\n${token}\nTOKEN`;
}
